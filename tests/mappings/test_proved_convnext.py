"""ConvNeXt: Keras and torchvision give the same outputs from the weights that the mapping moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import oracles
import pytest

import converter

pytestmark = pytest.mark.frameworks

DEPTHS = (1, 2, 3, 1)
WIDTHS = (6, 10, 14, 18)
SIZE = (64, 96)


@dataclass(frozen=True)
class Case:
    id: str
    name: str
    top: bool = True


CASES = [
    Case("tiny", "convnext_tiny"),
    Case("xlarge", "convnext_xlarge"),
    Case("small without the classifier", "convnext_small", top=False),
]


def _keras(case: Case):
    from keras.src.applications.convnext import ConvNeXt

    model = ConvNeXt(
        list(DEPTHS),
        list(WIDTHS),
        include_preprocessing=False,
        include_top=case.top,
        weights=None,
        input_shape=(*SIZE, 3),
        pooling=None if case.top else "avg",
        classes=5,
        classifier_activation="linear",
        name=case.name,
    )
    oracles.randomise_keras(model)
    return model


def _torch(case: Case):
    from torch import nn

    convnext = oracles.torchvision().models.convnext
    following = (*WIDTHS[1:], None)
    blocks = [
        convnext.CNBlockConfig(width, wider, depth)
        for width, wider, depth in zip(WIDTHS, following, DEPTHS, strict=True)
    ]
    module = convnext.ConvNeXt(blocks, num_classes=5)
    if not case.top:
        module.classifier[2] = nn.Identity()
    return module


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_outputs_agree_and_weights_come_back_bit_for_bit(case):
    import torch

    model, module = _keras(case), _torch(case)
    plan = converter.plan(model, like=module)
    assert plan.plan.mapping == "convnext"
    module.load_state_dict(plan.state_dict(), strict=True)

    images = np.random.default_rng(1).normal(size=(3, *SIZE, 3)).astype("float32")
    wanted = oracles.run_keras(model, images)
    inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    found, floor = oracles.noise_floor(module, inputs)
    assert oracles.relative_error(found, wanted) < 30 * floor

    back = converter.plan(module, like=model).get_weights()
    for one, other in zip(model.get_weights(), back, strict=True):
        assert one.tobytes() == other.tobytes()
