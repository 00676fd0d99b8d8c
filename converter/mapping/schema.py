"""Read values out of a parsed document strictly, and collect everything that is wrong with it.

Each method takes a value and its place (``rules[3]``, ``tables.proj``), returns what it should be
or a neutral value, and notes a problem otherwise; so one pass over a file finds all its problems.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from converter.errors import Problem

# Names go into messages and into other files: a person could not type anything longer.
MAX_TEXT = 1000

_LARGEST = 2**63

_TYPE_NAMES: tuple[tuple[type, str], ...] = (
    (dict, "a table"),
    (list, "a list"),
    (str, "a text"),
    (bool, "true or false"),
    (int, "an integer"),
    (float, "a number"),
)


def near(name: str, known: Iterable[str]) -> str:
    """Return a suggestion to append to a message, or an empty text when nothing is close.

    Examples:
        >>> near("kears", ["keras", "torch"])
        "; near: 'keras'"
        >>> near("x", ["keras"])
        ''
    """
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; near: '{found[0]}'" if found else ""


def type_name(value: object) -> str:
    """Return what a TOML value is, as a person would say it.

    Examples:
        >>> type_name([1])
        'a list'
    """
    return next((text for kind, text in _TYPE_NAMES if type(value) is kind), "a date or time")


class Schema:
    """The problems found so far, and strict readers that add to them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def note(self, where: str, text: str, *, hint: str | None = None) -> None:
        """Add a problem."""
        self.problems.append(Problem("invalid", where, text, hint=hint))

    def table(self, value: Any, where: str, keys: Iterable[str] | None = None) -> dict[str, Any]:
        """Return a table; every key that is not among ``keys`` is a problem."""
        if not isinstance(value, dict):
            self._wrong(value, where, "a table")
            return {}
        if keys is None:
            return value
        known = list(keys)
        for key in value:
            if key not in known:
                self.note(where, f"unknown key '{_cut(key)}'{near(key, known)}")
        return {key: entry for key, entry in value.items() if key in known}

    def items(self, value: Any, where: str) -> list[Any]:
        """Return a list."""
        if not isinstance(value, list):
            self._wrong(value, where, "a list")
            return []
        return value

    def text(self, value: object, where: str, *, empty: bool = False) -> str:
        """Return a text, which must not be empty unless allowed."""
        if not isinstance(value, str):
            self._wrong(value, where, "a text")
            return ""
        if not value and not empty:
            self.note(where, "is empty")
        if len(value) > MAX_TEXT:
            self.note(where, f"is longer than {MAX_TEXT} characters")
            return ""
        return value

    def optional(self, table: Mapping[str, Any], key: str, where: str) -> str | None:
        """Return the text under ``key``, or ``None`` where there is none."""
        return self.text(table[key], _at(where, key)) if key in table else None

    def required(self, table: Mapping[str, Any], key: str, where: str) -> str:
        """Return the text under ``key``; its absence is a problem."""
        if key not in table:
            self.note(where, f"has no '{key}'")
            return ""
        return self.text(table[key], _at(where, key))

    def integer(self, value: object, where: str, *, least: int = 0) -> int:
        """Return an integer of at least ``least``."""
        if not isinstance(value, int) or isinstance(value, bool):
            self._wrong(value, where, "an integer")
            return least
        if not least <= value < _LARGEST:
            self.note(where, f"must be an integer of at least {least}, is {_shown(value)}")
            return least
        return value

    def flag(self, value: object, where: str) -> bool:
        """Return true or false."""
        if not isinstance(value, bool):
            self._wrong(value, where, "true or false")
            return False
        return value

    def number(self, value: object, where: str) -> float:
        """Return a number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._wrong(value, where, "a number")
            return 0.0
        if not abs(value) < _LARGEST:
            self.note(where, "must be a finite number")
            return 0.0
        return float(value)

    def choice(self, value: object, where: str, choices: tuple[str, ...]) -> str:
        """Return one of ``choices``; the first where the value is none of them."""
        text = self.text(value, where)
        if text and text not in choices:
            self.note(where, f"must be one of {_listed(choices)}, is '{_cut(text)}'")
        return text if text in choices else choices[0]

    def _wrong(self, value: object, where: str, expected: str) -> None:
        self.note(where, f"must be {expected}, is {type_name(value)}")


def _at(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _listed(choices: Iterable[str]) -> str:
    return ", ".join(f"'{choice}'" for choice in choices)


def _shown(value: int) -> str:
    return str(value) if abs(value) < _LARGEST else "far too large"


def _cut(text: str) -> str:
    """Return a foreign text as a message may show it."""
    return ascii(text[:200])[1:-1]
