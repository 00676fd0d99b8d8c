"""Layers of Keras that are two modules of PyTorch: a separable convolution, an embedding not tied.

Which tensors of a layer make a module of their own is what the kinds of the catalogue say: two of
them that serve the layer and have all its slots between them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import combinations

from converter.drafting.candidates import needed_slots, serves
from converter.drafting.units import Unit, Units
from converter.mapping.rules import Kind


def with_splits(units: Units, kinds: Sequence[Kind], known: Collection[str]) -> Units:
    """Return units in which a layer that can be two modules has two parts.

    Args:
        units: Both sides.
        kinds: Every layer kind that may be used.
        known: Keras classes that the catalogue knows.
    """
    keras = tuple(_with_parts(unit, kinds, known) for unit in units.keras)
    return replace(units, keras=keras)


def _with_parts(unit: Unit, kinds: Sequence[Kind], known: Collection[str]) -> Unit:
    if unit.parts:
        return replace(unit, parts=tuple(_with_parts(part, kinds, known) for part in unit.parts))
    halves = dict.fromkeys(
        own
        for kind in kinds
        if kind.keras and serves(kind, unit, known) and needed_slots(kind) <= unit.tensors.keys()
        if (own := _own(kind, unit)) and len(own) < len(unit.tensors)
    )
    for one, two in combinations(halves, 2):
        if len(one) + len(two) == len(unit.tensors) and not set(one) & set(two):
            return replace(unit, parts=(_part(unit, one), _part(unit, two)))
    return unit


def _own(kind: Kind, unit: Unit) -> tuple[str, ...]:
    """Return those slots of a unit that a kind takes."""
    taken = {name for slot in kind.slots for name in slot.keras}
    return tuple(slot for slot in unit.tensors if slot in taken)


def _part(unit: Unit, slots: tuple[str, ...]) -> Unit:
    tensors = {slot: unit.tensors[slot] for slot in slots}
    return Unit(unit.layer, tensors, unit.rank, part=slots[0].removesuffix("_kernel"))
