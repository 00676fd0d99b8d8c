"""Entries of ``kinds`` in the layer catalogue: rows, parts and families become plain kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import msgspec

from converter.algebra.pattern import Pattern
from converter.errors import OperationError, Problem
from converter.mapping.keras_classes import KerasClass
from converter.mapping.notes import Note
from converter.mapping.rules import Kind
from converter.mapping.slots import COMPUTED, Scalar, Slot

OPERATIONS = (
    *("sum", "difference", "constant", "derived"),
    *("offset", "scale", "rows", "shared_row", "stack", "join_rows"),
    *("copies", "count", "frequencies"),
)
_WITHOUT_VALUE = frozenset({"sum", "difference", "stack", "join_rows", "copies", "count"})
_NAMED_VALUE = frozenset({"frequencies"})
_ONE_SIDED = COMPUTED | {"derived"}
_JOINING = frozenset({"sum", "difference", "shared_row", "copies"})

SlotsFrom = Literal["", "equation", "tensors"]


class RawPart(msgspec.Struct, forbid_unknown_fields=True):
    """A row of ``parts``."""

    kind: str
    keras: str = "{}"
    torch: str = "{}"
    repeat: str = ""


class RawNote(msgspec.Struct, forbid_unknown_fields=True):
    """A row of ``notes`` that is said of some layers only."""

    text: str
    unless: list[dict[str, bool | int | float | str]] = []


class RawKind(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of ``kinds``."""

    keras: list[str]
    torch: str
    source: str
    slots: list[list[str]] = []
    parts: list[RawPart] = []
    automatic: bool = True
    when: dict[str, bool | int | str | list[int]] = {}
    confirmed_by: str = ""
    slots_from: SlotsFrom = ""
    refuse: str | None = None
    otherwise: str | None = None
    notes: list[str | RawNote] = []
    each: list[dict[str, str | list[str]]] = []


@dataclass(frozen=True, slots=True)
class Entry:
    """A kind, and what conversion by kind needs besides.

    Attributes:
        kind: The kind.
        confirmed_by: Slot whose shape contradicts the kind where a missing entry of the config is
            not the default; ``""``: the config must have the entries of ``when``.
        slots_from: What the slots of one layer are made from, ``""`` where the kind has them.
    """

    kind: Kind
    confirmed_by: str = ""
    slots_from: SlotsFrom = ""


def make_entries(
    raw: Mapping[str, RawKind], classes: Mapping[str, KerasClass], problems: list[Problem]
) -> dict[str, Entry]:
    """Return all kinds by name; what is wrong with any is appended to ``problems``."""
    entries: dict[str, Entry] = {}
    for label, template in raw.items():
        for name, one in _each(label, template):
            where = f"kinds.{name}"
            if name in entries:
                problems.append(Problem("conflict", where, "is there twice"))
                continue
            found: list[str] = []
            entries[name] = _entry(name, one, entries, found)
            found += _class_problems(one, classes)
            problems += [Problem("invalid", where, text) for text in dict.fromkeys(found)]
    return entries


def _each(label: str, template: RawKind) -> Iterator[tuple[str, RawKind]]:
    """Yield the kinds that one entry stands for."""
    if not template.each:
        yield label, template
        return
    for row in template.each:
        choices = [[one] if isinstance(one, str) else one for one in row.values()]
        for chosen in product(*choices):
            values = dict(zip(row, chosen, strict=True))
            filled = msgspec.convert(_filled(msgspec.to_builtins(template), values), RawKind)
            yield _fill(label, values), filled


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _fill(value, values)
    if isinstance(value, list):
        return [_filled(one, values) for one in value]
    if isinstance(value, dict):
        return {key: _filled(one, values) for key, one in value.items()}
    return value


def _fill(text: str, values: Mapping[str, str]) -> str:
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", value)
    return text


def _entry(name: str, raw: RawKind, known: Mapping[str, Entry], problems: list[str]) -> Entry:
    slots = [slot for part in raw.parts for slot in _part(part, known, problems)]
    slots += [slot for row in raw.slots if (slot := _slot(row, problems)) is not None]
    if not raw.source:
        problems.append("has no source")
    for side in ("keras", "torch"):
        names = [one for slot in slots for one in getattr(slot, side)]
        problems += [
            f"two slots have '{one}'" for one in dict.fromkeys(names) if names.count(one) > 1
        ]
    kind = Kind(
        name,
        tuple(raw.keras),
        raw.torch,
        tuple(slots),
        raw.source,
        automatic=raw.automatic,
        when=dict(raw.when),
        refuse=raw.refuse,
        otherwise=raw.otherwise,
        notes=tuple(_note(one) for one in raw.notes),
    )
    return Entry(kind, raw.confirmed_by, raw.slots_from)


def _note(raw: str | RawNote) -> Note:
    if isinstance(raw, str):
        return Note(raw)
    return Note(raw.text, tuple(dict(one) for one in raw.unless))


def _part(part: RawPart, known: Mapping[str, Entry], problems: list[str]) -> Iterator[Slot]:
    base = known.get(part.kind)
    if base is None:
        problems.append(f"parts: no kind '{part.kind}' above this one")
        return
    if part.repeat and not part.repeat.isdigit():
        problems.append(f"parts: repeat is '{part.repeat}', not a number")
        return
    for index in range(int(part.repeat) if part.repeat else 1):
        keras, torch = (text.replace("{i}", str(index)) for text in (part.keras, part.torch))
        for slot in base.kind.slots:
            yield Slot(
                tuple(keras.replace("{}", one) for one in slot.keras),
                tuple(torch.replace("{}", one) for one in slot.torch),
                slot.pattern,
                slot.operation,
                slot.value,
                slot.optional,
                slot.why,
            )


def _slot(row: list[str], problems: list[str]) -> Slot | None:
    if not 2 <= len(row) <= 5:
        problems.append(f"slot {row}: must have two to five texts")
        return None
    keras, torch, pattern, operation, why = (*row, "", "", "")[:5]
    optional = keras.endswith("?")
    sides = tuple(keras.removesuffix("?").split()), tuple(torch.split())
    verb, value = _operation(operation, row, problems)
    if not any(sides) or (not all(sides) and verb not in _ONE_SIDED):
        makers = ", ".join(f"'{one}'" for one in sorted(_ONE_SIDED))
        problems.append(f"slot {row}: one side is empty, and the operation is none of {makers}")
    if verb in COMPUTED and (all(sides) or len(sides[0]) + len(sides[1]) != 1):
        problems.append(f"slot {row}: '{verb}' makes one tensor of one side")
    if not all(sides) and not why:
        problems.append(f"slot {row}: a tensor of one side needs the reason why")
    slot = Slot(sides[0], sides[1], pattern or None, verb, value, optional, why or None)
    if slot.full_pattern:
        pair = (slot.pattern_sources, slot.pattern_targets)
        problems += _pattern_problems(slot.full_pattern, *pair)
    elif all(sides) and len(sides[0]) != len(sides[1]) and verb not in _JOINING:
        problems.append(f"slot {row}: needs a pattern or an operation to join tensors")
    return slot


def _pattern_problems(pattern: str, sources: int, targets: int) -> list[str]:
    try:
        Pattern.parse(pattern, sources, targets)
    except OperationError as error:
        return [error.summary]
    return []


def _operation(text: str, row: list[str], problems: list[str]) -> tuple[str | None, Scalar | None]:
    if not text:
        return None, None
    verb, _, number = text.partition(" ")
    if verb not in OPERATIONS:
        problems.append(f"slot {row}: no operation '{verb}'; known are {', '.join(OPERATIONS)}")
        return None, None
    if verb in _WITHOUT_VALUE:
        if number:
            problems.append(f"slot {row}: '{verb}' has no value")
        return verb, None
    if verb in _NAMED_VALUE:
        if not number.isidentifier():
            problems.append(f"slot {row}: '{verb}' needs the name of a size, not '{number}'")
        return verb, number
    try:
        return verb, float(number) if "." in number else int(number)
    except ValueError:
        problems.append(f"slot {row}: '{verb}' needs a number, not '{number}'")
        return None, None


def _class_problems(raw: RawKind, classes: Mapping[str, KerasClass]) -> list[str]:
    known = {name for one in classes.values() for name in (one.name, *one.aliases)}
    named = [text.partition("(")[0] for text in raw.keras]
    return [f"keras: no class '{one}'" for one in named if one not in known]
