"""The shape and type of what each layer gives are those that Keras computes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from support.keras_graphs import of_graph, of_keras

import converter
from converter.graph.reading import read_graph, read_graph_text

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.frameworks
L = keras.layers

SIZES = {1: (11,), 2: (11, 8), 3: (11, 8, 9)}
OPEN = {1: (None,), 2: (None, 8), 3: (11, None, 9)}


def _agrees(layer: Any, *shapes: tuple, dtype: str = "float32", **call: object) -> None:
    inputs = [keras.Input(shape, batch_size=3, dtype=dtype) for shape in shapes]
    model = keras.Model(inputs, layer(inputs if len(inputs) > 1 else inputs[0], **call))
    assert of_graph(read_graph_text(model.to_json(), version="3")) == of_keras(model)


def _images(axes: int, first: bool) -> list[tuple]:
    return [(5, *sizes) if first else (*sizes, 5) for sizes in (SIZES[axes], OPEN[axes])]


WINDOWS = [
    *itertools.product(("Conv{}D", "MaxPooling{}D", "AveragePooling{}D"), (1, 2, 3)),
    *itertools.product(("SeparableConv{}D", "DepthwiseConv{}D"), (1, 2)),
]


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("name", "axes"), WINDOWS)
def test_windows(name, axes, first):
    found = getattr(L, name.format(axes))
    own = {"data_format": "channels_first" if first else "channels_last"}
    own |= {"filters": 7} if "filters" in found.__init__.__code__.co_varnames else {}
    size = "pool_size" if "Pool" in name else "kernel_size"
    for padding, width, stride in itertools.product(("valid", "same"), (1, 2, 3), (1, 2, 3)):
        for shape in _images(axes, first):
            _agrees(found(**own, padding=padding, **{size: width}, strides=stride), shape)
    if "Pool" not in name:
        for padding in ("valid", "same", *(["causal"] if name == "Conv{}D" and axes == 1 else [])):
            if padding != "causal" or not first:
                made = found(**own, kernel_size=3, dilation_rate=2, padding=padding)
                _agrees(made, _images(axes, first)[0])


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_transposed_convolutions(axes, first):
    found = getattr(L, f"Conv{axes}DTranspose")
    form = "channels_first" if first else "channels_last"
    for padding, width, stride in itertools.product(("valid", "same"), (1, 2, 3, 4), (1, 2, 3)):
        for extra in (None, *range(stride)):
            own = {"padding": padding, "strides": stride, "output_padding": extra}
            for shape in _images(axes, first):
                _agrees(found(7, width, data_format=form, **own), shape)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_other_layers_with_positions(axes):
    pairs = [(1, 2), (0, 3), (2, 1)][:axes]
    pairs = pairs[0] if axes == 1 else pairs
    for shape in _images(axes, first=False):
        _agrees(getattr(L, f"ZeroPadding{axes}D")(pairs), shape)
        _agrees(getattr(L, f"Cropping{axes}D")(pairs), shape)
        _agrees(getattr(L, f"UpSampling{axes}D")(3), shape)
        for kind in ("Max", "Average"):
            _agrees(getattr(L, f"Global{kind}Pooling{axes}D")(), shape)
            _agrees(getattr(L, f"Global{kind}Pooling{axes}D")(keepdims=True), shape)
            _agrees(getattr(L, f"Adaptive{kind}Pooling{axes}D")(4), shape)


def _recurrent() -> list[Any]:
    made: list[Any] = []
    for name, every, state in itertools.product(("LSTM", "GRU", "SimpleRNN"), (0, 1), (0, 1)):
        own = {"return_sequences": bool(every), "return_state": bool(state)}
        made.append(getattr(L, name)(7, **own))
        made.extend(
            L.Bidirectional(getattr(L, name)(7, **own), merge_mode=mode)
            for mode in ("concat", "sum", "mul", "ave", None)
        )
    cells = [L.LSTMCell(7), L.GRUCell(5)]
    made += [L.RNN(L.LSTMCell(7)), L.RNN(cells, return_sequences=True)]
    made += [L.TimeDistributed(L.Dense(7)), L.RNN(L.StackedRNNCells([L.GRUCell(3)]))]
    return made


def test_two_directions_of_different_widths():
    """Keras takes the width of one direction twice; what it really gives is the sum of both."""
    layer = L.Bidirectional(L.GRU(3), backward_layer=L.GRU(5, go_backwards=True))
    steps = keras.Input((6, 4), batch_size=2)
    model = keras.Model(steps, layer(steps))
    assert model.output_shape == (2, 6)
    given = layer(keras.ops.ones((2, 6, 4)))
    graph = read_graph_text(model.to_json(), version="3")
    assert tuple(given.shape) == graph.calls[-1].outputs[0].shape == (2, 8)


@pytest.mark.parametrize("mode", ["log", "stft", "psd"])
def test_spectrograms(mode):
    for padding, expand in itertools.product(("valid", "same"), (False, True)):
        settings = {"frame_length": 16, "padding": padding, "expand_dims": expand}
        _agrees(L.STFTSpectrogram(mode=mode, frame_step=5, **settings), (67, 3))
        _agrees(L.STFTSpectrogram(mode=mode, fft_length=32, **settings), (None, 2))


def test_recurrent_layers_and_wrappers():
    for layer in _recurrent():
        for shape in ((6, 4), (None, 4)):
            _agrees(layer.__class__.from_config(layer.get_config()), shape)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_convolutional_lstm(axes):
    for every, state, padding in itertools.product((False, True), (False, True), ("valid", "same")):
        layer = getattr(L, f"ConvLSTM{axes}D")(
            7, 3, padding=padding, return_sequences=every, return_state=state
        )
        _agrees(layer, (4, *SIZES[axes], 2))


def test_layers_without_positions():
    plain = (6, 4)
    for layer in (
        L.Dense(7), L.EinsumDense("abc,cd->abd", (None, 7)), L.EinsumDense("...b,bc->...c", 7),
        L.Flatten(), L.Reshape((8, -1)), L.Permute((2, 1)), L.Activation("gelu"), L.PReLU(),
        L.LayerNormalization(), L.BatchNormalization(), L.GroupNormalization(2), L.Masking(),
        L.RMSNormalization(), L.UnitNormalization(), L.Dropout(0.1), L.Softmax(), L.LeakyReLU(),
        L.Rescaling(2.0), L.Normalization(), L.Identity(), L.SpatialDropout1D(0.1), L.ELU(),
        L.SpectralNormalization(L.Dense(7)),
    ):  # fmt: skip
        _agrees(layer, plain)
    _agrees(L.RepeatVector(5), (7,))
    for layer in (L.Embedding(9, 7), L.Flatten(), L.Reshape((3, 2)), L.Identity()):
        _agrees(layer, (6,), dtype="int32")
    for layer in (L.Resizing(5, 9), L.CenterCrop(5, 7), L.RandomFlip(), L.Dense(2)):
        _agrees(layer, (11, 8, 3))
    for name in ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"):
        _agrees(getattr(L, name)(), (6, 4), (1, 4))
    _agrees(L.Concatenate(), (6, 4), (6, 5))
    _agrees(L.Concatenate(axis=1), (6, 4), (None, 4))
    _agrees(L.Dot((2, 1)), (6, 4), (4, 3))
    for attention in (L.Attention(), L.AdditiveAttention()):
        _agrees(attention, (6, 4), (5, 4))


def test_layers_of_several_named_values():
    query, value = keras.Input((6, 8)), keras.Input((5, 8))
    made = [
        L.MultiHeadAttention(2, 3)(query, value),
        L.MultiHeadAttention(2, 3, output_shape=7)(query, value=value),
        L.GroupQueryAttention(4, 4, 2)(query, value),
    ]
    state = [L.Dense(7)(query[:, 0]), L.Dense(7)(query[:, 1])]
    made.append(L.LSTM(7)(query, initial_state=state))
    model = keras.Model([query, value], made)
    assert of_graph(read_graph_text(model.to_json(), version="3")) == of_keras(model)


def test_operations():
    x, y = keras.Input((6, 4)), keras.Input((6, 4))
    o = keras.ops
    made = [
        x + 1.0, x * y, 2.0 - x, x / y, x[:, 1:5:2], x[..., None, 0], o.reshape(x, (-1, 8)),
        o.transpose(x, (0, 2, 1)), o.mean(x, axis=1), o.sum(x, axis=-1, keepdims=True),
        o.concatenate([x, y], axis=-1), o.stack([x, y], axis=1), o.expand_dims(x, 1),
        o.squeeze(x[:, :1], axis=1), o.matmul(x, o.transpose(y, (0, 2, 1))), x > y,
        o.cast(x, "float16"), o.relu(x), o.softmax(x), o.where(x > y, x, y), *o.split(x, 2, axis=1),
        *o.split(x, [1, 4], axis=1), o.argmax(x, axis=1), o.maximum(x, 0.0), o.clip(x, 0, 1),
    ]  # fmt: skip
    model = keras.Model([x, y], made)
    assert of_graph(read_graph_text(model.to_json(), version="3")) == of_keras(model)


def test_nested_and_shared_models():
    inner = keras.Sequential([keras.Input((4,)), L.Dense(5), L.Dense(4)])
    part = keras.Input((4,))
    several = keras.Model(part, [L.Dense(3)(part), L.Dense(2)(part)])
    x = keras.Input((4,))
    twice = inner(inner(x))
    first, second = several(twice)
    third, _ = several(x)
    model = keras.Model(x, {"b": first, "a": [second, third]})
    graph = read_graph(converter.open(model))
    assert of_graph(graph) == of_keras(model)
    assert graph.output_structure == {"a": [0, 1], "b": 2}
