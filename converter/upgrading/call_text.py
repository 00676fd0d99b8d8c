"""The calls of a model as ``inbound_nodes`` of Keras 3.15 say them, and its ends.

Source: keras 3.15.1 ``models/functional.py``, ``serialize_node`` and ``functional_from_config``: a
Functional model has a call of its own before all others, which only ``output_layers`` counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converter.graph.nodes import Call, Constant, Graph, Layer, ValueRef
from converter.graph.shapes import values_of
from converter.upgrading.layer_text import RefusedError
from converter.upgrading.words import is_object


class Nodes:
    """Describes the calls of one model.

    Args:
        graph: The model; calls of a layer are numbered in the order of their names there.
        names: Path of a layer to its name in the new file.
    """

    def __init__(self, graph: Graph, names: Mapping[str, str]) -> None:
        self._graph = graph
        self._names = names
        self._values = values_of(graph)
        self._classes = {layer.path: layer.class_name for layer in graph.layers}
        self._layers = {call.name: call.layer for call in graph.calls}
        self._calls: dict[str, list[Call]] = {path: [] for path in names}
        for call in sorted(graph.calls, key=lambda one: _number(one.name, one.layer)):
            self._calls[call.layer].append(call)
        self._number = {
            call.name: place for calls in self._calls.values() for place, call in enumerate(calls)
        }

    def of(self, layer: Layer) -> list[dict[str, Any]]:
        """Return the calls of a layer; an input has none.

        Raises:
            RefusedError: If an argument is an object of the source.
        """
        if layer.class_name == "InputLayer":
            return []
        return [
            {"args": self._said(list(call.arguments)), "kwargs": self._said(dict(call.keywords))}
            for call in self._calls[layer.path]
        ]

    def ends(self) -> dict[str, Any]:
        """Return ``input_layers`` and ``output_layers``."""
        graph = self._graph
        return {
            "input_layers": _shaped(
                [self._end(one, is_output=False) for one in graph.inputs], graph.input_structure
            ),
            "output_layers": _shaped(
                [self._end(one, is_output=True) for one in graph.outputs], graph.output_structure
            ),
        }

    def _end(self, value: ValueRef, *, is_output: bool) -> list[Any]:
        path = self._layers[value.call]
        counted = is_output and self._classes[path] == "Functional"
        return [self._names[path], self._number[value.call] + counted, value.index]

    def _said(self, value: Any) -> Any:
        """Return an argument in the words of JSON."""
        if isinstance(value, ValueRef):
            return self._tensor(value)
        if isinstance(value, tuple):
            return _object("__tuple__", {"value": [self._said(item) for item in value]})
        if isinstance(value, Mapping):
            if is_object(value):
                raise RefusedError("a call of it takes an object, which Keras would make")
            return {key: self._said(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._said(item) for item in value]
        return _plain(value)

    def _tensor(self, value: ValueRef) -> dict[str, Any]:
        spec = self._values[value]
        history = [self._names[self._layers[value.call]], self._number[value.call], value.index]
        config = {"shape": list(spec.shape or ()), "dtype": spec.dtype, "keras_history": history}
        return _object("__keras_tensor__", config)


def _plain(value: Any) -> Any:
    """Return an argument without parts, as an object where JSON has no word for it."""
    if isinstance(value, Constant):
        return _object("__numpy__", {"value": value.value, "dtype": value.dtype})
    if isinstance(value, slice):
        return _object("__slice__", {key: getattr(value, key) for key in ("start", "stop", "step")})
    return _object("__ellipsis__", {}) if value is Ellipsis else value


def _object(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": kind, "config": config}


def _shaped(ends: list[Any], structure: Any) -> Any:
    """Return the ends of a model as it takes or gives them."""
    if structure is None:
        return ends[0] if len(ends) == 1 else ends
    if isinstance(structure, int):
        return ends[structure]
    if isinstance(structure, Mapping):
        return {key: _shaped(ends, one) for key, one in structure.items()}
    return [_shaped(ends, one) for one in structure]


def _number(name: str, layer: str) -> int:
    """Return which call of its layer a call is."""
    return int(name[len(layer) + 1 :] or 0)
