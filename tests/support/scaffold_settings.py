"""Small Keras models in which one setting of a layer decides the outputs: each is a guard.

What would not be seen with the usual value of a setting has another one here: an axis that is not
the last, a padding that is not even, a value that is masked.
"""

from __future__ import annotations

from typing import Any

from support.scaffold_models import keras_input, keras_layers, keras_model


def masked_steps() -> Any:
    """About a quarter of all steps are masked, wherever they are."""
    L = keras_layers()
    steps = keras_input(9, 2)
    x = L.Rescaling(1.0, offset=1.5)(L.ReLU()(steps))
    x = L.Masking(1.5)(x)
    x = L.Activation("tanh")(x)
    one = L.LSTM(5, return_sequences=True, name="lstm")(x)
    two = L.Bidirectional(L.GRU(3, return_sequences=True), name="both")(one)
    three = L.SimpleRNN(4, go_backwards=True, name="back")(two)
    four = L.GlobalAveragePooling1D()(one)
    return keras_model(steps, L.Concatenate()([three, four]))


def masked_attention() -> Any:
    L = keras_layers()
    words, steps = keras_input(7, dtype="int32", name="words"), keras_input(5, 6, name="steps")
    x = L.Embedding(3, 8, mask_zero=True, name="embed")(words)
    x = L.MultiHeadAttention(2, 3, name="heads")(steps, x)
    y = L.Attention(name="plain")([x, steps, x])
    return keras_model([words, steps], L.Add()([x, y]))


def borders() -> Any:
    """Paddings and croppings that differ at every end, of values that are all negative."""
    L = keras_layers()
    image = keras_input(14, 9, 2)  # so that the pooling of stride 2 pads behind alone
    x = L.Conv2D(3, 2, padding="same", name="even")(image)
    x = L.Rescaling(1.0, offset=-50.0)(x)
    x = L.MaxPooling2D(3, strides=2, padding="same")(x)
    x = L.ZeroPadding2D(((1, 0), (2, 3)))(x)
    x = L.Cropping2D(((0, 1), (1, 0)))(x)
    y = L.AveragePooling2D(3, strides=1, padding="same")(x)
    z = L.AveragePooling2D(2, strides=2, padding="same")(x)
    return keras_model(image, [y, z])


def resized() -> Any:
    L = keras_layers()
    image = keras_input(7, 5, 3)
    x = L.Resizing(4, 8, interpolation="nearest")(image)
    y = L.Resizing(9, 4, interpolation="bilinear")(image)
    z = L.UpSampling2D((2, 3), interpolation="bilinear")(image)
    return keras_model(image, [x, y, z])


def scattered() -> Any:
    """Transposed convolutions that say how much is added behind."""
    L = keras_layers()
    image = keras_input(5, 4, 3)
    x = L.Conv2DTranspose(4, 3, strides=3, padding="same", output_padding=(2, 1), name="a")(image)
    y = L.Conv2DTranspose(2, 4, strides=2, padding="same", output_padding=1, name="b")(image)
    return keras_model(image, [x, y])


def other_axes() -> Any:
    L = keras_layers()
    image, rows = keras_input(6, 5, 4, name="image"), keras_input(7, 3, name="rows")
    x = L.Conv2D(4, 1, name="c")(image)
    joined = L.Concatenate(axis=1)([image, x])
    x = L.Softmax(axis=1)(joined)
    x = L.BatchNormalization(axis=1, name="norm")(x)
    x = L.Permute((3, 1, 2))(x)
    y = L.Dense(6, activation="softmax", name="d")(rows)
    y = L.Dot((2, 1))([y, L.Reshape((6, 2))(L.Flatten()(L.Dense(4, name="e")(rows[:, :3])))])
    return keras_model([image, rows], [x, y])


def layers_as_activations() -> Any:
    """Keras takes a layer where it takes the name of an activation."""
    L = keras_layers()
    image = keras_input(9, 7, 3)
    x = L.Conv2D(5, 3, activation=L.LeakyReLU(negative_slope=0.17), name="slope")(image)
    x = L.Conv2D(4, 3, activation=L.ReLU(max_value=0.5), name="limit")(x)
    x = L.Activation(L.ELU(alpha=0.3))(x)
    x = L.Conv2D(6, 1, activation=L.Softmax(axis=1), name="soft")(x)
    for name in ("squareplus", "sparse_plus", "sparse_sigmoid"):
        x = L.Dense(6, activation=name, name=f"last_{name}")(x)
    return keras_model(image, x)


def functions() -> Any:
    from keras import ops

    L = keras_layers()
    rows, other = keras_input(6, name="rows"), keras_input(6, name="other")
    x = ops.gelu(L.Dense(6, name="d")(rows)) - L.Subtract()([rows, other])
    return keras_model([rows, other], ops.max(ops.softmax(ops.stack([x, rows], 1), axis=1), axis=2))


def flattened_features() -> Any:
    """Features that came from an image, in which order matters again: there and back."""
    L = keras_layers()
    image = keras_input(5, 4, 3)
    x = L.Conv2D(6, 2, name="convolution")(image)
    x = L.LeakyReLU(negative_slope=0.3)(L.Flatten()(x))
    y = L.LSTM(4, name="rows")(L.Reshape((8, 9))(x))
    return keras_model(image, [y, L.Dense(5, name="head")(x)])


def images_in_another_order() -> Any:
    """A layer that takes what others made channels last as channels first, and plain reshaping."""
    L = keras_layers()
    image = keras_input(5, 4, 3)
    x = L.Conv2D(6, 2, name="convolution")(image)
    y = L.GlobalAveragePooling2D(data_format="channels_first")(x)
    z = L.LSTM(7, name="rows")(L.Reshape((9, 8))(x))
    return keras_model(image, [y, z])


def blocks_that_are_read_twice() -> Any:
    """Blocks of one form in a row, of which one is read again at the end."""
    L = keras_layers()
    image = x = keras_input(6, 5, 4)
    made = []
    for place in range(1, 6):
        name = f"block{place}"
        x = L.Conv2D(4, 3, padding="same", use_bias=False, name=f"{name}_convolution")(x)
        x = L.BatchNormalization(name=f"{name}_norm")(x)
        x = L.ReLU(name=f"{name}_relu")(x)
        made.append(x)
    return keras_model(image, L.Concatenate(name="joined")([x, made[1]]))


SETTINGS = {
    one.__name__: one
    for one in (
        masked_steps, masked_attention, borders, resized, scattered, other_axes,
        layers_as_activations, functions, flattened_features,
        images_in_another_order, blocks_that_are_read_twice,
    )
}  # fmt: skip
