"""Keras' softmax against PyTorch's logits: equal weights are equal in one scale."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch
from keras import layers
from torch import nn

from converter.validation.validate import validate

pytestmark = pytest.mark.frameworks


def classifier(*, softmax: bool, scale: float) -> tuple[keras.Model, nn.Module]:
    generator = np.random.default_rng(5)
    given = keras.Input((7,))
    activation = "softmax" if softmax else None
    model = keras.Model(given, layers.Dense(5, activation=activation, name="head")(given))
    kernel, bias = generator.normal(0, scale, (7, 5)), generator.normal(0, 1, 5)
    model.set_weights([kernel.astype("float32"), bias.astype("float32")])
    module = nn.Linear(7, 5)
    module.load_state_dict({"weight": to_tensor(model.get_weights()[0].T), "bias": to_tensor(bias)})
    return model, module


def to_tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype="float32"))


def test_probabilities_against_logits_are_compared_as_logits() -> None:
    model, module = classifier(softmax=True, scale=1)
    report = validate(model, module)
    assert report.verdict == "pass", report.lines()
    assert report.rows[0].note == "Keras gives probabilities and PyTorch logits: compared as logits"
    with torch.no_grad():
        module.weight[1, 2] *= 1.01
    assert validate(model, module).verdict == "fail"


def test_saturated_probabilities_prove_too_little_to_pass() -> None:
    model, module = classifier(softmax=True, scale=400)
    report = validate(model, module)
    assert report.verdict == "warn", report.lines()
    assert report.rows[0].note == (
        "Keras gives probabilities and PyTorch logits: compared as probabilities, which are so "
        "close to 0 and 1 that they hide differences"
    )
    with torch.no_grad():
        module.weight.copy_(module.weight[[1, 0, 2, 3, 4]])
    assert validate(model, module).verdict == "fail"


def test_logits_against_logits_are_compared_as_they_are() -> None:
    report = validate(*classifier(softmax=False, scale=1))
    assert report.passed
    assert report.rows[0].note == ""
