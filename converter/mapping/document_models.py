"""Read what a mapping file says about building and comparing both models: sources and values."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from typing import Any

from converter.mapping.rules import ModelValue, Source
from converter.mapping.schema import Schema

Sources = dict[str, dict[str, Source]]

_DTYPES = ("float32", "int32", "int64", "bool")


def read_models(
    schema: Schema, document: Dict[str, Any]
) -> tuple[Sources, tuple[ModelValue, ...], tuple[ModelValue, ...]]:
    """Read ``sources``, ``inputs`` and ``outputs``, noting problems in ``schema``."""
    sources: Sources = {}
    for variant, entry in schema.table(document.get("sources", {}), "sources").items():
        where = f"sources.{variant}"
        sides = schema.table(entry, where, ("keras", "torch"))
        sources[variant] = {
            side: _source(schema, value, f"{where}.{side}") for side, value in sides.items()
        }
    inputs = _values(schema, document.get("inputs", []), "inputs")
    outputs = _values(schema, document.get("outputs", []), "outputs")
    return sources, inputs, outputs


def _source(schema: Schema, value: Any, where: str) -> Source:
    """Read a factory: its text alone, or a table that adds arguments."""
    if isinstance(value, str):
        factory, arguments = schema.text(value, where), {}
    else:
        table = schema.table(value, where, ("factory", "arguments"))
        factory = schema.required(table, "factory", where)
        arguments = schema.table(table.get("arguments", {}), f"{where}.arguments")
    if factory and ":" not in factory:
        schema.note(where, f"'{factory}' is not of the form 'package.module:function'")
    return Source(factory, arguments)


def _values(schema: Schema, value: Any, where: str) -> tuple[ModelValue, ...]:
    keys = ["keras", "torch", "axes"]
    if where == "inputs":
        keys += ["shape", "range", "dtype"]
    found = []
    for index, entry in enumerate(schema.items(value, where)):
        place = f"{where}[{index}]"
        table = schema.table(entry, place, keys)
        sizes = schema.items(table.get("shape", []), f"{place}.shape")
        shape = tuple(
            schema.integer(size, f"{place}.shape[{axis}]", least=1)
            for axis, size in enumerate(sizes)
        )
        low, high = _range(schema, table.get("range", [0.0, 1.0]), f"{place}.range")
        found.append(
            ModelValue(
                keras=schema.optional(table, "keras", place) or "",
                torch=schema.optional(table, "torch", place) or "",
                axes=schema.optional(table, "axes", place),
                shape=shape,
                low=low,
                high=high,
                dtype=schema.choice(table.get("dtype", "float32"), f"{place}.dtype", _DTYPES),
            )
        )
    return tuple(found)


def _range(schema: Schema, value: Any, where: str) -> tuple[float, float]:
    numbers = [schema.number(entry, where) for entry in schema.items(value, where)]
    if len(numbers) != 2 or not numbers[0] <= numbers[1]:
        schema.note(where, "must be [low, high]")
        return 0.0, 1.0
    return numbers[0], numbers[1]
