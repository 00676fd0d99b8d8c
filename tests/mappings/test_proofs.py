"""Every mapping is run: small models of both sides, and full-size ones by name and shape.

The cases are data of the mapping files. What the table says is what a run said: each run is
compared with the record beside the mapping, and ``scripts/prove.py`` writes the record anew from
these same runs.
"""

from __future__ import annotations

import os

import oracles
import pytest

from converter.mapping import library
from converter.mapping.proofs import MOST_FLOORS, read_proof
from converter.proving import record
from converter.proving.prove import prove_case, prove_variant

IS_RECORDING = os.environ.get("WEIGHTFERRY_PROOFS") == "write"
# Their wheels are part of the default environment.
_DEFAULT = {"torchvision"}
_LONG = {"nasnet_mobile"}  # 771 layers


def _marks(models, *, quick: bool) -> list[pytest.MarkDecorator]:
    is_default = quick and set(oracles.needed_by(models)) <= _DEFAULT
    return [pytest.mark.frameworks, *([] if is_default else [pytest.mark.oracles])]


def _cases():
    for name in library.names():
        for case, models in library.get(name).proofs.items():
            marks = _marks(models, quick=name not in _LONG)
            yield pytest.param(name, case, id=f"{name}:{case}", marks=marks)


def _variants():
    for name in library.names():
        for variant, sides in library.get(name).variants.items():
            marks = _marks(sides, quick=False)
            yield pytest.param(name, variant, id=f"{name}:{variant}", marks=marks)


def _recorded(name: str):
    found = read_proof(library.get(name))
    assert found is not None, "run scripts/prove.py"
    return found


@pytest.mark.parametrize(("name", "case"), list(_cases()))
def test_outputs_agree_and_the_record_says_what_the_run_says(name, case):
    mapping = library.get(name)
    oracles.prepare(mapping.proofs[case])
    found = prove_case(mapping, case)
    if IS_RECORDING:
        record.add(mapping, cases={case: found})
    said = _recorded(name).cases[case]
    for key in ("law", "tensors", "outputs", "own", "deviates"):
        assert getattr(said, key) == getattr(found, key), key
    assert (found.floors <= MOST_FLOORS) is (not found.deviates)
    assert (said.floors <= MOST_FLOORS) is (not said.deviates)
    assert set(said.versions) == set(found.versions)


@pytest.mark.parametrize(("name", "variant"), list(_variants()))
def test_full_size_names_and_shapes_pair_both_ways(name, variant):
    mapping = library.get(name)
    oracles.prepare(mapping.variants[variant])
    found = prove_variant(mapping, variant)
    if IS_RECORDING:
        record.add(mapping, variants={variant: found})
    assert _recorded(name).variants[variant] == found
