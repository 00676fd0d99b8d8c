"""Rows that differ only in their numbers, shown as one: ``conv{2..5}_block{1..16}_1_conv``.

A network of 121 layers has perhaps 20 kinds of rows. Decides only how they are shown: the numbers
of one row need not form a full grid, so every collapsed row says how many it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_NUMBER = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are alike.

    Attributes:
        texts: One text for each column, with sets of numbers in braces.
        count: How many rows it stands for.
    """

    texts: tuple[str, ...]
    count: int


def collapse(rows: Iterable[Sequence[str]]) -> list[Group]:
    """Join the rows that are equal but for numbers, in the order in which each first appears.

    Examples:
        >>> collapse([("conv1_bn", "norm1"), ("conv2_bn", "norm2"), ("conv5_bn", "norm5")])
        [Group(texts=('conv{1,2,5}_bn', 'norm{1,2,5}'), count=3)]
        >>> [group.texts[0] for group in collapse([["b1_x"], ["fc"], ["b2_x"], ["b3_x"]])]
        ['b{1..3}_x', 'fc']
    """
    groups: dict[tuple[tuple[str, ...], ...], list[list[list[str]]]] = {}
    for row in rows:
        parts = [_NUMBER.split(text) for text in row]
        key = tuple(tuple(part[::2]) for part in parts)
        groups.setdefault(key, []).append([part[1::2] for part in parts])
    return [_joined(key, numbers) for key, numbers in groups.items()]


def _joined(key: tuple[tuple[str, ...], ...], numbers: list[list[list[str]]]) -> Group:
    texts = []
    for column, literals in enumerate(key):
        text = literals[0]
        for position, literal in enumerate(literals[1:]):
            text += number_set(row[column][position] for row in numbers) + literal
        texts.append(text)
    return Group(tuple(texts), len(numbers))


def number_set(numbers: Iterable[str]) -> str:
    """Return a set of written numbers as short as it can be said.

    Examples:
        >>> number_set(["3", "3"]), number_set(["1", "2", "3", "4"]), number_set(["0", "2"])
        ('3', '{1..4}', '{0,2}')
        >>> number_set(str(n) for n in (1, 2, 3, 7, 9, 10, 11))
        '{1..3,7,9..11}'
        >>> number_set(str(n) for n in range(0, 40, 2))
        '{0..38}'
    """
    written = set(numbers)
    if len(written) == 1:
        return written.pop()
    ordered = sorted(written, key=lambda text: (int(text), text))
    runs: list[list[str]] = []
    for text in ordered:
        if runs and int(text) == int(runs[-1][-1]) + 1:
            runs[-1].append(text)
        else:
            runs.append([text])
    if len(runs) > 4:  # longer than the names it shortens; the count says how many there are
        return f"{{{ordered[0]}..{ordered[-1]}}}"
    return "{" + ",".join(_run(run) for run in runs) + "}"


def _run(run: list[str]) -> str:
    return ",".join(run) if len(run) < 3 else f"{run[0]}..{run[-1]}"
