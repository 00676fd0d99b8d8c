"""Tables whose members a checkpoint shows: layers that Keras names after the width of a stage.

Segformer of keras_hub calls the layer of the third stage ``linear_160``, and PyTorch counts. What
stage has which width is read off the shapes, so one rule serves every size of the family.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as Dict
from dataclasses import dataclass, replace

from converter.mapping.rules import Mapping
from converter.mapping.template import Side, Template
from converter.tensors.manifest import Manifest

_NUMBER = re.compile("[0-9]+")
UNKNOWN = {"0": "0"}  # the members of such a table as long as no checkpoint is there


@dataclass(frozen=True, slots=True)
class Seen:
    """One side, as far as it is there.

    Attributes:
        side: Which of the two it is.
        manifest: What it has, or ``None``.
        names: Canonical tensor name to the name in the manifest.
    """

    side: Side
    manifest: Manifest | None
    names: Dict[str, str]


def with_measured(mapping: Mapping, sides: tuple[Seen, Seen]) -> Mapping:
    """Return a mapping with the tables that shapes show; the same one where it has none.

    Args:
        mapping: A mapping.
        sides: Both sides. Where they contradict each other, the first counts, and the tensors of
            the other do not fit.
    """
    if not mapping.measured:
        return mapping
    tables = dict(mapping.tables)
    for name in mapping.measured:
        members: dict[str, str] = {}
        for size, number in (one for seen in sides for one in _members(mapping, name, seen)):
            if size not in members and number not in members.values():
                members[size] = number
        tables[name] = members or UNKNOWN
    return replace(mapping, tables=tables)


def with_open(mapping: Mapping, name: str) -> Mapping:
    """Return a mapping whose measured tables fit a name without any checkpoint.

    What the number in it is on the other side cannot be known, so it stays ``{width}`` there.
    """
    numbers = set(_NUMBER.findall(name))
    if not mapping.measured or len(numbers) != 1:
        return mapping
    (number,) = numbers
    members = {one: {number: f"{{{one}}}", f"{{{one}}}": number} for one in mapping.measured}
    return replace(mapping, tables={**mapping.tables, **members})


def _members(mapping: Mapping, table: str, seen: Seen) -> Iterator[tuple[str, str]]:
    """Yield each size that tensors of one side have along the axis, and the number in its name."""
    measure = mapping.measured[table]
    place = measure.keras if seen.side == "keras" else measure.torch
    if seen.manifest is None or place is None:
        return
    text, axis = place
    template = Template.parse(text, mapping.tables, seen.side)
    for canonical, name in seen.names.items():
        bindings = template.match(canonical)
        spec = seen.manifest.tensors.get(name)
        if bindings is None or spec is None or axis >= len(spec.shape):
            continue
        (number,) = bindings.values()
        yield str(spec.shape[axis]), str(number)
