"""The order in which Keras 3 has the layers of a model, whatever the order of its description.

A weights file addresses layers by class and a counter in that order (``dense``, ``dense_1``), so a
file written in any other order would give one layer the weights of another of the same shape.

Source: keras 3.15.1 ``ops/function.py``, ``map_graph`` and ``_build_map``: layers by their longest
way to an output, and those of one length as a walk from the outputs meets them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from converter.graph.nested import found_in
from converter.graph.nodes import Call, Graph, Layer, ValueRef


def taken(call: Call) -> list[ValueRef]:
    """Return the values that a call takes, as Keras lists them."""
    return list(found_in((call.arguments, call.keywords), ValueRef))


def in_keras_order(graph: Graph) -> Graph:
    """Return a Functional model with its layers in Keras' order, and without unused ones.

    Calls that no output needs go too, as they do when Keras saves the model: the others of the
    same layer keep their order.
    """
    calls = {call.name: call for call in graph.calls}
    walk = _Walk(calls)
    for output in graph.outputs:
        walk.visit(output.call)
    depths, layer_depths = _depths(calls, walk.finished)
    order = dict(walk.met)
    for one in graph.inputs:
        layer = calls[one.call].layer
        if layer not in layer_depths:
            layer_depths[layer], order[layer] = 0, -1
            depths[one.call] = 0
    by_path = {layer.path: layer for layer in graph.layers}
    ranked = sorted(layer_depths, key=lambda path: (-layer_depths[path], order[path]))
    kept = tuple(call for call in graph.calls if call.name in depths)
    return replace(graph, layers=tuple(by_path[path] for path in ranked), calls=kept)


def unused(graph: Graph, kept: Graph) -> list[Layer]:
    """Return the layers of a graph that another one of the same model lacks."""
    paths = {layer.path for layer in kept.layers}
    return [layer for layer in graph.layers if layer.path not in paths]


class _Walk:
    """A walk from the outputs to the inputs, deep first, as Keras makes it.

    Attributes:
        finished: Names of calls, each after those whose values it takes.
        met: Path of a layer to its number among those met.
    """

    def __init__(self, calls: Mapping[str, Call]) -> None:
        self._calls = calls
        self.finished: dict[str, None] = {}
        self.met: dict[str, int] = {}

    def visit(self, name: str) -> None:
        """Visit a call and all before it; a stack of our own, since models may be deep."""
        if name in self.finished:
            return
        self._meet(name)
        waiting = [(name, iter(taken(self._calls[name])))]
        while waiting:
            name, values = waiting[-1]
            value = next(values, None)
            if value is None:
                self.finished[name] = None
                waiting.pop()
            elif value.call not in self.finished:
                self._meet(value.call)
                waiting.append((value.call, iter(taken(self._calls[value.call]))))

    def _meet(self, name: str) -> None:
        self.met.setdefault(self._calls[name].layer, len(self.met))


def _depths(
    calls: Mapping[str, Call], finished: Mapping[str, None]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return how far each call and each layer is from an output, the longest way."""
    depths: dict[str, int] = {}
    layers: dict[str, int] = {}
    for name in reversed(list(finished)):
        layer = calls[name].layer
        depth = max(depths.get(name, 0), layers.get(layer, 0))
        depths[name] = layers[layer] = depth
        for value in taken(calls[name]):
            depths[value.call] = max(depth + 1, depths.get(value.call, 0))
    return depths, layers
