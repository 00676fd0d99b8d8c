"""Plans broken on purpose: what is tried for which module, and that it is what it says."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from support.validation_pair import keras_network, randomise, twin

import converter
from converter.live.torch_module import TorchModuleCheckpoint
from converter.validation.controls import MAX_CONTROLS, Broken, broken_plans

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
]


def tried(module: Any, plan: Any = None) -> tuple[dict[str, Broken], TorchModuleCheckpoint]:
    view = TorchModuleCheckpoint(module)
    shapes = {one.name: one.shape for one in view.manifest if one.dtype.is_floating}
    return {one.kind: one for one in broken_plans(module, shapes, plan)}, view


@pytest.mark.parametrize(
    ("module", "kind", "rows"),
    [
        (torch.nn.GRU(3, 2), "gates", [2, 3, 0, 1, 4, 5]),
        (torch.nn.LSTM(3, 2), "gates", [0, 1, 4, 5, 2, 3, 6, 7]),
        (torch.nn.MultiheadAttention(2, 1), "query and key", [2, 3, 0, 1, 4, 5]),
    ],
    ids=["GRU", "LSTM", "attention"],
)
def test_blocks_of_rows_are_exchanged(module: Any, kind: str, rows: list[int]) -> None:
    found, view = tried(module)
    for name, change in found[kind].changes.items():
        before, after = view.read(name), change(view.read)
        assert np.array_equal(after, before[rows]), name
    assert len(found[kind].changes) >= 2


def test_rows_behind_a_flatten_are_left_in_the_order_of_keras() -> None:
    model = keras_network()
    module = twin(model)
    found, view = tried(module, converter.plan(model, like=module).plan)
    (change,) = found["flatten order"].changes.values()
    kernel = np.array(model.get_layer("hidden").get_weights()[0])
    assert np.array_equal(change(view.read), kernel.T)  # (h w c) rows, only transposed
    assert not np.array_equal(view.read("hidden.weight"), kernel.T)


def test_a_square_matrix_stays_as_it_was_and_tables_are_no_matrices() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Embedding(5, 5))
    found, view = tried(module)
    (change,) = found["untransposed"].changes.values()
    assert found["untransposed"].what == "square '0.weight'"
    assert np.array_equal(change(view.read), view.read("0.weight").T)


def test_their_number_is_bounded_however_deep_the_model_is() -> None:
    nn = torch.nn
    layers = [nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(90)]
    module = nn.Sequential(*layers)
    view = TorchModuleCheckpoint(module)
    shapes = {one.name: one.shape for one in view.manifest if one.dtype.is_floating}
    found = broken_plans(module, shapes, None)
    assert len(found) == MAX_CONTROLS
    assert any("'89." in one.what for one in found)  # late layers as well as early ones


def test_a_model_without_equal_shapes_has_rows_one_further() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, 2))
    found, view = tried(module)
    assert list(found) == ["rows"]
    (change,) = found["rows"].changes.values()
    assert np.array_equal(change(view.read), view.read("1.bias")[[1, 0]])


class Residual(torch.nn.Module):
    """Two convolutions that are added up: exchanging their biases is no mistake."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Linear(5, 4)
        self.two = torch.nn.Linear(3, 4)

    def forward(self, first: Any, second: Any) -> Any:
        return torch.tanh(self.one(first) + self.two(second))


def residual() -> Any:
    layers = keras.layers
    inputs = [keras.Input((5,), name="first"), keras.Input((3,), name="second")]
    parts = [layers.Dense(4, name=n)(x) for n, x in zip(("one", "two"), inputs, strict=True)]
    return keras.Model(inputs, layers.Activation("tanh")(layers.Add()(parts)))


def test_what_the_model_treats_alike_is_no_weakness_of_the_inputs() -> None:
    model, module = randomise(residual()), Residual()
    module.load_state_dict(converter.plan(model).state_dict())
    report = converter.validate(model, module)
    (control,) = report.controls
    assert control.what == "'one.bias' and 'two.bias' exchanged"
    assert control.note.startswith("the model treats both alike")
    assert (control.is_detected, report.verdict) == (True, "pass")
    assert control.floors > 1e4


def test_equal_biases_of_layers_that_are_added_up_prove_nothing() -> None:
    model, module = residual(), Residual()  # fresh: both biases are zero
    module.load_state_dict(converter.plan(model).state_dict())
    report = converter.validate(model, module)
    (control,) = report.controls
    assert control.note == "it changes nothing: both hold equal values"
    assert (control.is_detected, report.verdict) == (False, "warn")


def test_what_a_plan_fills_with_zeros_is_not_exchanged() -> None:
    layers = keras.layers
    steps = keras.Input((6, 5))
    x = layers.LSTM(5, return_sequences=True, name="a")(steps)
    model = randomise(keras.Model(steps, layers.LSTM(5, return_sequences=True, name="b")(x)))

    class Twin(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = (torch.nn.LSTM(5, 5, batch_first=True) for _ in range(2))

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x)[0])[0]

    module = Twin()
    module.load_state_dict(converter.plan(model).state_dict())
    report = converter.validate(model, module)
    assert report.verdict == "pass", report.lines()
    assert len(report.controls) > 4
    assert not any("bias_hh" in one.what for one in report.controls if one.kind != "gates")


def test_the_module_is_as_before_afterwards() -> None:
    model = keras_network()
    module = twin(model)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    report = converter.validate(model, module)
    assert len(report.controls) > 5
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


class Centred(keras.layers.Layer):
    """Subtracts the mean of the batch, at inference too."""

    def call(self, x: Any) -> Any:
        return x - keras.ops.mean(x, axis=0, keepdims=True)


def test_a_keras_model_that_computes_with_its_batch_is_noticed() -> None:
    model = keras.Sequential([keras.Input((5,)), Centred(), keras.layers.Dense(3, name="dense")])
    randomise(model)

    class Twin(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = torch.nn.Linear(5, 3)

        def forward(self, x: Any) -> Any:
            return self.dense(x - x.mean(0, keepdim=True))

    module = Twin()
    module.load_state_dict(converter.plan(model).state_dict())
    report = converter.validate(model, module)
    assert report.rows[0].verdict == "warn"  # equal outputs, and yet no inference
    notices = report.notices
    assert [one.split(" gives")[0] for one in notices] == ["The PyTorch side", "The Keras side"]
