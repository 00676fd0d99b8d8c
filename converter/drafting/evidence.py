"""What speaks for and against a candidate, in numbers, and what the numbers are called.

Values decide where both sides hold the same weights. Otherwise names, the place in the graph and in
the order of the model, and what the other pairs teach are weighed. The weights below were set on
pairs of the mapping library and on hand-written ones (tests/drafting); an assignment changes little
when they are halved or doubled, as candidates are few and most evidence agrees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from converter.drafting.candidates import Candidate
from converter.drafting.flow import Flow, agreement
from converter.drafting.learned import Learned
from converter.drafting.names import Likeness, read_name
from converter.tensors.dtype import Array

NAME = 1.0
ORDER = 0.6
GROUP_ORDER = 0.6
FLOW = 2.0
ORDER_IN_GRAPH = 0.25  # what is left to the order where both graphs are known
FORM = 0.8
NUMBER = 0.8
SAME_NUMBER = 0.25
UNUSUAL_KIND = 0.15
LOST = 2.0
SAME_VALUES = 100.0


# Layer path, and module name, to a place in the order of execution.
Orders = tuple[Mapping[str, float], Mapping[str, float]]


@dataclass(slots=True)
class Evidence:
    """Everything known about the candidates of one draft.

    Attributes:
        candidates: In a fixed order; every array below has an entry for each.
        names: How alike the names are, 0 to 1.
        numbers: 1 where both names end with the same number, 0 elsewhere.
        order: How far apart the two are in the order of their models, 0 to 1; all zero where the
            order of a side means nothing.
        group_order: The same among layers and modules of the same shapes.
        flow: How well the two agree in what comes before and after them, 0 to 1; all zero where
            the graph of a side is not known.
        lost: How many tensors that no other layer can take are left over, as against the candidate
            of the same layer that takes most of them.
        is_graph: Whether every layer is in the graph, so that little is left to the order.
        values: Position of a candidate to whether its values agree.
        hinted: Positions of candidates that a hint asks for.
    """

    candidates: Sequence[Candidate]
    names: Array
    numbers: Array
    order: Array
    group_order: Array
    flow: Array
    lost: Array
    is_graph: bool = False
    values: Mapping[int, bool] = field(default_factory=dict)
    hinted: frozenset[int] = frozenset()

    def costs(self, learned: Learned | None = None) -> Array:
        """Return the cost of each candidate; a lower one is better.

        Args:
            learned: What an earlier assignment taught, or ``None`` for the first one.
        """
        share = ORDER_IN_GRAPH if self.is_graph else 1.0
        unusual = np.array([not one.is_usual for one in self.candidates], dtype=np.float64)
        costs = (
            NAME * (1.0 - self.names)
            + SAME_NUMBER * (1.0 - self.numbers)
            + share * ORDER * self.order
            + share * GROUP_ORDER * self.group_order
            + FLOW * (1.0 - self.flow)
            + UNUSUAL_KIND * unusual
            + LOST * self.lost
        )
        if learned is not None:
            pairs = [(one.unit.path, one.place.module) for one in self.candidates]
            costs = costs - FORM * np.array([learned.form_share(*pair) for pair in pairs])
            costs = costs - NUMBER * np.array([learned.number_share(*pair) for pair in pairs])
        for position, agree in self.values.items():
            costs[position] += -SAME_VALUES if agree else SAME_VALUES
        for position in self.hinted:
            costs[position] -= SAME_VALUES
        return costs


def weigh(
    candidates: Sequence[Candidate],
    *,
    is_ordered: bool,
    orders: Orders | None = None,
    flows: tuple[Flow, Flow] | None = None,
) -> Evidence:
    """Return the evidence that names and orders give.

    Args:
        candidates: All candidates.
        is_ordered: Whether both sides have an order that means something.
        orders: Layer path and module name to their place in the order of execution, where the
            models were run; by default that of their graphs, else the order of definition.
        flows: Both graphs, where they are known.
    """
    keras = {one.unit.path: float(one.unit.rank) for one in candidates}
    torch = {one.place.module: float(one.place.rank) for one in candidates}
    count = len(candidates)
    flow, is_graph = np.zeros(count), False
    if flows is not None:
        nodes = [_nodes(one, flows) for one in candidates]
        flow = agreement(*flows, nodes)
        # Layers inside of layers are in no graph; their order of definition is all there is.
        is_graph = all(layer for layer, _ in nodes)
        executed = _executed(candidates, nodes, flows)
        orders, is_ordered = orders or (executed if is_graph else ({}, executed[1])), True
    if orders is not None:
        keras = {path: orders[0].get(path, rank) for path, rank in keras.items()}
        torch = {module: orders[1].get(module, rank) for module, rank in torch.items()}
    likeness = Likeness(keras, torch)
    return Evidence(
        candidates,
        np.array([likeness(one.unit.path, one.place.module) for one in candidates]),
        np.array([_same_number(one.unit.path, one.place.module) for one in candidates]),
        _order(candidates, keras, torch) if is_ordered else np.zeros(count),
        _group_order(candidates, keras, torch) if is_ordered else np.zeros(count),
        flow,
        _lost(candidates),
        is_graph=is_graph,
    )


def _nodes(one: Candidate, flows: tuple[Flow, Flow]) -> tuple[str, str]:
    """Return the nodes of a candidate in both graphs, ``""`` for one that is in none."""
    path = flows[0].node_of.get(one.unit.path, one.unit.path)
    found = (flows[1].node_of[name] for name in sorted(one.taken) if name in flows[1].node_of)
    return path if path in flows[0].before else "", next(found, "")


def _executed(
    candidates: Sequence[Candidate], nodes: Sequence[tuple[str, str]], flows: tuple[Flow, Flow]
) -> Orders:
    """Return the order of execution that both graphs say; what was never used comes last."""
    last = float(len(flows[1].order))
    modules = {
        one.place.module: flows[1].order.get(node, last)
        for one, (_, node) in zip(candidates, nodes, strict=True)
    }
    return flows[0].order, modules


def _lost(candidates: Sequence[Candidate]) -> Array:
    owners: dict[str, set[str]] = {}
    for one in candidates:
        for name in one.taken:
            owners.setdefault(name, set()).add(one.unit.path)
    own = [sum(len(owners[name]) == 1 for name in one.taken) for one in candidates]
    most: dict[str, int] = {}
    for one, count in zip(candidates, own, strict=True):
        most[one.unit.path] = max(most.get(one.unit.path, 0), count)
    return np.array(
        [most[one.unit.path] - count for one, count in zip(candidates, own, strict=True)],
        dtype=np.float64,
    )


def _same_number(keras: str, torch: str) -> float:
    first, second = read_name(keras).numbers, read_name(torch).numbers
    return float(bool(first) and first[-1:] == second[-1:])


def _order(
    candidates: Sequence[Candidate], keras: Mapping[str, float], torch: Mapping[str, float]
) -> Array:
    first, second = _places(keras), _places(torch)
    return np.array([abs(first[one.unit.path] - second[one.place.module]) for one in candidates])


def _group_order(
    candidates: Sequence[Candidate], keras: Mapping[str, float], torch: Mapping[str, float]
) -> Array:
    """Return distances in order among those that can be exchanged for each other.

    Two layers with the same candidates form a group; the third of four on one side is most often
    the third of four on the other.
    """
    of_unit: dict[str, set[str]] = {}
    for one in candidates:
        of_unit.setdefault(one.unit.path, set()).add(one.place.module)
    groups: dict[frozenset[str], list[str]] = {}
    for path, modules in of_unit.items():
        groups.setdefault(frozenset(modules), []).append(path)
    first: dict[str, float] = {}
    second: dict[tuple[str, str], float] = {}
    for members, paths in groups.items():
        first.update(_places({path: keras[path] for path in paths}))
        places = _places({module: torch[module] for module in members})
        second.update({(path, module): places[module] for path in paths for module in members})
    return np.array(
        [abs(first[one.unit.path] - second[one.unit.path, one.place.module]) for one in candidates]
    )


def _places(ranks: Mapping[str, float]) -> dict[str, float]:
    """Return the place of each name in the order of the ranks, from 0 to 1."""
    ordered = sorted(ranks, key=lambda name: ranks[name])
    last = max(len(ordered) - 1, 1)
    return {name: index / last for index, name in enumerate(ordered)}
