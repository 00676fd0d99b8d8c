"""Read ``[[configs]]`` of a mapping file: entries of both sides' configurations, row by row."""

from __future__ import annotations

from collections.abc import Callable, Collection
from collections.abc import Mapping as Dict
from typing import Any

from converter.mapping.config_tables import Accepted, ConfigRow, ConfigTable
from converter.mapping.schema import Schema, near

_KEYS = (
    *("keras", "torch", "model_type", "tasks", "prefix", "apart", "rows"),
    *("keras_only", "torch_only", "expected", "cycles"),
    *("keras_unset", "torch_unset", "accepted", "ignored", "unfilled"),
)
_OPTIONS = (
    *("other", "copies", "absent", "like", "axis", "holds"),
    *("null", "equal", "times", "plus"),
)
_MOST = 1 << 20  # nothing is counted from further away
_INSTEAD = ("absent", "like", "axis", "holds")  # of these a row has one at most

ReadAxis = Callable[[str | None, str], tuple[str, int] | None]


def read_configs(
    schema: Schema, document: Dict[str, Any], conditions: Collection[str], read_axis: ReadAxis
) -> tuple[ConfigTable, ...]:
    """Read ``configs``, noting problems in ``schema``.

    Args:
        schema: Where problems are noted.
        document: The document.
        conditions: Names of the conditions of the mapping.
        read_axis: Reads ``TENSOR[AXIS]``.
    """
    entries = schema.items(document.get("configs", []), "configs")
    reader = _Reader(schema, conditions, read_axis)
    return tuple(reader.table(entry, f"configs[{at}]") for at, entry in enumerate(entries))


class _Reader:
    def __init__(self, schema: Schema, conditions: Collection[str], read_axis: ReadAxis) -> None:
        self._schema = schema
        self._conditions = conditions
        self._read_axis = read_axis

    def table(self, entry: Any, where: str) -> ConfigTable:
        schema = self._schema
        table = schema.table(entry, where, _KEYS)
        keras = schema.required(table, "keras", where)
        if keras and ":" not in keras:
            schema.note(f"{where}.keras", f"'{keras}' is not of the form 'package.module:Class'")
        rows = schema.items(table.get("rows", []), f"{where}.rows")
        found = ConfigTable(
            keras=keras,
            architecture=schema.required(table, "torch", where),
            model_type=schema.required(table, "model_type", where),
            tasks=self._texts(table, "tasks", where),
            prefix=schema.optional(table, "prefix", where) or "",
            apart=self._texts(table, "apart", where),
            rows=tuple(self._row(row, f"{where}.rows[{at}]") for at, row in enumerate(rows)),
            keras_only=self._values(table, "keras_only", where),
            torch_only=self._values(table, "torch_only", where),
            expected=self._values(table, "expected", where),
            cycles={
                key: tuple(schema.items(value, f"{where}.cycles.{key}"))
                for key, value in self._values(table, "cycles", where).items()
            },
            keras_unset=self._texts(table, "keras_unset", where),
            torch_unset=self._texts(table, "torch_unset", where),
            accepted=self._accepted(table, where),
            ignored=self._texts(table, "ignored", where),
            unfilled={
                name: schema.text(why, f"{where}.unfilled.{name}")
                for name, why in self._values(table, "unfilled", where).items()
            },
        )
        self._check(found, where)
        return found

    def _row(self, row: Any, where: str) -> ConfigRow:
        schema = self._schema
        cells = schema.items(row, where)
        if len(cells) not in (2, 3):
            schema.note(where, "must be [keras, torch] or [keras, torch, {...}]")
            return ConfigRow("", "")
        options = schema.table(cells[2] if len(cells) == 3 else {}, where, _OPTIONS)
        if len([key for key in _INSTEAD if key in options]) > 1:
            schema.note(where, f"has more than one of {', '.join(_INSTEAD)}")
        holds = schema.optional(options, "holds", where) or ""
        condition = holds.removeprefix("not ")
        if holds and condition not in self._conditions:
            known = near(condition, self._conditions)
            schema.note(f"{where}.holds", f"no condition is called '{holds}'{known}")
        absent = options.get("absent")
        if absent is not None and not isinstance(absent, bool | int | float | str):
            schema.note(f"{where}.absent", "must be plain")
        return ConfigRow(
            keras=schema.text(cells[0], f"{where}[0]"),
            torch=schema.text(cells[1], f"{where}[1]"),
            other=self._texts(options, "other", where),
            copies=self._texts(options, "copies", where),
            absent=absent,
            like=schema.optional(options, "like", where) or "",
            axis=self._read_axis(schema.optional(options, "axis", where), f"{where}.axis"),
            holds=holds,
            null=schema.flag(options.get("null", False), f"{where}.null"),
            equal=self._texts(options, "equal", where),
            times=schema.integer(options.get("times", 1), f"{where}.times", least=1),
            plus=schema.integer(options.get("plus", 0), f"{where}.plus", least=-_MOST),
        )

    def _check(self, table: ConfigTable, where: str) -> None:
        """Note entries that the table is about twice."""
        keras = [row.keras for row in table.rows]
        keras += [*table.keras_only, *table.keras_unset, *table.ignored]
        torch = [row.torch for row in table.rows]
        torch += [key for row in table.rows for key in (*row.other, *row.copies, *row.equal)]
        torch += [*table.torch_only, *table.expected, *table.cycles, *table.torch_unset]
        for side, keys in (("Keras", keras), ("PyTorch", torch)):
            for key in dict.fromkeys(key for key in keys if keys.count(key) > 1):
                self._schema.note(where, f"the {side} entry '{key}' is there twice")
        single = {*table.torch_only, *table.expected}
        for key in table.accepted:
            if key not in single:
                known = near(key, single)
                self._schema.note(f"{where}.accepted", f"'{key}' is held to no value{known}")

    def _texts(self, table: Dict[str, Any], key: str, where: str) -> tuple[str, ...]:
        entries = self._schema.items(table.get(key, []), f"{where}.{key}")
        return tuple(
            self._schema.text(one, f"{where}.{key}[{at}]") for at, one in enumerate(entries)
        )

    def _values(self, table: Dict[str, Any], key: str, where: str) -> dict[str, Any]:
        return self._schema.table(table.get(key, {}), f"{where}.{key}")

    def _accepted(self, table: Dict[str, Any], where: str) -> dict[str, Accepted]:
        found = {}
        for key, entry in self._values(table, "accepted", where).items():
            place = f"{where}.accepted.{key}"
            content = self._schema.table(entry, place, ("values", "why"))
            values = self._schema.items(content.get("values", []), f"{place}.values")
            found[key] = Accepted(tuple(values), self._schema.required(content, "why", place))
        return found
