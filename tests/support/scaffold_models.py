"""Small Keras models as people write them, odd and pairwise different in their sizes."""

from __future__ import annotations

from typing import Any


def keras_layers() -> Any:
    from keras import layers

    return layers


def keras_model(inputs: Any, outputs: Any) -> Any:
    import keras

    return keras.Model(inputs, outputs)


def keras_input(*shape: int | None, **further: Any) -> Any:
    import keras

    return keras.Input(shape, **further)


def u_net() -> Any:
    L = keras_layers()
    x = image = keras_input(24, 16, 3)
    skips = []
    for depth, width in enumerate((5, 7)):
        for part in "ab":
            x = L.Conv2D(width, 3, padding="same", activation="relu", name=f"down{depth}{part}")(x)
        skips.append(x)
        x = L.MaxPooling2D(2)(x)
    x = L.Conv2D(11, 3, padding="same", activation="relu", name="bottom")(x)
    for depth, width in ((1, 7), (0, 5)):
        x = L.Conv2DTranspose(width, 2, strides=2, name=f"up{depth}")(x)
        x = L.Concatenate()([skips[depth], x])
        x = L.Conv2D(width, 3, padding="same", name=f"join{depth}")(x)
        x = L.BatchNormalization(name=f"norm{depth}")(x)
        x = L.LeakyReLU()(x)
    return keras_model(image, L.Conv2D(2, 1, activation="sigmoid", name="mask")(x))


def siamese() -> Any:
    import keras

    L = keras_layers()
    one, two = keras_input(9, 13, 2, name="one"), keras_input(9, 13, 2, name="two")
    tower = keras.Sequential(
        [L.Conv2D(4, 3, name="c"), L.Flatten(), L.Dense(6, activation="tanh", name="d")],
        name="tower",
    )
    gap = L.Subtract()([tower(one), tower(two)])
    return keras_model([one, two], L.Dense(1, activation="sigmoid", name="same")(gap))


def multi_input_and_output() -> Any:
    L = keras_layers()
    image, numbers = keras_input(10, 14, 3, name="image"), keras_input(5, name="numbers")
    x = L.Conv2D(6, 3, strides=2, padding="same", activation="elu", name="conv")(image)
    x = L.GlobalMaxPooling2D()(x)
    y = L.Dense(7, activation="softplus", name="side")(numbers)
    x = L.Concatenate()([x, y])
    return keras_model([image, numbers], [L.Dense(3, name="a")(x), L.Dense(2, name="b")(y)])


def seq2seq_with_attention() -> Any:
    L = keras_layers()
    source, target = keras_input(9, 5, name="source"), keras_input(7, 4, name="target")
    states = L.LSTM(6, return_sequences=True, return_state=True, name="encoder")(source)
    decoded = L.LSTM(6, return_sequences=True, name="decoder")(target, initial_state=states[1:])
    seen = L.Attention(name="attend")([decoded, states[0]])
    joined = L.Concatenate()([decoded, seen])
    out = L.TimeDistributed(L.Dense(3, activation="softmax"), name="out")(joined)
    return keras_model([source, target], out)


def transformer_block() -> Any:
    L = keras_layers()
    words = keras_input(11, dtype="int32", name="words")
    x = L.Embedding(19, 12, name="embed")(words)
    seen = L.MultiHeadAttention(3, 5, name="attention")(x, x)
    x = L.LayerNormalization(epsilon=1e-6, name="norm1")(L.Add()([x, seen]))
    y = L.Dense(17, activation="gelu", name="up")(x)
    y = L.Dropout(0.1)(L.Dense(12, name="down")(y))
    x = L.LayerNormalization(name="norm2")(x + y)
    x = L.GlobalAveragePooling1D()(x)
    return keras_model(words, L.Dense(4, name="head")(x))


def causal_attention() -> Any:
    L = keras_layers()
    x = steps = keras_input(8, 6)
    x = L.MultiHeadAttention(2, 3, value_dim=4, name="attention")(x, x, use_causal_mask=True)
    return keras_model(steps, L.Dense(3, name="head")(x))


def autoencoder() -> Any:
    L = keras_layers()
    x = image = keras_input(12, 20, 1)
    x = L.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="e1")(x)
    x = L.Conv2D(7, 4, strides=2, padding="same", activation="relu", name="e2")(x)
    x = L.Flatten()(x)
    x = L.Dense(6, name="code")(x)
    x = L.Dense(3 * 5 * 7, activation="relu", name="spread")(x)
    x = L.Reshape((3, 5, 7))(x)
    x = L.Conv2DTranspose(5, 3, strides=2, padding="same", activation="relu", name="d1")(x)
    x = L.Conv2DTranspose(4, 4, strides=2, padding="same", name="d2")(x)
    return keras_model(image, L.Conv2DTranspose(1, 3, padding="same", name="d3")(x))


def crnn() -> Any:
    L = keras_layers()
    x = image = keras_input(16, 30, 1)
    x = L.Conv2D(4, 3, padding="same", activation="relu", name="c1")(x)
    x = L.MaxPooling2D((2, 3))(x)
    x = L.Permute((2, 1, 3))(x)
    x = L.Reshape((10, 32))(x)
    x = L.Bidirectional(L.GRU(5, return_sequences=True), name="b1")(x)
    x = L.Bidirectional(L.LSTM(3), name="b2")(x)
    return keras_model(image, L.Dense(4, activation="softmax", name="out")(x))


def wave_net() -> Any:
    L = keras_layers()
    x = wave = keras_input(31, 1)
    x = L.Conv1D(6, 2, padding="causal", name="front")(x)
    for power in range(3):
        kept = x
        for part, function in (("f", "tanh"), ("g", "sigmoid")):
            made = L.Conv1D(
                6, 2, padding="causal", dilation_rate=2**power, activation=function,
                name=f"block{power}_{part}",
            )(x)  # fmt: skip
            kept = (kept, made) if part == "f" else (kept[0], kept[1], made)
        x = L.Multiply()([kept[1], kept[2]])
        x = L.Conv1D(6, 1, name=f"block{power}_out")(x)
        x = L.Add()([x, kept[0]])
    return keras_model(wave, L.Conv1D(3, 1, activation="softmax", name="out")(x))


def masked_recurrent() -> Any:
    L = keras_layers()
    words = keras_input(10, dtype="int32")
    x = L.Embedding(13, 7, mask_zero=True, name="embed")(words)
    x = L.Bidirectional(L.LSTM(4, return_sequences=True), name="both")(x)
    x = L.GRU(5, return_sequences=True, name="gru")(x)
    x = L.SimpleRNN(6, name="rnn")(x)
    return keras_model(words, L.Dense(2, name="out")(x))


def masking_layer() -> Any:
    L = keras_layers()
    steps = keras_input(9, 4)
    x = L.Masking(0.0)(steps)
    return keras_model(steps, L.LSTM(5, name="lstm")(x))


def recurrent_variants() -> Any:
    L = keras_layers()
    steps = keras_input(6, 4)
    one = L.GRU(3, reset_after=False, name="before")(steps)
    two = L.LSTM(5, activation="relu", recurrent_activation="hard_sigmoid", name="own")(steps)
    three = L.SimpleRNN(2, activation="relu", name="plain")(steps)
    four = L.Bidirectional(L.GRU(4, activation="elu"), merge_mode="sum", name="summed")(steps)
    five = L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode="ave", name="mean")(steps)
    six = L.LSTM(4, go_backwards=True, use_bias=False, name="back")(steps)
    five = L.GlobalMaxPooling1D()(five)
    return keras_model(steps, L.Concatenate()([one, two, three, four, five, six]))


def separable_and_depthwise() -> Any:
    L = keras_layers()
    x = image = keras_input(15, 11, 3)
    x = L.SeparableConv2D(8, 3, depth_multiplier=2, padding="same", activation="relu", name="s")(x)
    x = L.DepthwiseConv2D((3, 5), depth_multiplier=2, name="d")(x)
    x = L.PReLU(shared_axes=[1, 2], name="p")(x)
    x = L.Conv2D(6, 3, groups=2, dilation_rate=2, use_bias=False, name="g")(x)
    x = L.GroupNormalization(3, name="n")(x)
    x = L.AveragePooling2D(3, strides=2, padding="same")(x)
    return keras_model(image, x)


def one_dimensional() -> Any:
    L = keras_layers()
    x = signal = keras_input(29, 3)
    x = L.SeparableConv1D(5, 4, padding="same", name="s")(x)
    x = L.BatchNormalization(name="b")(x)
    x = L.MaxPooling1D(3, strides=2, padding="same")(x)
    x = L.Conv1DTranspose(4, 3, strides=2, padding="same", name="t")(x)
    x = L.ZeroPadding1D((1, 2))(x)
    x = L.Cropping1D((2, 0))(x)
    x = L.UpSampling1D(2)(x)
    x = L.DepthwiseConv1D(3, name="d")(x)
    x = L.Flatten()(x)
    return keras_model(signal, L.Dense(3, name="out")(x))


def three_dimensional() -> Any:
    L = keras_layers()
    x = volume = keras_input(8, 10, 6, 2)
    x = L.Conv3D(4, 3, padding="same", activation="selu", name="c")(x)
    x = L.AveragePooling3D(2)(x)
    x = L.Conv3DTranspose(3, 2, strides=2, name="t")(x)
    x = L.ZeroPadding3D(1)(x)
    x = L.MaxPooling3D(2)(x)
    x = L.Flatten()(x)
    return keras_model(volume, L.Dense(5, name="out")(x))


def convolutional_recurrent() -> Any:
    L = keras_layers()
    x = film = keras_input(5, 8, 9, 2)
    x = L.ConvLSTM2D(4, 3, padding="same", return_sequences=True, name="first")(x)
    x = L.TimeDistributed(L.Conv2D(3, 3, activation="relu"), name="each")(x)
    x = L.ConvLSTM2D(5, 2, name="last")(x)
    return keras_model(film, L.GlobalAveragePooling2D()(x))


def squeeze_and_excite() -> Any:
    L = keras_layers()
    x = image = keras_input(10, 13, 4)
    for number in range(1, 4):
        y = L.Conv2D(8, 3, padding="same", name=f"block{number}_conv")(x)
        y = L.BatchNormalization(name=f"block{number}_bn")(y)
        y = L.ReLU(name=f"block{number}_relu")(y)
        z = L.GlobalAveragePooling2D(keepdims=True, name=f"block{number}_pool")(y)
        z = L.Conv2D(3, 1, activation="relu", name=f"block{number}_reduce")(z)
        z = L.Conv2D(8, 1, activation="sigmoid", name=f"block{number}_expand")(z)
        x = L.Multiply(name=f"block{number}_scale")([y, z])
    return keras_model(image, L.Dense(3, name="out")(L.GlobalAveragePooling2D()(x)))


def merges() -> Any:
    L = keras_layers()
    one, two, three = (keras_input(6, name=name) for name in ("one", "two", "three"))
    a, b, c = (L.Dense(5, name=name)(x) for name, x in (("a", one), ("b", two), ("c", three)))
    merged = [
        L.Average()([a, b, c]), L.Maximum()([a, b, c]), L.Minimum()([a, b]),
        L.Multiply()([a, b, c]), L.Dot(1)([a, b]), L.Dot(1, normalize=True)([b, c]),
    ]  # fmt: skip
    return keras_model([one, two, three], L.Concatenate()(merged))


def norms_and_activations() -> Any:
    L = keras_layers()
    x = rows = keras_input(7, 12)
    for place, name in enumerate(
        ("relu6", "mish", "softsign", "hard_silu", "leaky_relu", "exponential", "log_softmax")
    ):
        x = L.Dense(12, activation=name, name=f"dense_{place}_of")(x)
    x = L.RMSNormalization(name="rms")(x)
    x = L.UnitNormalization()(x)
    x = L.ELU(0.3)(x)
    x = L.ReLU(max_value=0.4, negative_slope=0.1, threshold=0.05)(x)
    x = L.LayerNormalization(center=False, name="plain")(x)
    x = L.EinsumDense("abc,cde->abde", output_shape=(None, 3, 5), bias_axes="de", name="ein")(x)
    return keras_model(rows, L.Softmax(axis=2)(x))


def operations() -> Any:
    from keras import ops

    L = keras_layers()
    x = rows = keras_input(6, 10)
    y = L.Dense(10, name="d")(x)
    y = ops.sqrt(ops.abs(y)) + 2.0 * x - x / 3.0
    z = ops.concatenate([y[:, :3], y[:, 3:]], axis=1)
    z = ops.transpose(z, (0, 2, 1))
    z = ops.reshape(z, (-1, 5, 12))
    z = ops.mean(z, axis=1) + ops.max(z, axis=1, keepdims=False)
    return keras_model(rows, ops.tanh(ops.expand_dims(z, -1)))


def channels_first() -> Any:
    L = keras_layers()
    x = image = keras_input(3, 12, 10)
    x = L.Conv2D(5, 3, padding="same", data_format="channels_first", name="c")(x)
    x = L.BatchNormalization(axis=1, name="b")(x)
    x = L.MaxPooling2D(2, data_format="channels_first")(x)
    x = L.GlobalAveragePooling2D(data_format="channels_first")(x)
    return keras_model(image, L.Dense(3, name="out")(x))


def nested_twice() -> Any:
    import keras

    L = keras_layers()
    inside = keras.Sequential([keras_input(5), L.Dense(4, name="d")], name="inside")
    middle_in = keras_input(5)
    middle = keras.Model(middle_in, inside(middle_in) * 2.0, name="middle")
    x = rows = keras_input(5)
    return keras_model(rows, L.Dense(3, name="head")(middle(x)))


def flattened_twice() -> Any:
    L = keras_layers()
    x = image = keras_input(6, 5, 3)
    x = L.Conv2D(4, 3, name="c")(x)
    x = L.Flatten()(x)
    x = L.BatchNormalization(name="b")(x)
    x = L.Activation("relu")(x)
    x = L.Dropout(0.5)(x)
    return keras_model(image, [L.Dense(3, name="one")(x), L.Dense(2, name="two")(x)])


MODELS = {
    one.__name__: one
    for one in (
        u_net, siamese, multi_input_and_output, seq2seq_with_attention, transformer_block,
        causal_attention, autoencoder, crnn, wave_net, masked_recurrent, masking_layer,
        recurrent_variants, separable_and_depthwise, one_dimensional, three_dimensional,
        convolutional_recurrent, squeeze_and_excite, merges, norms_and_activations, operations,
        channels_first, nested_twice, flattened_twice,
    )
}  # fmt: skip
