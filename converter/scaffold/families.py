"""Which calls of a model belong to one block: layers whose names begin alike, up to a number.

``conv2_block1_1_conv`` and its neighbours are block ``conv2_block1`` of the family
``conv#_block#``. A family is found by names alone; whether its blocks are alike is asked later.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from converter.scaffold.program import Statement

_FEWEST_CALLS = 3
_FEWEST_BLOCKS = 2
_TOKEN = re.compile(r"[^_/]+|[_/]")


@dataclass(frozen=True, slots=True)
class Run:
    """The statements of one block: a stretch of ``forward``.

    Attributes:
        name: What the names of its layers begin with.
        start: Its first statement.
        end: Behind its last one.
    """

    name: str
    start: int
    end: int


def families(statements: Sequence[Statement]) -> list[list[Run]]:
    """Return families of runs, each in the order of the network."""
    found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, one in enumerate(statements):
        for prefix, family in _prefixes(one.origin.partition("#")[0]):
            found[family][prefix].append(position)
    return [runs for blocks in found.values() if len(runs := _runs(blocks)) >= _FEWEST_BLOCKS]


def _runs(blocks: Mapping[str, Sequence[int]]) -> list[Run]:
    """Return the blocks of a family that are long enough and keep to themselves."""
    runs = [
        Run(name, places[0], places[-1] + 1)
        for name, places in blocks.items()
        if len(places) >= _FEWEST_CALLS
    ]
    runs.sort(key=lambda run: run.start)
    kept: list[Run] = []
    for run in runs:
        if not kept or kept[-1].end <= run.start:
            kept.append(run)
        else:
            kept.pop()
    return kept


def _prefixes(name: str) -> list[tuple[str, str]]:
    """Return each beginning of a name that ends with a number, and its family.

    Examples:
        >>> _prefixes("conv2_block1_0_bn")
        [('conv2', 'conv#'), ('conv2_block1', 'conv#_block#'), ('conv2_block1_0', 'conv#_block#_#')]
        >>> _prefixes("block2a_se_reduce")
        [('block2a', 'block#')]
    """
    found = []
    tokens = _TOKEN.findall(name)
    family = ""
    for index, token in enumerate(tokens):
        digit = re.search(r"\d", token)
        family += f"{token[: digit.start()]}#" if digit else token
        if digit and index + 1 < len(tokens):
            found.append(("".join(tokens[: index + 1]), family))
    return found
