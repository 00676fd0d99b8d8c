"""Where and why: in subclassed models, over the depth of a model, and not where it is not asked."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import torch
from keras import layers
from support.validation_pair import keras_network, randomise, twin
from torch import nn

import converter

pytestmark = pytest.mark.frameworks


class Block(layers.Layer):
    def __init__(self, filters: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.conv = layers.Conv2D(filters, 3, name="conv")
        self.bn = layers.BatchNormalization(name="bn")

    def call(self, x: Any) -> Any:
        return keras.ops.relu(self.bn(self.conv(x)))


class Net(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="net")
        self.first = Block(5, name="first")
        self.second = Block(7, name="second")
        self.head = layers.Dense(4, name="head")

    def call(self, x: Any) -> Any:
        return self.head(keras.ops.mean(self.second(self.first(x)), (1, 2)))


class TorchBlock(nn.Module):
    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, filters, 3)
        self.bn = nn.BatchNorm2d(filters, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x)).relu()


class TorchNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = TorchBlock(3, 5), TorchBlock(5, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.first(x)).mean((2, 3)))


def subclassed() -> tuple[Any, Any]:
    model = Net()
    model(torch.zeros(1, 9, 11, 3))
    module = TorchNet()
    randomise(model)
    module.load_state_dict(converter.plan(model, to="torch").state_dict())
    return model, module.eval()


def test_two_faults_in_a_subclassed_model_are_named_through_its_patched_calls() -> None:
    model, module = subclassed()
    assert converter.validate(model, module).verdict == "pass"
    module.first.bn.eps = 1e-5
    weight = module.second.conv.weight
    weight.data = weight.data.flip(2, 3)
    found = converter.validate(model, module).findings
    assert [(one.layer, one.module, one.cause) for one in found] == [
        ("first/bn", "first.bn", "epsilon"),
        ("second/conv", "second.conv", "theano_flip"),
    ]
    assert "call" not in model.first.conv.__dict__  # what was patched is put back


def test_the_error_of_the_whole_run_is_told_beside_that_of_each_layer() -> None:
    model = keras_network()
    module = twin(model)
    module.bn.eps = 1e-5
    trace = converter.validate(model, module).trace
    own = {one.layer: one.error for one in trace}
    whole = {one.layer: one.accumulated_error for one in trace}
    assert own["bn"] > 1e-4
    assert whole["conv"] == own["conv"]
    assert max(own["other"], own["hidden"], own["head"]) < 1e-6
    assert min(whole["other"], whole["hidden"], whole["head"]) > 1e-5


def test_an_error_that_only_accumulates_is_said_to_grow() -> None:
    """Each layer is off by less than what a fault is, all of them together by more."""
    sizes = [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
    dense = [layers.Dense(size, name=f"d{size}") for size in sizes]
    model = randomise(keras.Sequential([keras.Input((7,)), *dense]))
    pairs = zip([7, *sizes], sizes, strict=False)
    module = nn.Sequential()
    for one, size in pairs:
        module.add_module(f"d{size}", nn.Linear(one, size))
    module.load_state_dict(converter.plan(model, to="torch").state_dict())
    for one in module:
        one.weight.data *= 1 + 3e-6
    report = converter.validate(model, module)
    assert report.verdict != "pass"
    assert report.findings == ()
    (notice,) = [one for one in report.notices if "grows" in one]
    assert notice.startswith("No layer differs by itself: the error grows from ")
    assert "at 'd8' to " in notice
    assert notice.endswith("times.")


def test_causes_are_not_looked_for_where_they_are_not_wanted() -> None:
    model = keras_network()
    module = twin(model)
    module.bn.eps = 1e-5
    asked = converter.validate(model, module)
    plain = converter.validate(model, module, explain=False)
    assert [one.cause for one in asked.findings] == ["epsilon"]
    assert plain.verdict == asked.verdict == "fail"
    assert (plain.findings, plain.trace) == ((), ())
