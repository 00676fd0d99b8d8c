"""Claims: which tensors a pairing takes, when a layer's class is unknown too."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from converter.mapping.catalogue import load_catalogue
from converter.mapping.claims import claimed
from converter.mapping.rules import Pairing, Rule
from converter.tensors.dtype import get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import LayerSpec, TensorSpec

KINDS = load_catalogue().kinds


def _claimed(kind, slots, class_name=None):
    """Return what a pairing of this kind takes of a layer with these variables."""
    names = {slot: f"x/{slot}" for slot in slots}
    specs = [TensorSpec(name, (3,), get_dtype("float32")) for name in names.values()]
    manifest = Manifest.of(specs, family="keras", layers=[LayerSpec("x", class_name, names)])
    pairing = Pairing(Rule(kind, "x", "y"), KINDS[kind], "x", "y")
    found = claimed(pairing, manifest, "keras")
    return {
        part: name
        for slot, parts in zip(KINDS[kind].slots, found, strict=True)
        for part, name in zip(slot.keras, parts, strict=True)
    }


@dataclass(frozen=True)
class Case:
    id: str
    kind: str
    slots: tuple[str, ...]
    claims: dict[str, str | None]


CASES = [
    Case("by name", "dense", ("bias", "kernel"), {"kernel": "x/kernel", "bias": "x/bias"}),
    Case("no bias", "dense", ("kernel",), {"kernel": "x/kernel", "bias": None}),
    Case("by position", "dense", ("0", "1"), {"kernel": "x/0", "bias": "x/1"}),
    Case("the only position", "dense", ("0",), {"kernel": "x/0", "bias": None}),
    Case(
        "numbers are sorted as numbers",
        "batch_norm",
        ("3", "2", "1", "0"),
        {"gamma": "x/0", "beta": "x/1", "moving_mean": "x/2", "moving_variance": "x/3"},
    ),
    Case(
        "three of four could be either",
        "batch_norm",
        ("0", "1", "2"),
        dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance")),
    ),
    Case("unnamed variables of Keras", "layer_scale", ("variable_7",), {"gamma": "x/variable_7"}),
    Case("telling names are believed", "dense", ("gamma", "beta"), {"kernel": None, "bias": None}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_keras(case):
    assert _claimed(case.kind, case.slots) == case.claims


def test_layers_inside_have_their_variables_by_position_too():
    """A weights file of GPT-2: its attention has no variables, the projections in it have two."""
    names = [f"x/{part}/vars/{at}" for part in ("key", "query", "value") for at in (1, 0)]
    layers = [LayerSpec("x", None, {})]
    for part in ("key", "query", "value"):
        places = {str(at): f"x/{part}/vars/{at}" for at in (1, 0)}
        layers.append(LayerSpec(f"x/{part}", None, places))
    specs = [TensorSpec(name, (3,), get_dtype("float32")) for name in names]
    pairing = Pairing(Rule("k", "x", "y"), KINDS["attention_packed_in_out"], "x", "y")
    found = claimed(pairing, Manifest.of(specs, family="keras", layers=layers), "keras")
    assert found == (
        ("x/query/vars/0", "x/key/vars/0", "x/value/vars/0"),
        ("x/query/vars/1", "x/key/vars/1", "x/value/vars/1"),
    )
