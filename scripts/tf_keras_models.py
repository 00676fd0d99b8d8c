"""Models of Keras 2 for ``record_tf_keras.py``: everything whose meaning changed with Keras 3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Build = Callable[[], Any]
OLD = "hard_sigmoid"


def _keras() -> Any:
    import tf_keras

    return tf_keras


def lstm() -> Any:
    """LSTM, masked and in both directions, and a Dense, all with the old hard_sigmoid."""
    keras = _keras()
    layers = keras.layers
    words = keras.Input((7,), dtype="int32", name="words")
    x = layers.Embedding(5, 4, mask_zero=True)(words)
    x = layers.LSTM(3, recurrent_activation=OLD, return_sequences=True, name="one_way")(x)
    both = layers.LSTM(5, recurrent_activation=OLD, use_bias=False)
    x = layers.Bidirectional(both, merge_mode="sum")(x)
    return keras.Model(words, layers.Dense(2, activation=OLD)(x))


def gru_before() -> Any:
    """GRU that resets before the product, its candidate a hard_sigmoid too."""
    keras = _keras()
    layers = keras.layers
    steps = keras.Input((6, 4))
    old = {"recurrent_activation": OLD, "reset_after": False}
    x = layers.GRU(3, return_sequences=True, activation=OLD, **old)(steps)
    x = layers.SimpleRNN(4, activation=OLD, return_sequences=True)(x)
    return keras.Model(steps, layers.GRU(5, go_backwards=True, **old)(x))


def gru_after() -> Any:
    """GRU of TensorFlow 2, in both directions, unrolled, with a state given and one returned."""
    keras = _keras()
    layers = keras.layers
    steps, state = keras.Input((6, 4)), keras.Input((3,))
    old = {"recurrent_activation": OLD, "reset_after": True}
    x, last = layers.GRU(3, return_sequences=True, return_state=True, unroll=True, **old)(
        steps, initial_state=state
    )
    x = layers.Bidirectional(layers.GRU(2, return_sequences=True, **old), merge_mode="concat")(x)
    return keras.Model([steps, state], [x, last])


def cells() -> Any:
    """A stack of cells with the old hard_sigmoid, inside an RNN."""
    keras = _keras()
    layers = keras.layers
    steps = keras.Input((5, 3))
    stack = [layers.LSTMCell(4, recurrent_activation=OLD) for _ in range(2)]
    return keras.Model(steps, layers.RNN(stack)(steps))


def conv_lstm() -> Any:
    """ConvLSTM2D, whose default is the old hard_sigmoid."""
    keras = _keras()
    frames = keras.Input((3, 5, 6, 2))
    x = keras.layers.ConvLSTM2D(3, (2, 3), padding="same", return_sequences=True)(frames)
    return keras.Model(frames, keras.layers.ConvLSTM2D(2, 2, strides=2)(x))


def images() -> Any:
    """Convolutions of all kinds, with activations that are layers and old ones."""
    keras = _keras()
    layers = keras.layers
    image = keras.Input((9, 8, 3))
    x = layers.SeparableConv2D(4, 3, activation=OLD, depth_multiplier=2, padding="same")(image)
    x = layers.BatchNormalization(epsilon=0.02, momentum=0.9)(x)
    x = layers.LeakyReLU(alpha=0.17)(x)
    x = layers.DepthwiseConv2D((2, 3), depth_multiplier=2, activation=OLD)(x)
    x = layers.Conv2DTranspose(5, 3, strides=2, padding="same")(x)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.ThresholdedReLU(theta=0.4)(x)
    x = layers.MaxPooling2D((2, 3), padding="same")(x)
    x = layers.Conv2D(4, (3, 2), dilation_rate=2, activation=layers.LeakyReLU(alpha=0.05))(x)
    x = layers.ELU(alpha=0.7)(x)
    x = layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.2)(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Activation(OLD, name="old")(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(3, activation="softmax")(x))


def nested() -> Any:
    """A layer used twice, models in models, a model at every step, and several ends."""
    keras = _keras()
    layers = keras.layers
    left, right = keras.Input((5, 4), name="left"), keras.Input((5, 4), name="right")
    step = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.BatchNormalization()])
    inner_in = keras.Input((5, 4))
    inner = layers.Conv1D(4, 3, padding="causal", name="a/convolution")(inner_in)
    tower = keras.Model(inner_in, layers.Add()([inner, layers.TimeDistributed(step)(inner_in)]))
    shared = layers.Dense(4, name="shared", activation="swish")
    one, other = shared(tower(left)), tower(shared(right))
    joined = layers.Concatenate(axis=1)([one, other, shared(one)])
    near, far = layers.Dense(4, name="near"), layers.Dense(4, name="far")
    joined = near(far(joined))
    return keras.Model([left, right], [layers.GlobalMaxPooling1D()(joined), other])


def functions() -> Any:
    """Functions of TensorFlow that tf.keras made layers of, saved as an archive of Keras 2."""
    import tensorflow as tf

    keras = _keras()
    rows = keras.Input((6, 4))
    x = tf.nn.gelu(rows * 2.0 + 1.0)
    x = tf.concat([x, tf.nn.leaky_relu(rows, alpha=0.3)], axis=-1)
    x = x[:, 1:, ::2] - tf.reduce_mean(x, axis=1, keepdims=True)[:, :, :4]
    one, other = tf.split(x, [2, 3], axis=1)
    x = tf.matmul(one, tf.transpose(other, [0, 2, 1]))
    x = tf.clip_by_value(tf.reshape(x, [-1, 6]), -1.5, 1.5)
    x = tf.stack([tf.nn.softmax(x), tf.math.tanh(x)], axis=1)
    return keras.Model(rows, keras.layers.Dense(3)(tf.squeeze(x[:, :1], axis=1)))


def attention() -> Any:
    """Attention of three kinds, causal and not."""
    keras = _keras()
    layers = keras.layers
    query, value = keras.Input((5, 6)), keras.Input((4, 6))
    x = layers.MultiHeadAttention(2, 3, value_dim=4)(query, value)
    x = layers.LayerNormalization(epsilon=0.01)(layers.Add()([x, query]))
    x = layers.MultiHeadAttention(3, 2)(x, x, use_causal_mask=True)
    x = layers.Attention(use_scale=True)([x, value])
    x = layers.AdditiveAttention()([x, value])
    return keras.Model([query, value], layers.GlobalAveragePooling1D()(x))


def line() -> Any:
    """The old hard_sigmoid behind what has no weights, in a Sequential, saved as an archive."""
    keras = _keras()
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((7, 3)),
            layers.Conv1D(4, 2, strides=2, padding="same"),
            layers.MaxPooling1D(2),
            layers.Activation(OLD),
            layers.TimeDistributed(layers.Activation(OLD)),
            layers.TimeDistributed(layers.Dense(3, activation=OLD)),
        ]
    )


def old_states() -> Any:
    """The old hard_sigmoid of states, which no weights scale."""
    keras = _keras()
    layers = keras.layers
    frames = keras.Input((3, 5, 4, 2))
    x = layers.ConvLSTM2D(3, 2, activation=OLD, return_sequences=True)(frames)
    x = layers.Reshape((9, 12))(x)
    return keras.Model(frames, layers.LSTM(4, activation=OLD, recurrent_activation=OLD)(x))


def old_direction() -> Any:
    """The old hard_sigmoid in one of two directions, and masked steps in both."""
    keras = _keras()
    layers = keras.layers
    words = keras.Input((7,), dtype="int32", name="words")
    x = layers.Embedding(5, 4, mask_zero=True)(words)
    ahead = layers.GRU(3, recurrent_activation=OLD)
    back = layers.GRU(3, recurrent_activation="sigmoid", go_backwards=True)
    return keras.Model(words, layers.Bidirectional(ahead, backward_layer=back)(x))


def masked() -> Any:
    """Outputs of masked steps, which a Bidirectional makes zeros, and a way back alone."""
    keras = _keras()
    layers = keras.layers
    words = keras.Input((7,), dtype="int32", name="words")
    x = layers.Embedding(5, 4, mask_zero=True)(words)
    both = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)
    back = layers.SimpleRNN(2, go_backwards=True, return_sequences=True)(x)
    return keras.Model(words, [both, back])


def masks() -> Any:
    """Steps that hold a value other than zero are masked, through layers that keep masks."""
    keras = _keras()
    layers = keras.layers
    words = keras.Input((7,), dtype="int32", name="words")
    x = layers.Rescaling(0.5)(layers.Reshape((7, 1))(words))
    x = layers.Masking(mask_value=1.0)(x)
    x = layers.Activation("tanh")(layers.Dropout(0.3)(x))
    mean = layers.GlobalAveragePooling1D()(layers.LeakyReLU(alpha=0.4)(x))
    return keras.Model(words, [layers.LSTM(3)(x), mean])


def _cudnn(name: str) -> Any:
    keras = _keras()
    steps = keras.Input((5, 3))
    layer = getattr(keras.layers, name) if hasattr(keras.layers, name) else None
    if layer is None:
        from tf_keras.src.layers.rnn import cudnn_gru, cudnn_lstm

        layer = {"CuDNNLSTM": cudnn_lstm.CuDNNLSTM, "CuDNNGRU": cudnn_gru.CuDNNGRU}[name]
    x = layer(4, return_sequences=True, name="recurrent")(steps)
    return keras.Model(steps, keras.layers.Dense(2, name="head")(x))


def _plain(name: str) -> Any:
    keras = _keras()
    steps = keras.Input((5, 3))
    further = {"reset_after": True} if name == "GRU" else {}
    layer = getattr(keras.layers, name)(4, return_sequences=True, name="recurrent", **further)
    return keras.Model(steps, keras.layers.Dense(2, name="head")(layer(steps)))


MODELS: dict[str, Build] = {
    "lstm": lstm,
    "gru_before": gru_before,
    "gru_after": gru_after,
    "cells": cells,
    "conv_lstm": conv_lstm,
    "images": images,
    "nested": nested,
    "functions_archive": functions,
    "functions": functions,
    "attention": attention,
    "attention_archive": attention,
    "line_archive": line,
    "old_states": old_states,
    "old_direction": old_direction,
    "masked": masked,
    "masks": masks,
}
# How it was saved, and how it is run where there is no GPU.
CUDNN: dict[str, tuple[Build, Build]] = {
    "cudnn_lstm": (lambda: _cudnn("CuDNNLSTM"), lambda: _plain("LSTM")),
    "cudnn_gru": (lambda: _cudnn("CuDNNGRU"), lambda: _plain("GRU")),
}
