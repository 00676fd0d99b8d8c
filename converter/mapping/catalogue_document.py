"""Read the layer catalogue, ``layers.toml``: strictly, with every problem at once.

The file is data in a compact writing: ``"bias if use_bias"``, rows for slots, several kinds made
from one entry. Here it becomes the plain types that everything else uses, so that a kind always has
all its slots, and every axis pattern has been parsed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from converter.errors import MappingFileError, Problem
from converter.mapping.keras_classes import Child, KerasClass, KerasClasses, Presence
from converter.mapping.kind_entries import Entry, RawKind, make_entries

SCHEMA = 1
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PRESENCE = re.compile(
    r"(?P<name>\w+)(?: (?P<word>if|unless) (?P<key>\w+)(?: is (?P<equals>\w+))?)?"
)


class RawChild(
    msgspec.Struct,
    forbid_unknown_fields=True,
    rename={"class_name": "class", "if_": "if", "else_": "else"},
):
    """A row of ``children``."""

    store: str
    class_name: str = ""
    name: str = ""
    slot: str = ""
    prefix: str = ""
    layer: str = ""
    layers: str = ""
    else_: str = ""
    if_: str = ""


class RawClass(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of ``classes``."""

    variables: list[str] = []
    children: list[RawChild] = []
    aliases: list[str] = []
    same_as: str = ""
    copies: list[str] = []
    config: dict[str, str] = {}
    defaults: dict[str, bool | int | str] = {}
    before: dict[str, bool | int | str] = {}
    renamed: dict[str, str] = {}
    keyed: bool = False


def read_catalogue(path: Path) -> tuple[KerasClasses, dict[str, Entry]]:
    """Read a catalogue file.

    Returns:
        All classes, and all kinds by name in the order of the file.

    Raises:
        MappingFileError: If it cannot be read, is no TOML, or has entries that mean nothing.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _failure(path.name, [Problem("invalid", "", f"cannot be read: {error}")]) from error
    return parse_catalogue(text, path.name)


def parse_catalogue(text: str, name: str = "layers.toml") -> tuple[KerasClasses, dict[str, Entry]]:
    """Read the text of a catalogue.

    Raises:
        MappingFileError: As :func:`read_catalogue`.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _failure(name, [Problem("invalid", "", f"is not TOML: {error}")]) from error
    problems = [
        Problem("invalid", key, "unknown key; known are schema, classes, kinds")
        for key in sorted(document.keys() - {"schema", "classes", "kinds"})
    ]
    if document.get("schema") != SCHEMA:
        problems.append(Problem("invalid", "schema", f"must be {SCHEMA}"))
    classes = _classes(_table(document, "classes", problems), problems)
    kinds = _raw_kinds(_table(document, "kinds", problems), problems)
    entries = make_entries(kinds, classes, problems)
    if problems:
        raise _failure(name, problems)
    return KerasClasses(classes.values()), entries


def _failure(name: str, problems: list[Problem]) -> MappingFileError:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return MappingFileError(f"cannot use {name}: {count}", problems)


def _table(document: Mapping[str, Any], key: str, problems: list[Problem]) -> dict[str, Any]:
    value = document.get(key, {})
    if isinstance(value, dict):
        return value
    problems.append(Problem("invalid", key, "must be a table"))
    return {}


def _raw_kinds(table: Mapping[str, Any], problems: list[Problem]) -> dict[str, RawKind]:
    kinds: dict[str, RawKind] = {}
    for name, value in table.items():
        try:
            kinds[name] = msgspec.convert(value, RawKind)
        except msgspec.ValidationError as error:
            problems.append(Problem("invalid", f"kinds.{name}", str(error)))
    return kinds


def _classes(table: Mapping[str, Any], problems: list[Problem]) -> dict[str, KerasClass]:
    raw: dict[str, RawClass] = {}
    for name, value in table.items():
        try:
            raw[name] = msgspec.convert(value, RawClass)
        except msgspec.ValidationError as error:
            problems.append(Problem("invalid", f"classes.{name}", str(error)))
    classes: dict[str, KerasClass] = {}
    owners: dict[str, str] = {}
    for name, one in raw.items():
        found = _Reader(f"classes.{name}", raw, problems).read(name, one)
        classes[name] = found
        for label in (name, *found.aliases):
            if label in owners:
                problems.append(
                    Problem("conflict", f"classes.{name}", f"'{label}' is also {owners[label]}")
                )
            owners[label] = f"classes.{name}"
    return classes


class _Reader:
    """One entry of ``classes``."""

    def __init__(self, where: str, raw: Mapping[str, RawClass], problems: list[Problem]) -> None:
        self._where = where
        self._raw = raw
        self._problems = problems

    def read(self, name: str, one: RawClass) -> KerasClass:
        aliases = tuple(one.aliases)
        if one.same_as:
            base = self._raw.get(one.same_as)
            if base is None or base.same_as or one.variables or one.children:
                self._bad(f"same_as: '{one.same_as}' is no class with entries of its own")
            one = base or one
        variables = tuple(
            pair for text in one.variables if (pair := self._presence(text)) is not None
        )
        children = tuple(self._child(child) for child in one.children)
        for old, new in one.renamed.items():
            if new not in dict(variables):
                self._bad(f"renamed: '{old}' becomes '{new}', which is no variable")
        return KerasClass(
            name,
            variables,
            children,
            aliases,
            tuple(one.copies),
            dict(one.config),
            dict(one.defaults),
            dict(one.before),
            dict(one.renamed),
            one.keyed,
        )

    def _presence(self, text: str) -> tuple[str, Presence] | None:
        match = _PRESENCE.fullmatch(text)
        if match is None:
            self._bad(
                f"'{text}' is not 'NAME', 'NAME if KEY', 'NAME unless KEY' or "
                "'NAME if KEY is VALUE'"
            )
            return None
        negated = match["word"] == "unless"
        return match["name"], Presence(match["key"], negated, match["equals"])

    def _child(self, raw: RawChild) -> Child:
        given = [label for label in ("class_name", "layer", "layers") if getattr(raw, label)]
        if len(given) != 1:
            self._bad(f"children '{raw.store}': must have one of class, layer and layers")
        if raw.class_name and raw.class_name not in self._raw:
            self._bad(f"children '{raw.store}': no class '{raw.class_name}'")
        if bool(raw.class_name) != bool(raw.name):
            self._bad(f"children '{raw.store}': a fixed class has a name, and no other has")
        presence = Presence()
        if raw.if_:
            presence = (self._presence(f"it if {raw.if_}") or ("", presence))[1]
        return Child(
            raw.class_name,
            raw.layer or raw.layers,
            raw.else_,
            bool(raw.layers),
            raw.name,
            raw.prefix,
            raw.store,
            raw.slot,
            presence,
        )

    def _bad(self, text: str) -> None:
        self._problems.append(Problem("invalid", self._where, text))
