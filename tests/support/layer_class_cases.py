"""One layer of every Keras class that the catalogue knows, and what is expected of it."""

from __future__ import annotations

from typing import Any

from keras import layers

VECTOR, STEPS, LINE, IMAGE = (5,), (7, 4), (9, 4), (9, 8, 4)


def twice(layer: Any, x: Any) -> Any:
    return layer(x, x)


def listed(layer: Any, x: Any) -> Any:
    return layer([x, x])


def layer_scale() -> Any:
    from keras.src.applications.convnext import LayerScale

    return LayerScale(0.1, 5)


# Name of the kind, or "" for none; the layer; shape of its input; how it is called.
CASES: dict[str, tuple[str, Any, tuple[int, ...], Any]] = {
    "Dense": ("dense", lambda: layers.Dense(3), VECTOR, None),
    "Dense, no bias": ("dense", lambda: layers.Dense(3, use_bias=False), VECTOR, None),
    "EinsumDense": (
        "einsum_dense",
        lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"),
        STEPS,
        None,
    ),
    "EinsumDense, no bias": (
        "einsum_dense",
        lambda: layers.EinsumDense("abc,cd->abd", (None, 3)),
        STEPS,
        None,
    ),
    "Embedding": ("embedding", lambda: layers.Embedding(11, 3), VECTOR, None),
    "ReversibleEmbedding": (
        "reversible_embedding",
        lambda: layers.ReversibleEmbedding(11, 3),
        VECTOR,
        None,
    ),
    "ReversibleEmbedding, untied": (
        "reversible_embedding_untied",
        lambda: layers.ReversibleEmbedding(11, 3, tie_weights=False),
        VECTOR,
        None,
    ),
    "Conv1D": ("conv1d", lambda: layers.Conv1D(3, 2), LINE, None),
    "Conv2D": ("conv2d", lambda: layers.Conv2D(3, 2), IMAGE, None),
    "Conv3D": ("conv3d", lambda: layers.Conv3D(3, 2), (5, *IMAGE), None),
    "Conv1DTranspose": ("conv1d_transpose", lambda: layers.Conv1DTranspose(3, 2), LINE, None),
    "Conv2DTranspose": ("conv2d_transpose", lambda: layers.Conv2DTranspose(3, 2), IMAGE, None),
    "Conv3DTranspose": (
        "conv3d_transpose",
        lambda: layers.Conv3DTranspose(3, 2),
        (5, *IMAGE),
        None,
    ),
    "DepthwiseConv1D": ("depthwise_conv1d", lambda: layers.DepthwiseConv1D(2), LINE, None),
    "DepthwiseConv2D": ("depthwise_conv2d", lambda: layers.DepthwiseConv2D(2), IMAGE, None),
    "SeparableConv1D": ("separable_conv1d", lambda: layers.SeparableConv1D(3, 2), LINE, None),
    "SeparableConv2D": (
        "separable_conv2d",
        lambda: layers.SeparableConv2D(3, 2),
        IMAGE,
        None,
    ),
    "BatchNormalization": ("batch_norm", layers.BatchNormalization, VECTOR, None),
    "BatchNormalization, no gamma": (
        "batch_norm",
        lambda: layers.BatchNormalization(scale=False),
        VECTOR,
        None,
    ),
    "BatchNormalization, no beta": (
        "batch_norm",
        lambda: layers.BatchNormalization(center=False),
        VECTOR,
        None,
    ),
    "BatchNormalization, renorm": (
        "batch_norm_renorm",
        lambda: layers.BatchNormalization(renorm=True),
        VECTOR,
        None,
    ),
    "LayerNormalization": ("layer_norm", layers.LayerNormalization, VECTOR, None),
    "LayerNormalization, no beta": (
        "layer_norm",
        lambda: layers.LayerNormalization(center=False),
        VECTOR,
        None,
    ),
    "GroupNormalization": ("group_norm", lambda: layers.GroupNormalization(2), STEPS, None),
    "RMSNormalization": ("rms_norm", layers.RMSNormalization, VECTOR, None),
    "Normalization": ("normalization", layers.Normalization, VECTOR, None),
    "PReLU": ("prelu", layers.PReLU, VECTOR, None),
    "LayerScale": ("layer_scale_vector", layer_scale, VECTOR, None),
    "Attention": ("attention", lambda: layers.Attention(use_scale=True), STEPS, listed),
    "Attention, concat": (
        "attention",
        lambda: layers.Attention(use_scale=True, score_mode="concat"),
        STEPS,
        listed,
    ),
    "AdditiveAttention": ("additive_attention", layers.AdditiveAttention, STEPS, listed),
    "MultiHeadAttention": (
        "multi_head_attention",
        lambda: layers.MultiHeadAttention(3, 2),
        STEPS,
        twice,
    ),
    "MultiHeadAttention, gate, no bias": (
        "multi_head_attention",
        lambda: layers.MultiHeadAttention(3, 2, use_gate=True, use_bias=False),
        STEPS,
        twice,
    ),
    "GroupQueryAttention": (
        "group_query_attention",
        lambda: layers.GroupQueryAttention(3, 4, 2, use_gate=True),
        STEPS,
        twice,
    ),
    "LSTM": ("lstm", lambda: layers.LSTM(3), STEPS, None),
    "LSTM, no bias": ("lstm", lambda: layers.LSTM(3, use_bias=False), STEPS, None),
    "GRU": ("gru", lambda: layers.GRU(3), STEPS, None),
    "SimpleRNN": ("simple_rnn", lambda: layers.SimpleRNN(3), STEPS, None),
    "ConvLSTM1D": ("conv_lstm1d", lambda: layers.ConvLSTM1D(3, 2), (7, *LINE), None),
    "ConvLSTM2D": ("conv_lstm2d", lambda: layers.ConvLSTM2D(3, 2), (7, *IMAGE), None),
    "ConvLSTM3D": ("conv_lstm3d", lambda: layers.ConvLSTM3D(3, 2), (7, 5, *IMAGE), None),
    "RNN": ("lstm", lambda: layers.RNN(layers.LSTMCell(3)), STEPS, None),
    "RNN, named cell": ("gru", lambda: layers.RNN(layers.GRUCell(3, name="core")), STEPS, None),
    "RNN, cells of one width": (
        "stacked_lstm_2",
        lambda: layers.RNN([layers.LSTMCell(3), layers.LSTMCell(3)]),
        STEPS,
        None,
    ),
    "RNN, cells of two widths": (
        "",
        lambda: layers.RNN([layers.LSTMCell(3), layers.LSTMCell(2)]),
        STEPS,
        None,
    ),
    "RNN, several cells": (
        "",
        lambda: layers.RNN(
            [
                layers.LSTMCell(3),
                layers.GRUCell(2),
                layers.LSTMCell(4),
                layers.LSTMCell(5, name="x"),
            ]
        ),
        STEPS,
        None,
    ),
    "Bidirectional": (
        "bidirectional_lstm",
        lambda: layers.Bidirectional(layers.LSTM(3)),
        STEPS,
        None,
    ),
    "Bidirectional, named": (
        "bidirectional_gru",
        lambda: layers.Bidirectional(layers.GRU(3, name="reader")),
        STEPS,
        None,
    ),
    "Bidirectional, two layers": (
        "",
        lambda: layers.Bidirectional(
            layers.LSTM(3), backward_layer=layers.GRU(2, go_backwards=True, name="back")
        ),
        STEPS,
        None,
    ),
    "TimeDistributed": ("dense", lambda: layers.TimeDistributed(layers.Dense(3)), STEPS, None),
    "TimeDistributed, named": (
        "conv1d",
        lambda: layers.TimeDistributed(layers.Conv1D(3, 2, name="proj")),
        (6, *LINE),
        None,
    ),
    "TimeDistributed Bidirectional": (
        "bidirectional_lstm",
        lambda: layers.TimeDistributed(layers.Bidirectional(layers.LSTM(3))),
        (6, *STEPS),
        None,
    ),
    "SpectralNormalization": (
        "spectral_dense",
        lambda: layers.SpectralNormalization(layers.Dense(3)),
        VECTOR,
        None,
    ),
    "SpectralNormalization Conv2D": (
        "spectral_conv2d",
        lambda: layers.SpectralNormalization(layers.Conv2D(3, 2, use_bias=False)),
        IMAGE,
        None,
    ),
    "SpectralNormalization Embedding": (
        "spectral_embedding",
        lambda: layers.SpectralNormalization(layers.Embedding(11, 3)),
        VECTOR,
        None,
    ),
    "STFTSpectrogram": (
        "stft_spectrogram",
        lambda: layers.STFTSpectrogram(frame_length=16, frame_step=4, fft_length=16),
        (50, 1),
        None,
    ),
}

# Without a config, these files can be read in two ways.
AMBIGUOUS = {
    "BatchNormalization, no gamma",
    "BatchNormalization, no beta",
    "LayerNormalization, no beta",
    "Attention",
    "RNN, cells of one width",
    "RNN, cells of two widths",
    "RNN, several cells",
    "RNN, named cell",
    "TimeDistributed, named",
}
# Nor can the class of a layer inside be told from a name that somebody gave it.
UNTOLD = {
    "Bidirectional, two layers",
    "RNN, cells of one width",
    "RNN, cells of two widths",
    "RNN, several cells",
    "RNN, named cell",
    "TimeDistributed, named",
}
