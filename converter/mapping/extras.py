"""What a mapping says besides its rules: tensors without counterpart, and ties."""

from __future__ import annotations

from collections.abc import Mapping as Dict

from converter.mapping.claims import join
from converter.mapping.rule_index import SEPARATORS, owners
from converter.mapping.rules import Mapping, Pairing
from converter.mapping.template import Template, skeleton
from converter.tensors.manifest import Family, Manifest


def expand_drops(
    mapping: Mapping, keras_names: Dict[str, str], torch_names: Dict[str, str]
) -> dict[tuple[Family, str], str]:
    """Return the tensors without counterpart, by side and name in the manifest, with the reason.

    A drop whose name is that of a module or layer is about everything below it.

    Args:
        mapping: The mapping.
        keras_names: Canonical name to the name in the manifest; empty where there is none.
        torch_names: The same for PyTorch.
    """
    dropped: dict[tuple[Family, str], str] = {}
    for drop in mapping.drops:
        template = Template.parse(drop.name, mapping.tables, drop.side)
        shapes = template.skeletons()
        separator = SEPARATORS[drop.side]
        possible: dict[str, bool] = {}
        for canonical, name in (keras_names if drop.side == "keras" else torch_names).items():
            shape = skeleton(canonical)
            if shape not in possible:
                possible[shape] = shapes is None or not shapes.isdisjoint(owners(shape, separator))
            if possible[shape] and any(
                template.match(place) is not None for place in owners(canonical, separator)
            ):
                dropped[drop.side, name] = drop.why
    return dropped


def expand_ties(
    mapping: Mapping,
    pairings: tuple[Pairing, ...],
    torch: Manifest | None,
    torch_names: Dict[str, str],
) -> dict[str, str]:
    """Return further PyTorch name to the name that the rules write.

    Where the PyTorch side is known, a tie counts when the further name is there; where it is still
    to be made, when the mapping says that copies are written.
    """
    ties: dict[str, str] = {}
    made: list[str] = []
    if torch is None and mapping.ties:
        made = [
            join(pairing.module, part, ".")
            for pairing in pairings
            for slot in pairing.kind.slots
            for part in slot.torch
        ]
    for tie in mapping.ties:
        further = Template.parse(tie.torch, mapping.tables, "torch")
        first = Template.parse(tie.of, mapping.tables, "torch")
        if torch is not None:
            for canonical, name in torch_names.items():
                bindings = further.match(canonical)
                other = first.fill(bindings) if bindings is not None else None
                if other is not None:
                    ties[name] = torch_names.get(other, other)
        elif tie.write == "copy":
            for canonical in made:
                bindings = first.match(canonical)
                other = further.fill(bindings) if bindings is not None else None
                if other is not None:
                    ties[other] = canonical
    return ties
