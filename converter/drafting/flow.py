"""Where a layer stands in the computation: what feeds it, and what it feeds.

Each side is a graph of the layers that own tensors, made without computing a value. Two layers
may be one where their surroundings are alike: colours are refined from neighbour to neighbour on
both sides at once, and a pair is judged by how far from it the surroundings still agree. A graph
that differs in one place so loses nothing elsewhere.

Source: B. Weisfeiler and A. Leman, "The reduction of a graph to canonical form", 1968.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from converter.tensors.dtype import Array

_ROUNDS = 256
_NOT_THE_BEST = 0.5

Colour = int
Colours = Mapping[str, Colour]


@dataclass(frozen=True, slots=True)
class Flow:
    """The graph of one side.

    Attributes:
        before: Node to the nodes whose values it takes, past everything that owns no tensor;
            inputs of the model are :func:`input_name`.
        results: For each output of the model, the nodes that it comes from.
        order: Node to its place in the order of execution.
        node_of: Tensor to node, where nodes are no layers.
    """

    before: Mapping[str, frozenset[str]]
    results: Sequence[frozenset[str]] = ()
    order: Mapping[str, float] = field(default_factory=dict)
    node_of: Mapping[str, str] = field(default_factory=dict)

    def after(self) -> dict[str, frozenset[str]]:
        """Return node to the nodes, and the outputs, that take what it gives."""
        found: dict[str, set[str]] = {name: set() for name in self.before}
        takers = [*self.before.items()]
        takers += [(f"output {place}", nodes) for place, nodes in enumerate(self.results)]
        for taker, nodes in takers:
            for node in nodes:
                if node in found:
                    found[node].add(taker)
        return {name: frozenset(takers) for name, takers in found.items()}


def input_name(place: int) -> str:
    """Return what stands for an input of a model, by its position."""
    return f"input {place}"


def agreement(keras: Flow, torch: Flow, pairs: Sequence[tuple[str, str]]) -> Array:
    """Return how well two nodes agree in what comes before and after them, 0 to 1.

    Args:
        keras: Its graph.
        torch: Its graph.
        pairs: A Keras and a PyTorch node of each candidate; ``""`` for one that no graph has.
    """
    kinds = _kinds(pairs)
    ups = (keras.before, torch.before)
    downs = (keras.after(), torch.after())
    return (_shares(ups, kinds, pairs) + _shares(downs, kinds, pairs)) / 2


def _kinds(pairs: Iterable[tuple[str, str]]) -> tuple[Colours, Colours]:
    """Return the same colour for all nodes that some chain of candidates connects."""
    above: dict[tuple[int, str], tuple[int, str]] = {}

    def root(one: tuple[int, str]) -> tuple[int, str]:
        while above.setdefault(one, one) != one:
            above[one] = above[above[one]]
            one = above[one]
        return one

    for first, second in pairs:
        if first and second:
            above[root((0, first))] = root((1, second))
    numbers: dict[tuple[int, str], int] = {}
    found: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for side, name in list(above):
        found[side][name] = numbers.setdefault(root((side, name)), len(numbers))
    return found


def _shares(
    edges: tuple[Mapping[str, frozenset[str]], Mapping[str, frozenset[str]]],
    kinds: tuple[Colours, Colours],
    pairs: Sequence[tuple[str, str]],
) -> Array:
    """Return how far the surroundings of each pair agree, against its best rivals."""
    rounds = _refined(edges, kinds)
    depths = [_depth(rounds, *pair) for pair in pairs]
    best: dict[tuple[int, str], int] = {}
    for pair, depth in zip(pairs, depths, strict=True):
        for key in enumerate(pair):
            best[key] = max(best.get(key, 0), depth)
    shares = []
    for pair, depth in zip(pairs, depths, strict=True):
        highest = max(best[key] for key in enumerate(pair))
        shares.append(1.0 if depth == highest else _NOT_THE_BEST * depth / highest)
    return np.array(shares)


def _refined(
    edges: tuple[Mapping[str, frozenset[str]], Mapping[str, frozenset[str]]],
    kinds: tuple[Colours, Colours],
) -> list[tuple[Colours, Colours]]:
    """Return the colours of both sides round by round, until nothing is told apart any more."""
    numbers: dict[object, Colour] = {}
    rounds = [kinds]
    count = 0
    while len(rounds) < _ROUNDS:
        made = tuple(
            {
                name: numbers.setdefault(
                    (colours.get(name, name), tuple(sorted(_near(near, colours)))), len(numbers)
                )
                for name, near in side.items()
            }
            for side, colours in zip(edges, rounds[-1], strict=True)
        )
        rounds.append((made[0], made[1]))
        told = len({*made[0].values(), *made[1].values()})
        if told == count:
            break
        count = told
    return rounds


def _near(names: Iterable[str], colours: Colours) -> Iterable[str]:
    # Inputs and outputs keep their names: they are the same on both sides.
    return (str(colours.get(name, name)) for name in names)


def _depth(rounds: Sequence[tuple[Colours, Colours]], keras: str, torch: str) -> int:
    """Return the number of rounds after which two nodes still have one colour."""
    low, high = 0, len(rounds)
    while low < high:
        middle = (low + high) // 2
        ours, theirs = (
            colours.get(name, -1 - side)
            for side, (colours, name) in enumerate(zip(rounds[middle], (keras, torch), strict=True))
        )
        if ours == theirs:
            low = middle + 1
        else:
            high = middle
    return low
