"""VGG: Keras and torchvision give the same outputs, the flattened image's rows in their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import oracles
import pytest

import converter
from converter.live.factory import build

pytestmark = pytest.mark.frameworks

# Pairwise different, and none of them VGG's own: the mapping must not know them.
WIDTHS = {64: 6, 128: 9, 256: 11, 512: 13}
UNITS = {"fc1": 10, "fc2": 8, "predictions": 5}
SIZE = (64, 96)


@dataclass(frozen=True)
class Case:
    id: str
    factory: str
    plan: str
    top: bool = True


CASES = [
    Case("16", "VGG16", "D"),
    Case("19", "VGG19", "E"),
    Case("16 without the classifier", "VGG16", "D", top=False),
    Case("19 without the classifier", "VGG19", "E", top=False),
]


def _keras(case: Case):
    """Build a narrow copy of the model, layer names and graph unchanged."""
    import keras

    arguments = {"include_top": case.top, "input_shape": (*SIZE, 3), "classes": 5}
    big = build(f"keras.applications:{case.factory}", arguments, meta=True)
    config = big.get_config()
    for layer in config["layers"]:
        inner = layer["config"]
        if layer["class_name"] == "Conv2D":
            inner["filters"] = WIDTHS[inner["filters"]]
        if layer["class_name"] == "Dense":
            inner["units"] = UNITS[inner["name"]]
        if inner["name"] == "predictions":
            inner["activation"] = "linear"
        layer.pop("build_config", None)
    model = keras.Model.from_config(config)
    oracles.randomise_keras(model)
    return model


def _torch(case: Case):
    from torch import nn

    vgg = oracles.torchvision().models.vgg
    plan = [one if one == "M" else WIDTHS[one] for one in vgg.cfgs[case.plan]]
    module = vgg.VGG(vgg.make_layers(plan), num_classes=5, init_weights=False)
    module.avgpool = nn.Identity()
    if not case.top:
        return module.features
    features = WIDTHS[512] * (SIZE[0] // 32) * (SIZE[1] // 32)
    module.classifier[0] = nn.Linear(features, UNITS["fc1"])
    module.classifier[3] = nn.Linear(UNITS["fc1"], UNITS["fc2"])
    module.classifier[6] = nn.Linear(UNITS["fc2"], UNITS["predictions"])
    return module


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_outputs_agree_and_weights_come_back_bit_for_bit(case):
    import torch

    model, module = _keras(case), _torch(case)
    plan = converter.plan(model)
    assert plan.plan.mapping == "vgg"
    weights = plan.state_dict()
    if not case.top:
        weights = {name.removeprefix("features."): one for name, one in weights.items()}
    module.load_state_dict(weights, strict=True)

    images = np.random.default_rng(1).normal(size=(3, *SIZE, 3)).astype("float32")
    wanted = oracles.run_keras(model, images)
    inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    found, floor = oracles.noise_floor(module, inputs)
    if not case.top:
        found = found.transpose(0, 2, 3, 1)
    assert oracles.relative_error(found, wanted) < 30 * floor

    back = converter.plan(plan.state_dict(), like=model).get_weights()
    for one, other in zip(model.get_weights(), back, strict=True):
        assert one.tobytes() == other.tobytes()


def test_rows_in_the_order_of_keras_would_be_seen():
    """The negative control: without the order of the flattened image the outputs differ."""
    import torch

    case = CASES[0]
    model, module = _keras(case), _torch(case)
    weights = converter.plan(model).state_dict()
    kernel = np.ascontiguousarray(model.get_layer("fc1").get_weights()[0].T)
    weights["classifier.0.weight"] = torch.from_numpy(kernel)
    module.load_state_dict(weights, strict=True)
    images = np.random.default_rng(1).normal(size=(3, *SIZE, 3)).astype("float32")
    inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    found, _ = oracles.noise_floor(module, inputs)
    assert oracles.relative_error(found, oracles.run_keras(model, images)) > 0.1
