"""Automatic layer names: a model that is made second in a process maps as the first one does."""

from __future__ import annotations

import pytest

import converter
from converter.live.factory import build

pytestmark = [pytest.mark.frameworks, pytest.mark.long]


@pytest.mark.parametrize(
    ("factory", "mapping", "first"),
    [
        ("keras.applications:Xception", "xception", "block1.skip.weight"),
        ("keras.applications:InceptionV3", "inception_v3", "Conv2d_1a_3x3.conv.weight"),
    ],
)
def test_the_second_model_of_a_process_maps_as_the_first(factory, mapping, first):
    models = [build(factory, {"classes": 7}, family="keras", meta=True) for _ in range(2)]
    names = [[layer.name for layer in model.layers if "conv2d" in layer.name] for model in models]
    assert names[0] != names[1]
    plans = [converter.plan(converter.open(model)).plan for model in models]
    assert [plan.mapping for plan in plans] == [mapping, mapping]
    routes = [[(step.sources, step.targets) for step in plan.steps] for plan in plans]
    assert routes[0] == routes[1]
    assert (("conv2d/kernel",), (first,)) in routes[0]
