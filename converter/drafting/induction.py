"""Rules from pairs: as few rows as a person would write, that stand for exactly those pairs.

First every form of name becomes rows of its own (:mod:`converter.drafting.numbering`); then rows
that differ by one word on each side become one with a table, where that makes the file shorter.
What comes out is checked by expanding it again: a row that would also claim something else is
taken apart until it does not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from converter.drafting.assignment import Pair
from converter.drafting.numbering import Member, Named, Piece, Pieces, Row, divided, rows_of, tabled
from converter.mapping.template import skeleton

_WORD = re.compile(r"[A-Za-z]+")

Words = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Hole:
    """A row with one word of each side taken out.

    Attributes:
        key: Everything that is left, for finding rows that differ nowhere else.
        words: The words taken out.
        places: Piece, start and end of each word, Keras then PyTorch.
    """

    key: tuple[object, ...]
    words: tuple[str, str]
    places: tuple[tuple[int, int, int], tuple[int, int, int]]


def induce(pairs: Iterable[Pair], faulty: Callable[[Sequence[Row]], set[int]]) -> list[Row]:
    """Return rows that stand for the pairs.

    Args:
        pairs: The pairs of an assignment.
        faulty: Given rows, returns the positions of those that do not stand for their pairs alone.
    """
    grouped: dict[tuple[object, ...], list[Named]] = defaultdict(list)
    for pair in pairs:
        one = pair.candidate
        names = (one.unit.layer.path, one.place.module)
        key = (one.kind.name, *map(skeleton, names), tuple(one.sizes.items()))
        grouped[key].append(names)
    rows = [
        row
        for (kind, _, _, sizes), names in grouped.items()
        for row in rows_of(str(kind), names, dict(sizes))  # type: ignore[call-overload]  # a tuple of pairs, by construction
    ]
    return _sound(_merged(rows), rows, faulty)


def _sound(
    merged: list[Row], rows: Sequence[Row], faulty: Callable[[Sequence[Row]], set[int]]
) -> list[Row]:
    """Take rows apart until each stands for its pairs alone."""
    finer = {row.pairs: row for row in rows}
    while True:
        bad = faulty(merged)
        if not bad:
            return merged
        replaced: list[Row] = []
        for position, row in enumerate(merged):
            if position not in bad:
                replaced.append(row)
                continue
            around = (*replaced, *merged[position + 1 :])
            replaced += _apart(row, finer, around, faulty)
        if len(replaced) == len(merged) and all(
            one is other for one, other in zip(replaced, merged, strict=True)
        ):
            return merged  # literal rows already: what is wrong is not the wording
        merged = replaced


def _apart(
    row: Row,
    known: dict[tuple[Named, ...], Row],
    around: Sequence[Row],
    faulty: Callable[[Sequence[Row]], set[int]],
) -> list[Row]:
    """Return the fewest rows in the place of one that claims too much."""
    if any(isinstance(piece, Member) and len(piece.table) > 1 for piece in row.keras):
        parts = [one for pairs, one in known.items() if set(pairs) <= set(row.pairs)]
        if len(parts) > 1:
            return parts
    if len(row.pairs) == 1:
        return [row]
    divisions = divided(row)
    options = [*tabled(row), *divisions]
    options += [[one for part in rows for one in _closed(part)] for rows in divisions]
    for rows in sorted(options, key=len):
        if len(rows) < len(row.pairs) and not any(
            position >= len(around) for position in faulty([*around, *rows])
        ):
            return rows
    return [
        Row(row.kind, (first,), (second,), ((first, second),), row.sizes)
        for first, second in row.pairs
    ]


def _closed(row: Row) -> list[Row]:
    """Return a row that stands for no other numbers than are there, where that can be."""
    return next(iter(tabled(row)), [row])


def _merged(rows: list[Row]) -> list[Row]:
    """Join rows that differ by one word on each side, by the table that saves most."""
    written: set[Words] = set()
    while True:
        families: dict[tuple[object, ...], dict[int, _Hole]] = defaultdict(dict)
        for position, row in enumerate(rows):
            for hole in _holes(row):
                families[hole.key].setdefault(position, hole)
        tables: dict[Words, list[dict[int, _Hole]]] = defaultdict(list)
        for family in families.values():
            words = _table(family)
            if words is not None:
                tables[words].append(family)
        best = max(tables, key=lambda one: _gain(one, tables[one], written), default=None)
        if best is None or _gain(best, tables[best], written) <= 0:
            return rows
        rows = _joined_all(rows, _disjoint(tables[best]))
        written.add(best)


def _table(family: dict[int, _Hole]) -> Words | None:
    """Return the words of a family; ``None`` unless they are told apart on both sides."""
    words = [hole.words for hole in family.values()]
    if len(words) < 2 or any(len({word[side] for word in words}) < len(words) for side in (0, 1)):
        return None
    return tuple(sorted(words))


def _gain(words: Words, families: Sequence[dict[int, _Hole]], written: set[Words]) -> int:
    """Return how many lines joining saves: a table is a line, once for all rows that use it."""
    return len(_disjoint(families)) * (len(words) - 1) - (words not in written)


def _disjoint(families: Iterable[dict[int, _Hole]]) -> list[dict[int, _Hole]]:
    """Return families that have no row in common."""
    taken: set[int] = set()
    found = []
    for family in families:
        if not taken & family.keys():
            taken |= family.keys()
            found.append(family)
    return found


def _joined_all(rows: Sequence[Row], families: Sequence[dict[int, _Hole]]) -> list[Row]:
    """Return the rows, those of a family as one at the place of its first."""
    joined = {
        min(family): _joined([(rows[position], hole) for position, hole in family.items()])
        for family in families
    }
    gone = {position for family in families for position in family}
    return [
        joined.get(position, row)
        for position, row in enumerate(rows)
        if position in joined or position not in gone
    ]


def _holes(row: Row) -> Iterable[_Hole]:
    for place in _words(row.keras):
        for other in _words(row.torch):
            if _is_whole(row.keras, place) and _is_whole(row.torch, other):
                continue  # names with nothing in common are rows of their own
            cut = (_without(row.keras, place), _without(row.torch, other))
            words = (_word(row.keras, place), _word(row.torch, other))
            yield _Hole((row.kind, row.sizes, *cut), words, (place, other))


def _words(pieces: Pieces) -> Iterable[tuple[int, int, int]]:
    for index, piece in enumerate(pieces):
        if isinstance(piece, str):
            for component in _components(piece):
                yield (index, *component)


def _components(text: str) -> Iterable[tuple[int, int]]:
    """Yield the spans of components, the smaller ones of ``_`` included."""
    spans: set[tuple[int, int]] = set()
    for separators in ("/.", "/._"):
        start = 0
        for position, letter in enumerate(text + separators[0]):
            if letter in separators:
                if position > start and _WORD.search(text[start:position]):
                    spans.add((start, position))
                start = position + 1
    return sorted(spans)


def _is_whole(pieces: Pieces, place: tuple[int, int, int]) -> bool:
    return len(pieces) == 1 and place[1:] == (0, len(str(pieces[0])))


def _word(pieces: Pieces, place: tuple[int, int, int]) -> str:
    index, start, end = place
    return str(pieces[index])[start:end]


def _without(pieces: Pieces, place: tuple[int, int, int]) -> tuple[object, ...]:
    index, start, end = place
    text = str(pieces[index])
    return (*pieces[:index], (text[:start], text[end:]), *pieces[index + 1 :])


def _joined(family: Sequence[tuple[Row, _Hole]]) -> Row:
    member = Member(tuple(sorted(hole.words for _, hole in family)))
    row, hole = family[0]
    columns = [
        _filled(pieces, place, member)
        for pieces, place in zip((row.keras, row.torch), hole.places, strict=True)
    ]
    pairs = tuple(pair for one, _ in family for pair in one.pairs)
    return Row(row.kind, columns[0], columns[1], pairs, row.sizes)


def _filled(pieces: Pieces, place: tuple[int, int, int], member: Member) -> Pieces:
    index, start, end = place
    text = str(pieces[index])
    between: tuple[Piece, ...] = (text[:start], member, text[end:])
    return (*pieces[:index], *(one for one in between if one != ""), *pieces[index + 1 :])
