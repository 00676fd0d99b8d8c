"""Calls for one block after another, as loops: numbers that count up are counted in the loop."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from converter.scaffold.literals import literal_text

_COUNTED = re.compile(r"(.*?)(\d+)(\D*)")


@dataclass(frozen=True, slots=True)
class Told:
    """What one block is told.

    Attributes:
        name: Its name.
        values: Argument to value.
    """

    name: str
    values: Mapping[str, Any]


def loops(blocks: Sequence[Told], call: str) -> list[str]:
    """Return lines that call a method for each block, as few as are readable.

    Args:
        blocks: In order.
        call: The call, with ``{}`` for what the block is told.

    Examples:
        >>> loops([Told("a1", {"n": 8}), Told("a2", {"n": 16}), Told("b1", {"n": 3})], "f({})")
        ['for i in range(1, 3):', '    f(f"a{i}", 8 * i)', 'f("b1", 3)']
    """
    lines: list[str] = []
    position = 0
    while position < len(blocks):
        count, text = _counted(blocks[position:])
        if count > 1:
            lines += [text[0], f"    {call.format(text[1])}"]
        else:
            count = _equal(blocks[position:])
            lines += _listed(blocks[position : position + count], call)
        position += count
    return lines


def _listed(blocks: Sequence[Told], call: str) -> list[str]:
    told = "".join(f", {literal_text(value)}" for value in blocks[0].values.values())
    if len(blocks) == 1:
        return [call.format(f'"{blocks[0].name}"{told}')]
    names = ", ".join(f'"{block.name}"' for block in blocks)
    return [f"for name in ({names}):", f"    {call.format(f'name{told}')}"]


def _equal(blocks: Sequence[Told]) -> int:
    """Return how many blocks from the first on are told the same."""
    count = 1
    while count < len(blocks) and blocks[count].values == blocks[0].values:
        count += 1
    return count


def _counted(blocks: Sequence[Told]) -> tuple[int, tuple[str, str]]:
    """Return how many blocks a counting loop covers, its head and what it tells them."""
    first = _COUNTED.fullmatch(blocks[0].name)
    if first is None or len(blocks) < 2:
        return 1, ("", "")
    head, number, tail = first.groups()
    start = int(number)
    count = 1
    while count < len(blocks) and blocks[count].name == f"{head}{start + count}{tail}":
        count += 1
    while count > 1 and not all(
        _line([block.values[key] for block in blocks[:count]], start) for key in blocks[0].values
    ):
        count -= 1
    if count == 1:
        return 1, ("", "")
    told = "".join(
        f", {_line([block.values[key] for block in blocks[:count]], start)}"
        for key in blocks[0].values
    )
    return count, (f"for i in range({start}, {start + count}):", f'f"{head}{{i}}{tail}"{told}')


def _line(values: Sequence[Any], start: int) -> str:
    """Return values as source in terms of ``i``, or an empty text where they are no line."""
    if all(value == values[0] for value in values):
        return literal_text(values[0])
    if any(isinstance(value, bool) or not isinstance(value, int) for value in values):
        return ""
    step = values[1] - values[0]
    if step <= 0 or any(two - one != step for one, two in pairwise(values)):
        return ""
    offset = values[0] - step * start
    text = "i" if step == 1 else f"{step} * i"
    if offset:
        text += f" {'+' if offset > 0 else '-'} {abs(offset)}"
    return text
