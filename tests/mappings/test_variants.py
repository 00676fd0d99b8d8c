"""Every variant that a mapping names: the full-size models of both sides pair without a remainder.

Built on the meta device, so nothing is allocated; names and shapes are all that is compared.
"""

from __future__ import annotations

import oracles
import pytest

import converter
from converter.live.factory import build
from converter.mapping import library
from converter.mapping.identify import identify

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles]

VARIANTS = [
    (name, variant)
    for name in library.names()
    for variant, sides in library.get(name).sources.items()
    if len(sides) == 2
]

ORACLES = {
    "bert": (oracles.keras_hub, oracles.transformers),
    "convnext": (oracles.torchvision,),
    "densenet": (oracles.torchvision,),
    "vgg": (oracles.torchvision,),
}


def test_there_are_variants():
    assert len(VARIANTS) >= 9


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_both_sides_pair_in_both_directions(name, variant):
    for oracle in ORACLES[name]:
        oracle()
    sides = library.get(name).sources[variant]
    keras, torch = (
        converter.open(build(sides[side].factory, sides[side].arguments, meta=True))
        for side in ("keras", "torch")
    )
    assert identify(keras.manifest).name == name
    assert identify(torch.manifest).name == name
    there = converter.plan(keras, like=torch, require="exact").plan
    assert there.mapping == name
    assert [one.name for one in there.target] == [one.name for one in torch.manifest]
    back = converter.plan(torch, like=keras, require="exact").plan
    assert [one.name for one in back.target] == [one.name for one in keras.manifest]


def test_convnext_xlarge_has_no_twin_in_torchvision_but_pairs_by_name():
    keras = converter.open(
        build("keras.applications:ConvNeXtXLarge", {"include_preprocessing": False}, meta=True)
    )
    plan = converter.plan(keras, require="exact").plan
    assert plan.mapping == "convnext"
    assert plan.target["features.7.2.block.5.weight"].shape == (2048, 8192)
