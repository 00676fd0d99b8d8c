"""From pairs of names to templates: which numbers go together, and by which arithmetic.

The pairs of one form of name (the same text but for its numbers) become one template where every
number of the PyTorch name follows from the Keras name. Where none does, the pairs are divided by
the number that tells them apart, or the numbers become a table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_RUN = re.compile(r"[0-9]+")
_LARGEST_FACTOR = 12
_FEWEST_FOR_FACTOR = 3
_TABLE_COST = 2.0  # lines of a table, against one line for each further rule
_MEMBERS_A_LINE = 6

Named = tuple[str, str]  # Keras path, PyTorch module


@dataclass(frozen=True, slots=True)
class Number:
    """A placeholder for ``factor * variable + offset``.

    Attributes:
        variable: Which number of the row it is, from 0.
        factor: See above.
        offset: See above.
    """

    variable: int
    factor: int = 1
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """A placeholder for a member of a table.

    Attributes:
        table: Keras spelling to PyTorch spelling, sorted, so that equal tables are equal.
    """

    table: tuple[tuple[str, str], ...]


Piece = str | Number | Member
Pieces = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a mapping to be.

    Attributes:
        kind: Name of the layer kind.
        keras: Left column.
        torch: Right column.
        pairs: The pairs that it stands for.
        sizes: Sizes of pattern axes.
        beside: Path of a second Keras layer that the kind takes something of; its numbers are
            those of the left column.
        without: Slots that another row takes.
    """

    kind: str
    keras: Pieces
    torch: Pieces
    pairs: tuple[Named, ...]
    sizes: tuple[tuple[str, int], ...] = ()
    beside: Pieces = ()
    without: tuple[str, ...] = ()


def rows_of(kind: str, pairs: Sequence[Named], sizes: Mapping[str, int]) -> list[Row]:
    """Return rows for pairs that are alike but for their numbers.

    Examples:
        >>> [row] = rows_of("conv2d", [("conv2_x", "a.1"), ("conv3_x", "a.2")], {})
        >>> row.torch
        ('a.', Number(variable=0, factor=1, offset=-1))
    """
    kept = tuple(sizes.items())
    divided = _divided([_Pair.of(pair) for pair in pairs])
    return [
        Row(kind, *columns, tuple(one.names for one in group), kept) for group, columns in divided
    ]


def tabled(row: Row) -> list[list[Row]]:
    """Return a row with one of its numbers as a table, for each number where that can be.

    A number stands for every number that is there, a table for its members alone.
    """
    found = []
    for place, piece in enumerate(row.keras):
        if not isinstance(piece, Number) or len(_uses(row.keras, piece)) != 1:
            continue
        uses = _uses(row.torch, piece)
        if len(uses) != 1:
            continue
        values = {_value(row.keras, place, names[0]) for names in row.pairs}
        table = {str(one): str(uses[0].factor * one + uses[0].offset) for one in values}
        member = Member(tuple(sorted(table.items())))
        keras, torch = (
            tuple(member if _is_use(one, piece) else one for one in side)
            for side in (row.keras, row.torch)
        )
        found.append([Row(row.kind, keras, torch, row.pairs, row.sizes)])
    return found


def divided(row: Row) -> list[list[Row]]:
    """Return the rows that stand for a row's pairs when one of its numbers is written out."""
    found = []
    for place in range(len(_RUN.findall(row.pairs[0][0]))):
        groups: dict[str, list[Named]] = {}
        for names in row.pairs:
            runs = _RUN.findall(names[0])
            groups.setdefault(runs[place] if place < len(runs) else "", []).append(names)
        if 1 < len(groups) < len(row.pairs):
            sizes = dict(row.sizes)
            parts = (rows_of(row.kind, group, sizes) for group in groups.values())
            found.append([one for part in parts for one in part])
    return found


def _uses(pieces: Pieces, number: Number) -> list[Number]:
    return [one for one in pieces if isinstance(one, Number) and _is_use(one, number)]


def _is_use(piece: Piece, number: Number) -> bool:
    return isinstance(piece, Number) and piece.variable == number.variable


def _value(pieces: Pieces, place: int, name: str) -> int:
    """Return the number at one place of a name; tables stand for no numbers of their own here."""
    pattern = "".join(
        f"({_RUN.pattern})" if index == place else _RUN.pattern if isinstance(piece, Number)
        else ".*?" if isinstance(piece, Member) else re.escape(piece)
        for index, piece in enumerate(pieces)
    )  # fmt: skip
    found = re.fullmatch(pattern, name)
    return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class _Pair:
    names: Named
    keras: tuple[int, ...]
    torch: tuple[int, ...]

    @classmethod
    def of(cls, names: Named) -> _Pair:
        first, second = ([int(run) for run in _RUN.findall(name)] for name in names)
        return cls(names, tuple(first), tuple(second))


_Group = Sequence[_Pair]
_Columns = tuple[Pieces, Pieces]


def _divided(group: _Group) -> list[tuple[_Group, _Columns]]:
    """Return the group with its columns, or its parts with theirs."""
    columns = _columns(group)
    if columns is not None:
        return [(group, columns)]
    table = _table_columns(group)
    parts = _parts(group) or [((one,), _literal(one)) for one in group]
    cost = _TABLE_COST + len(group) / _MEMBERS_A_LINE
    return [(group, table)] if table is not None and len(parts) > cost else parts


def _parts(group: _Group) -> list[tuple[_Group, _Columns]] | None:
    """Divide by the Keras number with the fewest values; the division with the fewest rows."""
    best: list[tuple[_Group, _Columns]] | None = None
    for place in range(len(group[0].keras)):
        values = sorted({one.keras[place] for one in group})
        if not 1 < len(values) < len(group):
            continue
        found = [
            part
            for value in values
            for part in _divided([one for one in group if one.keras[place] == value])
        ]
        if best is None or len(found) < len(best):
            best = found
    return best


def _literal(pair: _Pair) -> _Columns:
    return (pair.names[0],), (pair.names[1],)


def _columns(group: _Group) -> _Columns | None:
    """Return both columns of a group, or ``None`` where the numbers do not follow."""
    if len(group) == 1:
        return _literal(group[0])
    keras = _variables([one.keras for one in group])
    torch: list[int | Number] = []
    for place in range(len(group[0].torch)):
        values = [one.torch[place] for one in group]
        found = _explained(values, group, keras)
        if found is None:
            return None
        torch.append(found)
    if _is_ambiguous(group, torch):
        return None
    first = _pieces(group[0].names[0], keras)
    return first, _pieces(group[0].names[1], torch)


def _variables(rows: Sequence[tuple[int, ...]]) -> list[int | Number]:
    """Return each number of a name as itself, where it never varies, or as a variable."""
    found: list[int | Number] = []
    sources: list[int] = []
    for place in range(len(rows[0])):
        values = [row[place] for row in rows]
        if len(set(values)) == 1:
            found.append(values[0])
            continue
        for variable, source in enumerate(sources):
            shifts = {value - row[source] for value, row in zip(values, rows, strict=True)}
            if len(shifts) == 1:
                found.append(Number(variable, 1, shifts.pop()))
                break
        else:
            found.append(Number(len(sources)))
            sources.append(place)
    return found


def _explained(
    values: Sequence[int], group: _Group, keras: Sequence[int | Number]
) -> int | Number | None:
    """Return a number of the PyTorch name as a constant or by one of the Keras variables."""
    if len(set(values)) == 1:
        return values[0]
    for place, piece in enumerate(keras):
        if not isinstance(piece, Number) or piece.offset:
            continue
        given = [one.keras[place] for one in group]
        line = _line(given, values)
        if line is not None:
            return Number(piece.variable, *line)
    return None


def _line(given: Sequence[int], values: Sequence[int]) -> tuple[int, int] | None:
    """Return factor and offset with ``value = factor * given + offset``, or ``None``."""
    low, high = min(given), max(given)
    if low == high:
        return None
    first, last = values[given.index(low)], values[given.index(high)]
    factor, rest = divmod(last - first, high - low)
    if rest or not 1 <= factor <= _LARGEST_FACTOR:
        return None
    if factor > 1 and len(set(given)) < _FEWEST_FOR_FACTOR:
        return None  # two points make a line by chance
    offset = first - factor * low
    fits = all(value == factor * one + offset for one, value in zip(given, values, strict=True))
    return (factor, offset) if fits else None


def _is_ambiguous(group: _Group, torch: Sequence[int | Number]) -> bool:
    """Whether two layers of the group would become one module."""
    made = {
        tuple(one.torch[place] for place, piece in enumerate(torch) if isinstance(piece, Number))
        for one in group
    }
    return len(made) < len(group)


def _pieces(name: str, numbers: Sequence[int | Number]) -> Pieces:
    """Return a name with its varying numbers as placeholders."""
    pieces: list[Piece] = []
    text, position = "", 0
    for run, number in zip(_RUN.finditer(name), numbers, strict=True):
        text += name[position : run.start()]
        position = run.end()
        if isinstance(number, int):
            text += run.group()
            continue
        if text:
            pieces.append(text)
        pieces.append(number)
        text = ""
    text += name[position:]
    return (*pieces, text) if text else tuple(pieces)


def _table_columns(group: _Group) -> _Columns | None:
    """Return columns with one table for all varying numbers, from the first to the last."""
    sides = [[one.names[side] for one in group] for side in (0, 1)]
    spans = [_span(names) for names in sides]
    if spans[0] is None or spans[1] is None:
        return None
    middles = []
    columns: list[tuple[str, str]] = []
    for names, span in zip(sides, spans, strict=True):
        head, tail = span  # type: ignore[misc]  # neither is None, see above
        middles.append([name[len(head) : len(name) - len(tail)] for name in names])
        columns.append((head, tail))
    table = dict(zip(*middles, strict=True))
    if len(table) < len(group) or len(set(table.values())) < len(group):
        return None
    member = Member(tuple(sorted(table.items())))
    first, second = (
        tuple(piece for piece in (head, member, tail) if piece != "") for head, tail in columns
    )
    return first, second


def _span(names: Sequence[str]) -> tuple[str, str] | None:
    """Return what all names begin and end with, cut so that no number is cut in two."""
    shortest = min(names, key=len)
    head = len(shortest)
    while any(not name.startswith(shortest[:head]) for name in names):
        head -= 1
    while head and shortest[head - 1].isdigit():
        head -= 1
    tail = len(shortest) - head
    while tail and any(not name.endswith(shortest[len(shortest) - tail :]) for name in names):
        tail -= 1
    while tail and shortest[len(shortest) - tail].isdigit():
        tail -= 1
    if any(len(name) <= head + tail for name in names):
        return None
    return shortest[:head], shortest[len(shortest) - tail :] if tail else ""
