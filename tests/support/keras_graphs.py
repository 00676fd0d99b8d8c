"""The graph of a live Keras model as Keras itself has it, to compare ours with."""

from __future__ import annotations

from typing import Any

from converter.graph.nodes import Graph, ValueRef
from converter.graph.shapes import values_of


def of_keras(model: Any) -> list[tuple[int, tuple[tuple[int, int, int], ...], tuple]]:
    """Return every call of a Functional or built Sequential model, by position of its operation.

    Returns:
        For each operation in its order and each call of it that belongs to the model: position of
        the operation; position, call and output of every value that it takes; and shape and dtype
        of what it gives.
    """
    model = getattr(model, "_functional", None) or model
    operations = list(model.operations)
    place = {id(operation): position for position, operation in enumerate(operations)}
    kept = {
        id(operation): [
            node
            for index, node in enumerate(operation._inbound_nodes)
            if f"{id(operation)}_ib-{index}" in model._nodes
        ]
        for operation in operations
    }
    calls = []
    for position, operation in enumerate(operations):
        for node in kept[id(operation)]:
            taken = []
            for value in node.input_tensors:
                source, index, output = value._keras_history
                above = source._inbound_nodes[index]
                taken.append((place[id(source)], kept[id(source)].index(above), output))
            given = tuple((tuple(one.shape), one.dtype) for one in node.output_tensors)
            calls.append((position, tuple(taken), given))
    return calls


def of_graph(graph: Graph) -> list[tuple[int, tuple[tuple[int, int, int], ...], tuple]]:
    """Return the same of ours; layers must be in the order of Keras' operations."""
    place = {layer.path: position for position, layer in enumerate(graph.layers)}
    where: dict[str, tuple[int, int]] = {}
    counts: dict[str, int] = {}
    numbered = sorted(graph.calls, key=lambda call: _number(call.name, call.layer))
    for call in numbered:
        where[call.name] = (place[call.layer], counts.get(call.layer, 0))
        counts[call.layer] = counts.get(call.layer, 0) + 1
    calls = []
    for call in sorted(numbered, key=lambda call: where[call.name]):
        taken = tuple(
            (*where[ref.call], ref.index) for ref in _refs((call.arguments, call.keywords))
        )
        given = tuple((one.shape, one.dtype) for one in call.outputs)
        calls.append((where[call.name][0], taken, given))
    return calls


def outputs_of(graph: Graph) -> list[tuple]:
    """Return shape and dtype of every output."""
    specs = values_of(graph)
    return [(specs[one].shape, specs[one].dtype) for one in graph.outputs]


def paths_of(graph: Graph) -> set[str]:
    """Return the path of every layer of a graph, those of nested models too."""
    found = set()
    for layer in graph.layers:
        found.add(layer.path)
        if layer.model is not None:
            found |= paths_of(layer.model)
    return found


def _number(name: str, layer: str) -> int:
    return int(name[len(layer) + 1 :] or 0)


def _refs(value: Any) -> list[ValueRef]:
    if isinstance(value, ValueRef):
        return [value]
    if isinstance(value, dict):
        return [one for item in value.values() for one in _refs(item)]
    if isinstance(value, list | tuple):
        return [one for item in value for one in _refs(item)]
    return []
