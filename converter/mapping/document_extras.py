"""Read what a mapping file says besides its rules: drops, ties, and what equal outputs require."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Dict
from typing import Any

from converter.mapping.rules import Drop, Requirement, Tie
from converter.mapping.schema import Schema
from converter.mapping.template import Side, Template

_SIDES: tuple[Side, Side] = ("keras", "torch")


class ExtrasReader:
    """Reads these parts of one document.

    Attributes:
        schema: Where problems are noted.
        document: The document.
        template: Reads a template of a side, noting a problem at a place where it is none.
    """

    def __init__(
        self,
        schema: Schema,
        document: Dict[str, Any],
        template: Callable[[str, str, Side], Template | None],
    ) -> None:
        self.schema = schema
        self.document = document
        self.template = template

    def drops(self) -> tuple[Drop, ...]:
        """Read ``drop``."""
        drops = []
        for index, entry in enumerate(self._entries("drop")):
            where = f"drop[{index}]"
            table = self.schema.table(entry, where, ("keras", "torch", "why"))
            side, name = self._one_side(table, where)
            drops.append(Drop(side, name, self.schema.required(table, "why", where)))
        return tuple(drops)

    def ties(self) -> tuple[Tie, ...]:
        """Read ``ties``."""
        ties = []
        for index, entry in enumerate(self._entries("ties")):
            where = f"ties[{index}]"
            table = self.schema.table(entry, where, ("torch", "of", "write"))
            torch = self.schema.required(table, "torch", where)
            of = self.schema.required(table, "of", where)
            further = self.template(torch, f"{where}.torch", "torch")
            first = self.template(of, f"{where}.of", "torch")
            if further and first and further.placeholders != first.placeholders:
                self.schema.note(where, "'torch' and 'of' have different placeholders")
            write = self.schema.choice(
                table.get("write", "omit"), f"{where}.write", ("omit", "copy")
            )
            ties.append(Tie(torch, of, "copy" if write == "copy" else "omit"))
        return tuple(ties)

    def spellings(self) -> dict[str, str]:
        """Read ``spellings``."""
        spellings: dict[str, str] = {}
        table = self.schema.table(self.document.get("spellings", {}), "spellings")
        for old, new in table.items():
            where = f"spellings.{old}"
            spellings[old] = self.schema.text(new, where)
            other = self.template(old, where, "keras")
            written = self.template(spellings[old], where, "torch")
            if other and written and other.placeholders != written.placeholders:
                self.schema.note(where, "the two have different placeholders")
        return spellings

    def automatic(self) -> tuple[str, ...]:
        """Read ``automatic``."""
        names = []
        for index, entry in enumerate(self._entries("automatic")):
            where = f"automatic[{index}]"
            name = self.schema.text(entry, where)
            if "/" in name or name.rpartition("_")[2].isdecimal():
                self.schema.note(where, "must be the name of one layer, without its number")
            names.append(name)
        return tuple(names)

    def requirements(self) -> tuple[Requirement, ...]:
        """Read ``requires``."""
        keys = ("keras", "torch", "kind", "attribute", "equals", "exists", "why")
        found = []
        for index, entry in enumerate(self._entries("requires")):
            where = f"requires[{index}]"
            table = self.schema.table(entry, where, keys)
            why = self.schema.required(table, "why", where)
            kind = self.schema.required(table, "kind", where) if "kind" in table else None
            if kind is None:
                side, name = self._one_side(table, where, whole=True)
            else:
                side, name = self._side_of_kind(table, where, kind), ""
            if table.get("exists") is False and kind is None:
                found.append(Requirement(side, name, "", None, why, is_absent=True))
                continue
            attribute = self.schema.required(table, "attribute", where)
            if "equals" not in table:
                self.schema.note(where, "has no 'equals'")
            found.append(Requirement(side, name, attribute, table.get("equals"), why, kind=kind))
        return tuple(found)

    def _entries(self, key: str) -> list[Any]:
        return self.schema.items(self.document.get(key, []), key)

    def _one_side(
        self, table: dict[str, Any], where: str, *, whole: bool = False
    ) -> tuple[Side, str]:
        """Return the one side that an entry is about, and the name; empty for the ``whole``."""
        if ("keras" in table) == ("torch" in table):
            self.schema.note(where, "needs exactly one of 'keras' and 'torch'")
            return "keras", ""
        side: Side = "keras" if "keras" in table else "torch"
        name = self.schema.text(table[side], f"{where}.{side}", empty=whole)
        self.template(name, f"{where}.{side}", side)
        return side, name

    def _side_of_kind(self, table: dict[str, Any], where: str, kind: str) -> Side:
        """Return the side whose layers or modules of a kind are meant: ``torch = true``."""
        sides = [side for side in _SIDES if table.get(side) is True]
        if len(sides) != 1 or sum(side in table for side in _SIDES) != 1:
            self.schema.note(where, "needs 'keras = true' or 'torch = true' beside 'kind'")
            return "keras"
        rules = self.document.get("rules", [])
        kinds = {row[0] for row in rules if isinstance(row, list) and row} if rules else set()
        if kind not in kinds:
            self.schema.note(f"{where}.kind", f"no rule is of the kind '{kind}'")
        return sides[0]
