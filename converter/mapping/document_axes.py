"""Axes of tensors that a mapping file names, ``TENSOR[AXIS]``, and the tables that they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from converter.mapping.rules import Measure
from converter.mapping.schema import Schema
from converter.mapping.template import Side, Template

_AXES = tuple("01234567")
_SIDES: tuple[Side, Side] = ("keras", "torch")
Read = Callable[[str, str, Side], Template | None]


def read_axis(
    schema: Schema, text: object, where: str, *, many: bool = False
) -> tuple[str, int] | None:
    """Read ``TENSOR[AXIS]``.

    Args:
        schema: Takes the problems.
        text: What stands there; anything but a text is no axis.
        where: Its place.
        many: Whether a placeholder may be in the tensor's name.
    """
    if not isinstance(text, str):
        return None
    name, _, axis = text.removesuffix("]").rpartition("[")
    is_open = "{" in name and not many
    if not text.endswith("]") or not name or axis not in _AXES or is_open:
        schema.note(where, f"'{text}' is not of the form TENSOR[AXIS]")
        return None
    return name, int(axis)


def read_measured(
    schema: Schema, top: dict[str, Any], tables: Mapping[str, object], template: Read
) -> dict[str, Measure]:
    """Read ``measured``: tables of which a checkpoint shows the members.

    Args:
        schema: Takes the problems.
        top: The document.
        tables: The tables of the other sort.
        template: Reads a template, given its place and side.
    """
    measured: dict[str, Measure] = {}
    for name, value in schema.table(top.get("measured", {}), "measured").items():
        where = f"measured.{name}"
        table = schema.table(value, where, _SIDES)
        texts = [schema.required(table, side, where) for side in _SIDES]
        keras, torch = (read_axis(schema, text, where, many=True) for text in texts)
        numbers = set()
        for side, place in zip(_SIDES, (keras, torch), strict=True):
            read = template(place[0], where, side) if place is not None else None
            numbers.add(read.placeholders if read is not None else frozenset[str]())
        common = numbers.pop()
        if numbers or len(common) != 1 or common & tables.keys():
            schema.note(where, "both sides must have the same one number in their names")
        if name in tables:
            schema.note(where, "is a table already")
        measured[name] = Measure(keras, torch)
    return measured
