"""Conversion by kind: hand-written PyTorch modules with the layers' names give the same outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import torch
from keras import layers
from torch import nn

import converter

pytestmark = pytest.mark.frameworks

BOUND = 5e-6  # of the largest output; a wrong order of rows gives about 1


def randomise(model: keras.Model, seed: int = 0) -> keras.Model:
    """Give every variable random values, variances positive."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        values = generator.normal(0, 0.4, variable.shape)
        if "variance" in variable.path:
            values = generator.uniform(0.5, 1.5, variable.shape)
        variable.assign(values.astype("float32"))
    return model


class Image(nn.Module):
    """Conv, BN, depthwise, separable, pooling, Flatten, BN of features, Dense."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 5, (3, 2))
        self.stem_bn = nn.BatchNorm2d(5, eps=1e-3)
        self.wide = nn.Conv2d(5, 10, 3, groups=5, bias=False)
        self.split = nn.Module()
        self.split.depthwise = nn.Conv2d(10, 20, 3, groups=10, bias=False)
        self.split.pointwise = nn.Conv2d(20, 7, 1)
        self.flat_bn = nn.BatchNorm1d(7 * 3 * 4, eps=1e-3)
        self.head = nn.Linear(7 * 3 * 4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem_bn(self.stem(x)))
        x = self.split.pointwise(self.split.depthwise(self.wide(x)))
        x = nn.functional.max_pool2d(x, 2).flatten(1)
        return self.head(self.flat_bn(x))


def image() -> keras.Model:
    x = given = keras.Input((13, 13, 3))
    x = layers.Conv2D(5, (3, 2), name="stem")(x)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.Activation("relu")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="wide")(x)
    x = layers.SeparableConv2D(7, 3, depth_multiplier=2, name="split")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    x = layers.BatchNormalization(name="flat_bn")(x)
    return keras.Model(given, layers.Dense(6, name="head")(x))


class Nested(nn.Module):
    """A nested model that flattens inside, and a head outside of it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.conv = nn.Conv1d(4, 6, 3)
        self.encoder.code = nn.Linear(6 * 5, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.encoder.conv(x)).flatten(1)
        return self.head(torch.tanh(self.encoder.code(x)))


def nested() -> keras.Model:
    inner = keras.Sequential(
        [
            keras.Input((7, 4)),
            layers.Conv1D(6, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(8, activation="tanh", name="code"),
        ],
        name="encoder",
    )
    given = keras.Input((7, 4))
    return keras.Model(given, layers.Dense(3, name="head")(inner(given)))


class Sequence(nn.Module):
    """Embedding, Bidirectional LSTM, TimeDistributed Dense, Flatten of a sequence, GRU beside."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 5)
        self.both = nn.LSTM(5, 4, bidirectional=True, batch_first=True)
        self.each = nn.Linear(8, 3)
        self.gated = nn.GRU(5, 7, batch_first=True)
        self.join = nn.Linear(6 * 3 + 7, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.words(ids)
        left = self.each(self.both(x)[0]).flatten(1)
        right = self.gated(x)[0][:, -1]
        return self.join(torch.cat([left, right], 1))


def sequence() -> keras.Model:
    given = keras.Input((6,), dtype="int32")
    x = layers.Embedding(11, 5, name="words")(given)
    left = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both")(x)
    left = layers.Flatten()(layers.TimeDistributed(layers.Dense(3), name="each")(left))
    right = layers.GRU(7, name="gated")(x)
    return keras.Model(given, layers.Dense(2, name="join")(layers.concatenate([left, right])))


class Decoder(nn.Module):
    """A vector becomes an image and a vector again."""

    def __init__(self) -> None:
        super().__init__()
        self.grow = nn.Linear(5, 3 * 2 * 4)
        self.up = nn.ConvTranspose2d(4, 6, 3)
        self.norm = nn.LayerNorm(6, eps=1e-3)
        self.out = nn.Linear(5 * 4 * 6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.grow(x).view(-1, 3, 2, 4).permute(0, 3, 1, 2)
        x = self.norm(self.up(x).movedim(1, -1)).movedim(-1, 1)
        return self.out(x.flatten(1))


def decoder() -> keras.Model:
    given = keras.Input((5,))
    x = layers.Reshape((3, 2, 4))(layers.Dense(24, name="grow")(given))
    x = layers.LayerNormalization(name="norm")(layers.Conv2DTranspose(6, 3, name="up")(x))
    return keras.Model(given, layers.Dense(3, name="out")(layers.Flatten()(x)))


@dataclass(frozen=True)
class Case:
    id: str
    build: Callable[[], keras.Model]
    module: type[nn.Module]
    shape: tuple[int, ...]
    channels_first: bool = False
    ids: int = 0


CASES = [
    Case("image", image, Image, (13, 13, 3), channels_first=True),
    Case("nested", nested, Nested, (7, 4), channels_first=True),
    Case("sequence", sequence, Sequence, (6,), ids=11),
    Case("decoder", decoder, Decoder, (5,)),
]


def outputs(case: Case, model: keras.Model, module: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    given = generator.normal(0, 1, (3, *case.shape)).astype("float32")
    if case.ids:
        given = generator.integers(0, case.ids, (3, *case.shape)).astype("int32")
    expected = keras.ops.convert_to_numpy(model(given, training=False))
    tensor = torch.from_numpy(given)
    tensor = tensor.movedim(-1, 1) if case.channels_first else tensor
    with torch.no_grad():
        found = module.eval()(tensor.contiguous()).numpy()
    return expected, found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("through", ["live", "model.keras", "model.h5"])
@pytest.mark.filterwarnings("ignore:.*HDF5 file.*legacy")
def test_outputs_agree_and_the_way_back_is_exact(case: Case, through: str, tmp_path) -> None:
    model = randomise(case.build())
    source: object = model
    if through != "live":
        source = tmp_path / through
        model.save(source)
    conversion = converter.plan(source)
    module = case.module()
    module.load_state_dict(conversion.state_dict())
    expected, found = outputs(case, model, module)
    assert np.abs(found - expected).max() <= BOUND * np.abs(expected).max()
    back = converter.plan(module, like=source).get_weights()
    for before, after in zip(model.get_weights(), back, strict=True):
        assert before.tobytes() == after.tobytes()


def test_rows_left_in_keras_order_are_far_off() -> None:
    """The comparison above can fail: without the reordering of rows it does."""
    case = CASES[0]
    model = randomise(case.build())
    module = case.module()
    kept = converter.plan(model, sizes={"head:c": 0, "flat_bn:c": 0})
    module.load_state_dict(kept.state_dict())
    expected, found = outputs(case, model, module)
    assert np.abs(found - expected).max() > 0.1 * np.abs(expected).max()


COMPOSITES = {
    "cells-of-two-widths": layers.RNN([layers.LSTMCell(4), layers.LSTMCell(5)]),
    "two-kinds-of-directions": layers.Bidirectional(
        layers.LSTM(4), backward_layer=layers.GRU(4, go_backwards=True)
    ),
    "normalised-einsum": layers.SpectralNormalization(
        layers.EinsumDense("abc,cd->abd", output_shape=(None, 7))
    ),
}


@pytest.mark.parametrize("wrap", COMPOSITES.values(), ids=list(COMPOSITES))
def test_a_composite_without_a_kind_is_converted_by_its_parts(wrap) -> None:
    given = keras.Input((6, 3))
    model = randomise(keras.Model(given, wrap(given)))
    conversion = converter.plan(model)
    state = conversion.state_dict("numpy")
    weights = [weight for weight in model.get_weights() if weight.ndim]
    assert sum(array.size for array in state.values()) >= sum(w.size for w in weights) - 7
    assert all(step.law is not converter.Law.ONE_WAY for step in conversion.steps)
