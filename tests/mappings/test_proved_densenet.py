"""DenseNet: Keras and torchvision give the same outputs from the weights that the mapping moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import oracles
import pytest

import converter

pytestmark = pytest.mark.frameworks

# torchvision's classes take any depth; so does Keras' constructor of the family.
BLOCKS = [2, 1, 3, 2]


@dataclass(frozen=True)
class Case:
    id: str
    top: bool


CASES = [Case("with the classifier", top=True), Case("without", top=False)]


def _keras(*, top: bool):
    from keras.src.applications.densenet import DenseNet

    model = DenseNet(
        BLOCKS,
        include_top=top,
        weights=None,
        input_shape=(72, 104, 3),
        classes=5,
        classifier_activation=None,
        pooling=None if top else "avg",
    )
    oracles.randomise_keras(model)
    return model


def _torch(*, top: bool):
    torch = pytest.importorskip("torch")
    module = oracles.torchvision().models.DenseNet(32, tuple(BLOCKS), 64, num_classes=5)
    if not top:
        module.classifier = torch.nn.Identity()
    for one in module.modules():
        if isinstance(one, torch.nn.BatchNorm2d):
            one.eps = 1.001e-5
    return module


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_outputs_agree_and_weights_come_back_bit_for_bit(case):
    import torch

    model, module = _keras(top=case.top), _torch(top=case.top)
    plan = converter.plan(model, like=module)
    assert plan.plan.mapping == "densenet"
    module.load_state_dict(plan.state_dict(), strict=True)

    images = np.random.default_rng(1).normal(size=(3, 72, 104, 3)).astype("float32")
    wanted = oracles.run_keras(model, images)
    inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    found, floor = oracles.noise_floor(module, inputs)
    assert oracles.relative_error(found, wanted) < 30 * floor

    back = converter.plan(module, like=model).get_weights()
    for one, other in zip(model.get_weights(), back, strict=True):
        assert one.tobytes() == other.tobytes()
