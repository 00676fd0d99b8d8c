"""Hyperparameters that a mapping requires, compared with live models."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest
from keras import layers
from torch import nn

from converter.mapping.document import parse_mapping
from converter.validation.requirements import unmet_requirements

pytestmark = pytest.mark.frameworks

TEXT = """
schema = 1
name = "mine"
keras = "a"
torch = "b"
rules = [["batch_norm", "norm", "norm"]]
[[requires]]
keras = "norm"
attribute = "epsilon"
equals = 0.001
why = "one"
[[requires]]
torch = "norm"
attribute = "eps"
equals = 0.001
why = "two"
[[requires]]
torch = "conv{i}"
attribute = "stride"
equals = [2, 2]
why = "three"
[[requires]]
keras = "before"
exists = false
why = "four"
"""


def models(eps: float, stride: int, *, before: bool) -> tuple[keras.Model, nn.Module]:
    x = given = keras.Input((5, 5, 3))
    x = layers.Rescaling(2.0, name="before")(x) if before else x
    model = keras.Model(given, layers.BatchNormalization(name="norm")(x))
    convs = {f"conv{i}": nn.Conv2d(3, 3, 1, stride=stride) for i in (1, 2, 3)}
    return model, nn.ModuleDict({"norm": nn.BatchNorm2d(3, eps=eps), **convs})


def test_what_is_met_is_not_mentioned() -> None:
    mapping = parse_mapping(TEXT, path=Path("mine.toml"))
    assert unmet_requirements(mapping, *models(1e-3, 2, before=False)) == []


def test_what_is_not_met_is_said_with_what_was_found() -> None:
    mapping = parse_mapping(TEXT, path=Path("mine.toml"))
    assert unmet_requirements(mapping, *models(1e-5, 1, before=True)) == [
        "'norm': 'eps' must be 0.001, and is 1e-05: two.",
        "'conv1': 'stride' must be [2, 2], and is (1, 1) and 2 more: three.",
        "there must be no 'before': four.",
    ]
