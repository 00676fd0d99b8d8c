"""Every weighted layer alone, through the whole of conversion by kind: live, file, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers as k

import converter

pytestmark = pytest.mark.frameworks

IMAGE, STEPS, VOLUME, VECTOR = (7, 9, 4), (6, 4), (5, 6, 7, 4), (5,)

LAYERS: dict[str, tuple[Callable[[], keras.Layer], tuple[int, ...]]] = {
    "dense": (lambda: k.Dense(3), VECTOR),
    "dense-no-bias": (lambda: k.Dense(3, use_bias=False), VECTOR),
    "einsum": (lambda: k.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"), STEPS),
    "conv1d": (lambda: k.Conv1D(6, 3, groups=2), STEPS),
    "conv2d": (lambda: k.Conv2D(6, (3, 2), dilation_rate=2), IMAGE),
    "conv3d": (lambda: k.Conv3D(3, 2, use_bias=False), VOLUME),
    "conv1d-transpose": (lambda: k.Conv1DTranspose(3, 2), STEPS),
    "conv2d-transpose": (lambda: k.Conv2DTranspose(3, (3, 2)), IMAGE),
    "conv3d-transpose": (lambda: k.Conv3DTranspose(3, 2), VOLUME),
    "depthwise1d": (lambda: k.DepthwiseConv1D(3, depth_multiplier=2), STEPS),
    "depthwise2d": (lambda: k.DepthwiseConv2D((3, 2), depth_multiplier=2), IMAGE),
    "separable1d": (lambda: k.SeparableConv1D(5, 3, depth_multiplier=2), STEPS),
    "separable2d": (lambda: k.SeparableConv2D(5, (3, 2), use_bias=False), IMAGE),
    "batch-norm": (k.BatchNormalization, IMAGE),
    "batch-norm-no-gamma": (lambda: k.BatchNormalization(scale=False), IMAGE),
    "batch-norm-no-beta": (lambda: k.BatchNormalization(center=False), IMAGE),
    "layer-norm": (k.LayerNormalization, STEPS),
    "layer-norm-no-gamma": (lambda: k.LayerNormalization(scale=False), STEPS),
    "layer-norm-no-beta": (lambda: k.LayerNormalization(center=False), STEPS),
    "layer-norm-two-axes": (lambda: k.LayerNormalization(axis=(1, 2)), STEPS),
    "rms-norm": (k.RMSNormalization, STEPS),
    "group-norm": (lambda: k.GroupNormalization(2), IMAGE),
    "prelu": (k.PReLU, VECTOR),
    "prelu-image": (lambda: k.PReLU(shared_axes=[1, 2]), IMAGE),
    "normalization": (k.Normalization, STEPS),
    "spectral": (lambda: k.SpectralNormalization(k.Conv2D(3, 2)), IMAGE),
    "lstm": (lambda: k.LSTM(3), STEPS),
    "lstm-no-bias": (lambda: k.LSTM(3, use_bias=False), STEPS),
    "gru": (lambda: k.GRU(3), STEPS),
    "gru-before": (lambda: k.GRU(3, reset_after=False), STEPS),
    "simple-rnn": (lambda: k.SimpleRNN(3), STEPS),
    "bidirectional-lstm": (lambda: k.Bidirectional(k.LSTM(3)), STEPS),
    "bidirectional-gru": (lambda: k.Bidirectional(k.GRU(3, return_sequences=True)), STEPS),
    "bidirectional-gru-before": (lambda: k.Bidirectional(k.GRU(3, reset_after=False)), STEPS),
    "stacked": (lambda: k.RNN([k.LSTMCell(3), k.LSTMCell(3)]), STEPS),
    "stacked-gru": (lambda: k.RNN([k.GRUCell(3), k.GRUCell(5)]), STEPS),
    "conv-lstm": (lambda: k.ConvLSTM2D(3, 2), VOLUME),
    "time-distributed": (lambda: k.TimeDistributed(k.Conv2D(3, 2)), VOLUME),
}


def network(build: Callable[[], keras.Layer], shape: tuple[int, ...]) -> keras.Model:
    given = keras.Input(shape)
    model = keras.Model(given, build()(given))
    generator = np.random.default_rng(2)
    for variable in model.weights:
        if "int" in str(variable.dtype):
            continue
        variable.assign(generator.uniform(0.2, 1.5, variable.shape).astype("float32"))
    return model


@pytest.mark.parametrize(("build", "shape"), LAYERS.values(), ids=list(LAYERS))
@pytest.mark.parametrize("place", ["live", "model.keras", "model.h5"])
@pytest.mark.filterwarnings("ignore:.*HDF5 file.*legacy")
def test_a_layer_goes_through_the_plan_and_back(
    build: Callable[[], keras.Layer], shape: tuple[int, ...], place: str, tmp_path: Path
) -> None:
    model = network(build, shape)
    source: object = model
    if place != "live":
        source = tmp_path / place
        model.save(source)
    conversion = converter.plan(source)
    back = converter.plan(conversion.state_dict("numpy"), like=source).arrays()
    before = converter.open(source)
    # What PyTorch has no place for is dropped with a reason, and made anew on the way back.
    dropped = {one.name for one in conversion.plan.dropped}
    assert all(one.why for one in conversion.plan.dropped)
    for name in before.manifest.tensors:
        if name not in dropped:
            assert back[name].tobytes() == before.read(name).tobytes(), name


@pytest.mark.parametrize(
    ("shape", "shared", "sizes"),
    [
        ((7, 4), None, (4, 7)),
        ((9, 8, 4), None, (4, 9, 8)),
        ((9, 8, 4), [1], (4, 1, 8)),
        ((9, 8, 4), [2], (4, 9, 1)),
        ((5, 9, 8, 4), [1, 3], (4, 1, 9, 1)),
    ],
)
def test_a_prelu_of_positions_is_written_for_a_module_of_ones_own(shape, shared, sizes) -> None:
    """torch.nn.PReLU has one slope a channel at most; scaffold writes a module for it."""
    conversion = converter.plan(network(lambda: k.PReLU(shared_axes=shared, name="slopes"), shape))
    (slopes,) = conversion.state_dict("numpy").values()
    assert slopes.shape == sizes
    said = "torch.nn.PReLU has one slope a channel at most, this layer has one for every position"
    assert conversion.plan.assumptions == (
        f"layer 'slopes': {said}; its tensors are written for a module of your own (weight).",
    )
