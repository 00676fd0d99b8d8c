"""The graph of the Keras layers that own tensors, from the configuration of a model.

Layers without tensors pass on what they take. A layer that is made of layers says nothing about
the order inside it, so what it gives is known to come from it and no more; MultiHeadAttention is
the exception, as everybody knows its inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from converter.drafting.flow import Flow, input_name
from converter.drafting.units import PART
from converter.graph.nested import found_in
from converter.graph.nodes import Call, Graph, Layer, ValueRef

_ATTENTION = ("query", "value", "key")  # the order of the arguments of MultiHeadAttention

_Sources = frozenset[str]


def keras_flow(graph: Graph, units: Iterable[str]) -> Flow:
    """Return the graph of the layers that are paired.

    Args:
        graph: The model.
        units: Paths of the layers that are paired.
    """
    walk = _Walk(_at_or_below(units))
    given = [frozenset({input_name(place)}) for place in range(len(graph.inputs))]
    results = walk.model(graph, given)
    before = {path: frozenset(sources - {path}) for path, sources in walk.before.items()}
    order = {path: float(place) for place, path in enumerate(walk.before)}
    return Flow(before, results, order)


def _at_or_below(units: Iterable[str]) -> dict[str, list[str]]:
    """Return, for each path, the units that lie at it or below it."""
    found: dict[str, list[str]] = {}
    for unit in units:
        parts = unit.partition(PART)[0].split("/")
        for end in range(1, len(parts) + 1):
            found.setdefault("/".join(parts[:end]), []).append(unit)
    return found


@dataclass(slots=True)
class _Walk:
    """Carries sources through the calls of a model.

    Attributes:
        units: Path of a layer to the units at it or below it.
        before: Unit to everything that it takes, in the order of execution.
    """

    units: Mapping[str, list[str]]
    before: dict[str, set[str]] = field(default_factory=dict)

    def model(self, graph: Graph, given: Iterable[_Sources]) -> list[_Sources]:
        """Return the sources of a model's outputs."""
        known: dict[ValueRef, _Sources] = dict(zip(graph.inputs, given, strict=False))
        layers = {layer.path: layer for layer in graph.layers}
        for call in graph.calls:
            taken = [known.get(one, frozenset()) for one in found_in(call.arguments, ValueRef)]
            named = {
                name: _joined(known.get(one, frozenset()) for one in found_in(value, ValueRef))
                for name, value in call.keywords.items()
            }
            results = self._call(layers[call.layer], call, taken, named)
            for place, sources in enumerate(results):
                known.setdefault(ValueRef(call.name, place), sources)
        return [known.get(one, frozenset()) for one in graph.outputs]

    def _call(
        self, layer: Layer, call: Call, taken: list[_Sources], named: Mapping[str, _Sources]
    ) -> list[_Sources]:
        if layer.model is not None:
            return self.model(layer.model, taken)
        count = max(len(call.outputs), 1)
        units = self.units.get(layer.path, [])
        every = _joined([*taken, *named.values()])
        if not units:
            return [every] * count
        if len(units) == 1:
            return [self._take(units[0], every)] * count
        if all(PART in unit for unit in units):
            # A ReversibleEmbedding that is not tied is one thing or the other at each call.
            if layer.class_name == "ReversibleEmbedding":
                units = units[-1:] if call.keywords.get("reverse") else units[:1]
            for unit in units:
                every = self._take(unit, every)
            return [every] * count
        if layer.class_name.endswith("Attention") and taken:
            return [self._attention(units, taken, named)] * count
        return [frozenset({f"inside {layer.path}"})] * count

    def _take(self, unit: str, sources: _Sources) -> _Sources:
        self.before.setdefault(unit, set()).update(sources)
        return frozenset({unit})

    def _attention(
        self, units: list[str], taken: list[_Sources], named: Mapping[str, _Sources]
    ) -> _Sources:
        given = dict(zip(_ATTENTION, taken, strict=False)) | {
            name: sources for name, sources in named.items() if name in _ATTENTION and sources
        }
        value = given.get("value", given.get("query", frozenset()))
        made: list[_Sources] = []
        last: list[str] = []
        for unit in units:
            role = unit.rpartition("/")[2]
            if PART in unit:  # several of them in one
                made.append(self._take(unit, _joined(given.values())))
            elif role in _ATTENTION:
                made.append(self._take(unit, given.get(role, value)))
            else:
                last.append(unit)
        between = _joined(made)
        return _joined(self._take(unit, between) for unit in last) or between


def _joined(sources: Iterable[_Sources]) -> _Sources:
    return frozenset().union(*sources)
