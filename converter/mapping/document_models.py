"""Read what a mapping file says about building and comparing both models.

Full-size variants (``sources``, ``presets``), small models that prove the mapping (``proofs``), and
what goes into both models and comes out of them.
"""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass
from typing import Any

from converter.mapping.rules import ModelValue, ProofCase, Source
from converter.mapping.schema import Schema

Sources = dict[str, dict[str, Source]]

_DTYPES = ("float32", "int32", "int64", "bool")


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a mapping file; see the attributes of :class:`Mapping`."""

    sources: Sources
    presets: Sources
    inputs: tuple[ModelValue, ...]
    outputs: tuple[ModelValue, ...]
    proofs: dict[str, ProofCase]


def read_models(schema: Schema, document: Dict[str, Any]) -> Models:
    """Read the models of a mapping file, noting problems in ``schema``."""
    return Models(
        _variants(schema, document, "sources"),
        _variants(schema, document, "presets"),
        _values(schema, document.get("inputs", []), "inputs"),
        _values(schema, document.get("outputs", []), "outputs"),
        {
            name: _proof(schema, entry, f"proofs.{name}")
            for name, entry in schema.table(document.get("proofs", {}), "proofs").items()
        },
    )


def _variants(schema: Schema, document: Dict[str, Any], key: str) -> Sources:
    found: Sources = {}
    for variant, entry in schema.table(document.get(key, {}), key).items():
        where = f"{key}.{variant}"
        sides = schema.table(entry, where, ("keras", "torch"))
        found[variant] = {
            side: _source(schema, value, f"{where}.{side}") for side, value in sides.items()
        }
    return found


def _proof(schema: Schema, entry: Any, where: str) -> ProofCase:
    keys = ("keras", "torch", "inputs", "outputs", "own", "own_dtype", "deviates")
    table = schema.table(entry, where, keys)
    for side in ("keras", "torch"):
        if side not in table:
            schema.note(where, f"has no '{side}'")
    return ProofCase(
        keras=_source(schema, table.get("keras", "a:b"), f"{where}.keras"),
        torch=_source(schema, table.get("torch", "a:b"), f"{where}.torch"),
        inputs=_values(schema, table.get("inputs", []), f"{where}.inputs"),
        outputs=_values(schema, table.get("outputs", []), f"{where}.outputs"),
        own=schema.optional(table, "own", where) or "",
        own_dtype=_rounding(schema, table, where),
        deviates=schema.optional(table, "deviates", where) or "",
    )


def _rounding(schema: Schema, table: Dict[str, Any], where: str) -> str:
    if "own_dtype" not in table:
        return ""
    return schema.choice(table["own_dtype"], f"{where}.own_dtype", ("float16", "bfloat16"))


def _source(schema: Schema, value: Any, where: str) -> Source:
    """Read a factory: its text alone, or a table that adds arguments."""
    if isinstance(value, str):
        factory, arguments, replace = schema.text(value, where), {}, {}
    else:
        table = schema.table(value, where, ("factory", "arguments", "replace"))
        factory = schema.required(table, "factory", where)
        arguments = schema.table(table.get("arguments", {}), f"{where}.arguments")
        replace = {
            name: _source(schema, entry, f"{where}.replace.{name}")
            for name, entry in schema.table(table.get("replace", {}), f"{where}.replace").items()
        }
    if factory and ":" not in factory:
        schema.note(where, f"'{factory}' is not of the form 'package.module:function'")
    return Source(factory, arguments, replace)


def _values(schema: Schema, value: Any, where: str) -> tuple[ModelValue, ...]:
    keys = ["keras", "torch", "axes"]
    keys += ["where"] if where.endswith("outputs") else ["shape", "range", "dtype", "before"]
    return tuple(
        _value(schema, schema.table(entry, f"{where}[{index}]", keys), f"{where}[{index}]")
        for index, entry in enumerate(schema.items(value, where))
    )


def _value(schema: Schema, table: Dict[str, Any], place: str) -> ModelValue:
    sizes = schema.items(table.get("shape", []), f"{place}.shape")
    shape = tuple(
        schema.integer(size, f"{place}.shape[{axis}]", least=1) for axis, size in enumerate(sizes)
    )
    low, high = None, None
    if "range" in table:
        low, high = _range(schema, table["range"], f"{place}.range")
    return ModelValue(
        keras=schema.optional(table, "keras", place) or "",
        torch=schema.optional(table, "torch", place) or "",
        axes=schema.optional(table, "axes", place),
        shape=shape,
        low=low,
        high=high,
        dtype=schema.choice(table.get("dtype", "float32"), f"{place}.dtype", _DTYPES),
        before=schema.optional(table, "before", place) or "",
        where=schema.optional(table, "where", place) or "",
    )


def _range(schema: Schema, value: Any, where: str) -> tuple[float, float]:
    numbers = [schema.number(entry, where) for entry in schema.items(value, where)]
    if len(numbers) != 2 or not numbers[0] <= numbers[1]:
        schema.note(where, "must be [low, high]")
        return 0.0, 1.0
    return numbers[0], numbers[1]
