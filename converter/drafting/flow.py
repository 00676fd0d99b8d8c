"""Where a layer stands in the computation: what feeds it, and what it feeds.

Each side is a graph of the layers that own tensors, made without computing a value. Two layers
may be one where their surroundings are alike: colours are refined from neighbour to neighbour on
both sides at once, and a pair is judged by how far from it the surroundings still agree. A graph
that differs in one place so loses nothing elsewhere.

Source: B. Weisfeiler and A. Leman, "The reduction of a graph to canonical form", 1968.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from converter.tensors.dtype import Array

_ROUNDS = 1024
_NOT_THE_BEST = 0.5

_FACTORS = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64)

Colours = Mapping[str, int]
_Near = Mapping[str, frozenset[str]]
_Edges = tuple[_Near, _Near]


@dataclass(frozen=True, slots=True)
class Flow:
    """The graph of one side.

    Attributes:
        before: Node to the nodes whose values it takes, past everything that owns no tensor;
            inputs of the model are :func:`input_name`.
        results: For each output of the model, the nodes that it comes from.
        order: Node, or layer, to its place in the order of execution.
        node_of: Tensor, or layer, to node, where nodes are no layers.
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
    edges: _Edges, kinds: tuple[Colours, Colours], pairs: Sequence[tuple[str, str]]
) -> Array:
    """Return how far the surroundings of each pair agree, against its best rivals."""
    graph = _Graph(edges, kinds)
    depths = graph.depths(pairs)
    best: dict[tuple[int, str], int] = {}
    for pair, depth in zip(pairs, depths, strict=True):
        for key in enumerate(pair):
            best[key] = max(best.get(key, 0), depth)
    shares = []
    for pair, depth in zip(pairs, depths, strict=True):
        highest = max(best[key] for key in enumerate(pair))
        shares.append(1.0 if depth == highest else _NOT_THE_BEST * depth / highest)
    return np.array(shares)


class _Graph:
    """The nodes of both sides in one array of colours.

    A colour is a number of 64 bits, made of a node's own and those of its neighbours in any order:
    two different surroundings have one colour by an accident that nobody will see.
    """

    def __init__(self, edges: _Edges, kinds: tuple[Colours, Colours]) -> None:
        self._places: tuple[dict[str, int], dict[str, int]] = ({}, {})
        colours: list[int] = []
        sources: list[int] = []
        targets: list[int] = []
        for side, (places, known, near) in enumerate(zip(self._places, kinds, edges, strict=True)):
            # A node of no graph is like nothing, inputs and outputs are the same on both sides.
            names = dict.fromkeys(["", *near, *(one for nodes in near.values() for one in nodes)])
            for name in names:
                places[name] = len(colours)
                colours.append(known[name] + 2 if name in known else _fixed(name, side))
            for name, nodes in near.items():
                sources += [places[one] for one in nodes]
                targets += [places[name]] * len(nodes)
        self._first = np.array(colours, dtype=np.uint64)
        self._sources, self._targets = np.array(sources, int), np.array(targets, int)

    def depths(self, pairs: Sequence[tuple[str, str]]) -> list[int]:
        """Return after how many rounds each two nodes still have one colour."""
        ours, theirs = (
            np.array([places.get(pair[side], places[""]) for pair in pairs], dtype=int)
            for side, places in enumerate(self._places)
        )
        found, is_one = np.zeros(len(pairs), dtype=int), np.ones(len(pairs), dtype=bool)
        for colours in self._rounds():
            is_one &= colours[ours] == colours[theirs]
            found += is_one
        return [int(depth) for depth in found]

    def _rounds(self) -> Iterator[Array]:
        """Yield the colours round by round, until nothing more is told apart."""
        colours, count = self._first, 0
        for _ in range(_ROUNDS):
            yield colours
            near = np.zeros_like(colours)
            np.add.at(near, self._targets, mixed(colours[self._sources]))
            colours = mixed(colours * _FACTORS[0] + near)
            told = len(np.unique(colours))
            if told == count:
                return
            count = told


def _fixed(name: str, side: int) -> int:
    if name.startswith(("input ", "output ")):
        return zlib.crc32(name.encode()) | 1 << 40
    return side | 1 << 41


def mixed(values: Array) -> Array:
    """Return numbers of 64 bits in which every bit of the given ones matters.

    Source: G. L. Steele and others, "Fast Splittable Pseudorandom Number Generators", 2014.
    """
    values = (values ^ (values >> np.uint64(30))) * _FACTORS[1]
    values = (values ^ (values >> np.uint64(27))) * _FACTORS[2]
    found: Array = values ^ (values >> np.uint64(31))
    return found
