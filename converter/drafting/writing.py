"""The text of a drafted mapping: TOML as a person would write it, with what is known of each row.

The text is read back by the reader of mapping files before anybody sees it, so what is written
here is a mapping file or the draft has failed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from converter.drafting.numbering import Member, Number, Pieces, Row
from converter.mapping.rules import ModelValue

_LETTERS = re.compile(r"[a-z]+", re.IGNORECASE)
_LONGEST_LINE = 100


@dataclass(frozen=True, slots=True)
class Written:
    """Rows as texts.

    Attributes:
        rows: Kind, left column, right column of each.
        tables: Table name to Keras spelling to PyTorch spelling.
        beside: The second Keras layer of each, or an empty text.
    """

    rows: tuple[tuple[str, str, str], ...]
    tables: Mapping[str, Mapping[str, str]]
    beside: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands around the rows of a drafted file.

    Attributes:
        name: Name of the mapping.
        keras: What the left column names.
        torch: What the right column names.
        comments: Lines before everything else.
        factories: Side to factory, where both sides can be built.
        leftovers: Lines of comments after the rules.
        drops: Side, tensor and reason of each tensor without counterpart.
        inputs: What both sides take, where it is not the usual.
        outputs: What both sides give, likewise.
    """

    name: str
    keras: str
    torch: str
    comments: Sequence[str] = ()
    factories: Mapping[str, str] = field(default_factory=dict)
    leftovers: Sequence[str] = ()
    drops: Sequence[tuple[str, str, str]] = ()
    inputs: Sequence[ModelValue] = ()
    outputs: Sequence[ModelValue] = ()


def spell(rows: Iterable[Row]) -> Written:
    """Return the columns of rows as texts, with names for their tables and numbers."""
    rows = list(rows)
    tables = _name_tables(rows)
    spelt, beside = [], []
    for row in rows:
        names = _name_numbers(row.keras, set(tables.values()))
        spelt.append((row.kind, _text(row.keras, names, tables), _text(row.torch, names, tables)))
        beside.append(_text(row.beside, names, tables))
    written = {name: dict(member.table) for member, name in tables.items()}
    return Written(tuple(spelt), written, tuple(beside))


def compose(rows: Sequence[Row], written: Written, heading: Heading, notes: Sequence[str]) -> str:
    """Return the text of a mapping file.

    Args:
        rows: The rows.
        written: The same as texts.
        heading: What stands around them.
        notes: What is known of each row, a few words.
    """
    lines = [f"# {line}" if line else "#" for line in heading.comments]
    lines += ["schema = 1", f"name = {_quoted(heading.name)}"]
    lines += [f"keras = {_quoted(heading.keras)}", f"torch = {_quoted(heading.torch)}", ""]
    lines.append("rules = [")
    for row, columns, beside, note in zip(rows, written.rows, written.beside, notes, strict=True):
        lines.append(f"  [{', '.join(_entries(row, columns, beside))}], # {note}")
    lines.append("]")
    lines += [f"# {line}" for line in heading.leftovers]
    lines += _drops(heading.drops)
    if written.tables:
        lines += ["", "[tables]", *map(_table, written.tables.items())]
    lines += _values("inputs", heading.inputs) + _values("outputs", heading.outputs)
    if heading.factories:
        lines += ["", "[sources.drafted]"]
        lines += [f"{side} = {_quoted(factory)}" for side, factory in heading.factories.items()]
    return "\n".join(lines) + "\n"


def _drops(drops: Sequence[tuple[str, str, str]]) -> list[str]:
    if not drops:
        return []
    rows = [f"  {{ {side} = {_quoted(name)}, why = {_quoted(why)} }}," for side, name, why in drops]
    return ["", "drop = [", *rows, "]"]


def _values(title: str, values: Sequence[ModelValue]) -> list[str]:
    """Return a table for each input or output."""
    lines: list[str] = []
    for one in values:
        said = {"keras": one.keras if len(values) > 1 or one.torch else "", "torch": one.torch}
        said["axes"] = one.axes or ""
        lines += ["", f"[[{title}]]"]
        lines += [f"{key} = {_quoted(text)}" for key, text in said.items() if text]
    return lines


def _entries(row: Row, columns: tuple[str, str, str], beside: str) -> list[str]:
    entries = [_quoted(text) for text in columns]
    options = []
    if row.sizes:
        sizes = ", ".join(f"{axis} = {size}" for axis, size in row.sizes)
        options.append(f"sizes = {{ {sizes} }}")
    if row.without:
        options.append(f"without = [{', '.join(map(_quoted, row.without))}]")
    if beside:
        options.append(f"beside = {_quoted(beside)}")
    if options:
        entries.append(f"{{ {', '.join(options)} }}")
    return entries


def _quoted(text: str) -> str:
    # The strings of JSON are basic strings of TOML 1.0 as long as they are ASCII.
    return json.dumps(text)


def _table(entry: tuple[str, Mapping[str, str]]) -> str:
    name, members = entry
    if all(keras == torch for keras, torch in members.items()):
        return f"{name} = [{', '.join(map(_quoted, members))}]"
    pairs = [f"{_quoted(keras)} = {_quoted(torch)}" for keras, torch in members.items()]
    line = f"{name} = {{ {', '.join(pairs)} }}"
    if len(line) <= _LONGEST_LINE:
        return line
    return "\n".join([f"[tables.{name}]", *pairs])


def _name_tables(rows: Sequence[Row]) -> dict[Member, str]:
    """Return a name for each table; long ones come last, as they are sections of their own."""
    members = dict.fromkeys(
        piece for row in rows for piece in row.keras if isinstance(piece, Member)
    )
    ordered = sorted(members, key=_is_long)
    names = ["part"] if len(ordered) == 1 else [f"part{index + 1}" for index in range(len(ordered))]
    return dict(zip(ordered, names, strict=True))


def _is_long(member: Member) -> bool:
    return _table(("part00", dict(member.table))).startswith("[")


def _name_numbers(pieces: Pieces, taken: set[str]) -> dict[int, str]:
    """Return a letter for each variable: that of the word before it, where it is free."""
    names: dict[int, str] = {}
    before = ""
    for piece in pieces:
        if isinstance(piece, str):
            before = (_LETTERS.findall(piece) or [before])[-1]
        elif isinstance(piece, Number) and piece.variable not in names:
            wanted = before[:1].lower() or "i"
            free = (one for one in (wanted, *"ijklmnopqrstuvwxyzabcdefgh"))
            used = {*names.values(), *taken}
            names[piece.variable] = next(one for one in free if one not in used)
    return names


def _text(pieces: Pieces, names: Mapping[int, str], tables: Mapping[Member, str]) -> str:
    parts = []
    for piece in pieces:
        if isinstance(piece, str):
            parts.append(piece)
        elif isinstance(piece, Number):
            parts.append(f"{{{_arithmetic(piece, names[piece.variable])}}}")
        else:
            parts.append(f"{{{tables[piece]}}}")
    return "".join(parts)


def _arithmetic(number: Number, name: str) -> str:
    """Return a number as a mapping file writes it.

    Examples:
        >>> _arithmetic(Number(0, 2, 1), "s"), _arithmetic(Number(0, 1, -1), "b")
        ('2*s+1', 'b-1')
    """
    text = name if number.factor == 1 else f"{number.factor}*{name}"
    return f"{text}{number.offset:+d}" if number.offset else text
