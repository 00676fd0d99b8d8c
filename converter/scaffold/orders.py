"""In which order the axes of a model's inputs and outputs stand in PyTorch.

The convention is that of validation (:mod:`converter.validation.layouts`), asked of the graph as
data: rank 4 and 5 are images; rank 3 is one where a one-dimensional convolution, pooling or padding
reads or makes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from converter.graph.nested import found_in
from converter.graph.nodes import Call, Graph, Layer, ValueRef
from converter.scaffold.scope import Order
from converter.validation.layouts import PASSING, SPATIAL


def input_order(graph: Graph, ref: ValueRef) -> Order:
    """Return the order of an input's axes."""
    return _order(graph, ref, _readers(graph, ref))


def output_order(graph: Graph, ref: ValueRef) -> Order:
    """Return the order of an output's axes."""
    return _order(graph, ref, _makers(graph, ref))


def _order(graph: Graph, ref: ValueRef, found: Iterable[Layer]) -> Order:
    call = next(one for one in graph.calls if one.name == ref.call)
    rank = len(call.outputs[ref.index].shape or ())
    nearest = next(iter(found), None)
    if nearest is not None and nearest.config.get("data_format") == "channels_first":
        return "keras"
    if rank in (4, 5) or (rank == 3 and nearest is not None):
        return "first"
    return "keras"


def _readers(graph: Graph, ref: ValueRef) -> Iterator[Layer]:
    layers = {layer.path: layer for layer in graph.layers}
    waiting, seen = [ref.call], set()
    while waiting:
        name = waiting.pop(0)
        for call in graph.calls:
            if call.name in seen or name not in {one.call for one in _taken(call)}:
                continue
            seen.add(call.name)
            layer = layers[call.layer]
            if SPATIAL.fullmatch(layer.class_name):
                yield layer
            elif PASSING.fullmatch(layer.class_name):
                waiting.append(call.name)


def _makers(graph: Graph, ref: ValueRef) -> Iterator[Layer]:
    layers = {layer.path: layer for layer in graph.layers}
    calls = {call.name: call for call in graph.calls}
    waiting, seen = [ref.call], set()
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        layer = layers[calls[name].layer]
        if SPATIAL.fullmatch(layer.class_name):
            yield layer
        elif PASSING.fullmatch(layer.class_name):
            waiting += [one.call for one in _taken(calls[name])]


def _taken(call: Call) -> list[ValueRef]:
    return list(found_in((call.arguments, call.keywords), ValueRef))
