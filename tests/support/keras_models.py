"""Small Keras models with every structure that a weights file can hold, weights randomised.

Sizes differ on every axis, so that no wrong pairing fits by chance.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers


def randomised(model: Any, seed: int = 0) -> Any:
    """Give every weight values that no other weight has."""
    rng = np.random.default_rng(seed)
    values = []
    for weight in model.weights:
        drawn = rng.normal(size=tuple(weight.shape))
        whole = "int" in str(weight.dtype)
        values.append(rng.integers(0, 99, weight.shape) if whole else np.abs(drawn) + 0.1)
    model.set_weights(values)
    return model


def sequential() -> Any:
    return keras.Sequential(
        [
            keras.Input((9, 8, 3)),
            layers.Conv2D(5, (3, 2), name="stem"),
            layers.BatchNormalization(scale=False),
            layers.DepthwiseConv2D((2, 3), depth_multiplier=2),
            layers.SeparableConv2D(7, (2, 2), use_bias=False),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
            layers.LayerNormalization(center=False),
            layers.Dense(3, use_bias=False),
        ]
    )


def many_layers() -> Any:
    """Twelve Dense, so that ``dense_10`` comes before ``dense_2`` in the alphabet."""
    model = keras.Sequential([keras.Input((3,))])
    for index in range(12):
        model.add(layers.Dense(4 + index))
    return model


def nested() -> Any:
    inner_in = keras.Input((6,))
    inner = keras.Model(inner_in, layers.Dense(5)(layers.BatchNormalization()(inner_in)), name="fn")
    deep = keras.Sequential([keras.Input((5,)), layers.Dense(4, name="d"), layers.Dense(7)])
    outer_in = keras.Input((7,))
    middle = keras.Model(outer_in, layers.Dense(2)(deep_of(deep, outer_in)), name="middle")
    x = keras.Input((8,))
    y = layers.Dense(6)(x)
    y = inner(y)
    y = layers.Dense(7)(y)
    y = middle(y)
    return keras.Model(x, layers.Dense(1)(y))


def deep_of(deep: Any, x: Any) -> Any:
    return deep(layers.Dense(5)(x))


def shared() -> Any:
    x, z = keras.Input((4,)), keras.Input((4,))
    both = layers.Dense(4, name="both")
    later = layers.Dense(3)
    return keras.Model([x, z], [later(both(x)), later(both(both(z)))])


def recurrent() -> Any:
    x = keras.Input((6, 5))
    y = layers.TimeDistributed(layers.Dense(4))(x)
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(y)
    y = layers.Bidirectional(layers.GRU(2, return_sequences=True, name="g"), name="bi")(y)
    y = layers.LSTM(7, return_sequences=True, use_bias=False)(y)
    y = layers.GRU(5, reset_after=False, return_sequences=True)(y)
    y = layers.RNN([layers.LSTMCell(3), layers.GRUCell(4)], return_sequences=True)(y)
    y = layers.SimpleRNN(6)(y)
    return keras.Model(x, layers.Dense(2)(y))


def attention() -> Any:
    x = keras.Input((6, 10))
    y = layers.MultiHeadAttention(2, 3, value_dim=4)(x, x)
    y = layers.Add()([x, y])
    y = layers.LayerNormalization()(y) + 1.0
    y = layers.GroupQueryAttention(3, 4, 2)(y, y)
    y = layers.SpectralNormalization(layers.Dense(8))(y)
    y = layers.EinsumDense("abc,cde->abde", (None, 2, 5), bias_axes="e")(y)
    return keras.Model(x, y)


def embeddings() -> Any:
    x = keras.Input((5,), dtype="int32")
    y = layers.Embedding(11, 6)(x)
    y = layers.Conv1D(7, 2)(y)
    y = layers.PReLU(shared_axes=[1])(y)
    y = layers.Dropout(0.3)(y)
    y = layers.Conv1DTranspose(4, 3)(y)
    y = layers.GroupNormalization(2)(y)
    y = layers.Normalization()(y)
    return keras.Model(x, y)


@keras.saving.register_keras_serializable("tests")
class Block(layers.Layer):
    """A layer of its own class, with layers in attributes, lists and dicts."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = units
        self.attention = layers.MultiHeadAttention(2, 3)
        self.first = layers.Dense(units, name="same")
        self.second = layers.Dense(8, name="same")
        self.steps = [layers.Dense(8), layers.LayerNormalization(), layers.Dense(8)]
        self.table = {"a": layers.Dense(8), "b": [layers.Dense(8)]}
        self._hidden = layers.Dense(8, use_bias=False)

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(3, 5), name="scale")
        self.offset = self.add_weight(shape=(2,), name="offset", trainable=False)

    def call(self, x: Any) -> Any:
        y = self.second(self.first(self.attention(x, x)))
        for step in self.steps:
            y = step(y)
        return self._hidden(self.table["b"][0](self.table["a"](y)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def custom_layer() -> Any:
    x = keras.Input((4, 8))
    y = layers.Dense(8)(x)
    y = Block(5)(y)
    y = Block(6, name="second_block")(y)
    return keras.Model(x, layers.Dense(2)(y))


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """A model whose list after ``layers`` in the alphabet lands under ``layers``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.blocks = [layers.Dense(6), layers.Dense(7)]
        self.mixers = [layers.Dense(5, name="m"), layers.LSTM(4)]
        self.head = layers.Dense(3)
        self._private = layers.Dense(2, name="private")
        self.inner = keras.Sequential([layers.Dense(4), layers.BatchNormalization()])
        self.weights_of = {"x": layers.Dense(2)}
        self.own = self.add_weight(shape=(3,), name="own")

    def call(self, x: Any) -> Any:
        for layer in (*self.blocks, self.inner, *self.mixers):
            x = layer(x)
        return self._private(self.weights_of["x"](self.head(x)))

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


def subclassed() -> Any:
    model = Subclassed()
    model(np.zeros((2, 4, 9), "float32"))
    return model


FUNCTIONAL = {
    "sequential": sequential,
    "many_layers": many_layers,
    "nested": nested,
    "shared": shared,
    "recurrent": recurrent,
    "attention": attention,
    "embeddings": embeddings,
}
CUSTOM = {"custom_layer": custom_layer, "subclassed": subclassed}


def mtcnn_pnet(prelu: str = "prelu", heads: tuple[str, str] = ("conv4_2", "conv4_1")) -> Any:
    """Return the P-Net of MTCNN; the boxes come before the faces, as in the published list."""
    x = image = keras.Input((24, 24, 3))
    for number, filters in enumerate((10, 16, 32), 1):
        x = layers.Conv2D(filters, 3, name=f"conv{number}")(x)
        x = layers.PReLU(shared_axes=[1, 2], name=f"{prelu}{number}")(x)
    boxes = layers.Conv2D(4, 1, name=heads[0])(x)
    faces = layers.Conv2D(2, 1, name=heads[1])(x)
    return keras.Model(image, [boxes, faces])
