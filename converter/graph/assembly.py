"""From a description of a Functional or Sequential model to its graph.

Calls are put in an order in which they can be carried out, and every value that a call takes is
looked up. A description that names what is not there, or that needs its own result, says no graph.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from converter.graph.calls import arranged
from converter.graph.connections import (
    MalformedError,
    Reference,
    WrittenCall,
    is_reference,
    read_shape,
    written_calls,
)
from converter.graph.dialects import class_now
from converter.graph.layers import LayerReader, layer_name
from converter.graph.nested import replaced
from converter.graph.nodes import Call, Graph, Layer, ValueRef, ValueSpec
from converter.graph.shapes import values_of, with_shapes

MAX_NESTING = 32
MAX_OUTPUTS = 4096


@dataclass(slots=True)
class _Named:
    """One layer as described, its calls, and which of them are which of the graph's."""

    layer: Layer
    calls: list[WrittenCall]
    names: list[str]


class Assembly:
    """One model on the way from its description to its graph.

    Args:
        reader: Reads its layers.
        written: Its description.
        path: Its path; empty for the outermost model.
    """

    def __init__(self, reader: LayerReader, written: Mapping[str, Any], path: str) -> None:
        self._reader = reader
        self._written = written
        self._path = path
        self._found: dict[str, _Named] = {}
        self._said: dict[str, dict[int, ValueSpec]] = {}

    def graph(self, first_input: ValueSpec | None = None) -> Graph:
        """Return the graph.

        Args:
            first_input: What a Sequential takes that does not say it.

        Raises:
            MalformedError: If the description says none.
            ShapeError: If a layer cannot take what it gets.
        """
        config = self._written["config"]
        is_sequence = class_now(str(self._written["class_name"])) == "Sequential" and not (
            isinstance(config, dict) and "input_layers" in config
        )
        if is_sequence:
            inputs, outputs = self._sequence(config, first_input)
        else:
            inputs, outputs = self._network(config)
        structures = [None if is_flat(one) else _positions(one, []) for one in (inputs, outputs)]
        calls = self._ordered()
        # As texts: a custom layer may keep anything under this name.
        formats = {str(one.layer.config.get("data_format")) for one in self._found.values()}
        graph = Graph(
            name=layer_name(self._written),
            layers=tuple(one.layer for one in self._found.values()),
            calls=tuple(calls),
            inputs=tuple(self._refer(one) for one in flat(inputs)),
            outputs=tuple(self._refer(one, is_output=True) for one in flat(outputs)),
            generation=self._reader.generation,
            data_format=(
                "channels_first"
                if "channels_first" in formats and "channels_last" not in formats
                else "channels_last"
            ),
            input_structure=structures[0],
            output_structure=structures[1],
            class_name="Sequential" if is_sequence else "Functional",
        )
        self._check_inputs(graph)
        return with_shapes(graph, {})

    def _network(self, config: Mapping[str, Any]) -> tuple[Any, Any]:
        listed = _described(config.get("layers"))
        names = frozenset(map(layer_name, listed))
        for written in listed:
            name = layer_name(written)
            try:
                calls = written_calls(written.get("inbound_nodes"), names)
            except MalformedError as error:
                raise MalformedError(f"layer '{name}': {error}") from error
            self._add(written, calls)
        made = []
        for key in ("input_layers", "output_layers"):
            if not flat(config.get(key)):
                raise MalformedError(f"it has no {key}")
            made.append(config[key])
        return made[0], made[1]

    def _sequence(self, config: Any, first_input: ValueSpec | None) -> tuple[Any, Any]:
        listed = _described(config if isinstance(config, list) else config.get("layers"))
        if not listed:
            raise MalformedError("it has no layers")
        head: Layer | None = None
        if class_now(str(listed[0]["class_name"])) != "InputLayer":
            head = self._reader.read(listed[0], self._path)
            listed.insert(0, self._input_before(listed[0], config, _taken_by(head) or first_input))
        before: Reference | None = None
        for place, written in enumerate(listed):
            call = WrittenCall() if before is None else WrittenCall((before,))
            self._add(written, [call], head if place == 1 else None)
            before = Reference(layer_name(written), 0, 0)
        first = layer_name(listed[0])
        return [first, 0, 0], [layer_name(listed[-1]), 0, 0]

    def _input_before(
        self, first: Mapping[str, Any], config: Any, said: ValueSpec | None
    ) -> dict[str, Any]:
        """Return the description of what comes into a Sequential that does not name it."""
        own = first.get("config")
        own = own if isinstance(own, dict) else {}
        built = first.get("build_config")
        shape = None
        for holder, key in (
            (own, "batch_input_shape"),
            (own, "batch_shape"),
            (config, "build_input_shape"),
            (built, "input_shape"),
        ):
            if shape is None and isinstance(holder, dict):
                shape = read_shape(holder.get(key))
        dtype = own.get("dtype") if isinstance(own.get("dtype"), str) else "float32"
        if shape is None and said is not None:
            shape, dtype = said.shape, said.dtype
        if shape is None:
            raise MalformedError("it does not say the shape of what comes in")
        made = {"name": f"{layer_name(first)}_input", "batch_shape": list(shape), "dtype": dtype}
        return {"class_name": "InputLayer", "config": made}

    def _add(
        self, written: Mapping[str, Any], calls: list[WrittenCall], layer: Layer | None = None
    ) -> None:
        name = layer_name(written)
        if name in self._found:
            raise MalformedError(f"two of its layers are named '{name}'")
        layer = layer or self._reader.read(written, self._path)
        if layer.class_name == "InputLayer":
            if any(True for call in calls for _ in call.references()):
                raise MalformedError(f"layer '{name}' is an InputLayer and takes a value")
            calls = [WrittenCall()]
        layer, calls = arranged(layer, calls)
        names = [f"{layer.path}#{place}" if place else layer.path for place in range(len(calls))]
        self._found[name] = _Named(layer, calls, names)

    def _refer(self, reference: Any, *, is_output: bool = False) -> ValueRef:
        """Return the value that a reference is.

        A nested model has a call of its own before all others. Keras 1 and 2 count it everywhere,
        and Keras 3 only for a Functional model among the outputs of a model.

        Raises:
            MalformedError: If there is none such.
        """
        if isinstance(reference, list):
            reference = Reference(reference[0], reference[1], reference[2])
        found = self._found.get(reference.layer)
        if found is None:
            raise MalformedError(f"it takes a value of '{reference.layer}', which it does not have")
        place, count = reference.node, len(found.calls)
        if found.layer.model is not None:
            counted = is_output and found.layer.class_name == "Functional"
            if self._reader.generation < 3 or counted or place == count:
                place = max(place - 1, 0)
        if not 0 <= place < count or reference.tensor < 0:
            raise MalformedError(
                f"it takes output {reference.tensor} of call {reference.node} of "
                f"'{reference.layer}', which has {count} calls"
            )
        return ValueRef(found.names[place], reference.tensor)

    def _ordered(self) -> list[Call]:
        """Return all calls, each after those whose values it takes; inputs first."""
        written = {
            name: (one, call)
            for one in self._found.values()
            for name, call in zip(one.names, one.calls, strict=True)
        }
        rank = {
            name: (one.layer.class_name != "InputLayer", place)
            for place, (name, (one, _)) in enumerate(written.items())
        }
        needs = {}
        for name, (_, call) in written.items():
            needs[name] = {self._refer(one).call for one in call.references()}
            for reference, spec in call.said.items():
                value = self._refer(reference)
                self._said.setdefault(value.call, {})[value.index] = spec
        order = _in_order(needs, rank)
        return [self._call(name, *written[name]) for name in order]

    def _call(self, name: str, one: _Named, call: WrittenCall) -> Call:
        def value(leaf: Any) -> Any:
            return self._refer(leaf) if isinstance(leaf, Reference) else leaf

        said = self._said.get(name, {})
        last = max(said, default=-1)
        if last > MAX_OUTPUTS:
            raise MalformedError(f"layer '{one.layer.path}' would have {last} outputs")
        outputs = tuple(said.get(place, ValueSpec(None)) for place in range(last + 1))
        return Call(
            name,
            one.layer.path,
            replaced(call.arguments, value),
            replaced(call.keywords, value),
            outputs,
        )

    def _check_inputs(self, graph: Graph) -> None:
        classes = {layer.path: layer.class_name for layer in graph.layers}
        for one in graph.inputs:
            if classes.get(one.call) != "InputLayer":
                raise MalformedError(f"its input '{one.call}' is no InputLayer")


def _taken_by(layer: Layer) -> ValueSpec | None:
    """Return what a nested model takes, where it takes one value."""
    if layer.model is None or len(layer.model.inputs) != 1:
        return None
    return values_of(layer.model).get(layer.model.inputs[0])


def _described(listed: object) -> list[Mapping[str, Any]]:
    if not isinstance(listed, list):
        raise MalformedError("its layers are no list")
    for one in listed:
        if not isinstance(one, dict) or not isinstance(one.get("class_name"), str):
            raise MalformedError("one of its layers has no class_name")
        if not isinstance(one.get("config"), dict | list):
            raise MalformedError(f"layer '{layer_name(one)}' has no config")
    return list(listed)


def _in_order(needs: Mapping[str, set[str]], rank: Mapping[str, tuple[bool, int]]) -> list[str]:
    left = {name: len(needed) for name, needed in needs.items()}
    users: dict[str, list[str]] = {}
    for name, needed in needs.items():
        for one in needed:
            users.setdefault(one, []).append(name)
    ready = [(rank[name], name) for name, count in left.items() if not count]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        _, name = heapq.heappop(ready)
        order.append(name)
        for user in users.get(name, ()):
            left[user] -= 1
            if not left[user]:
                heapq.heappush(ready, (rank[user], user))
    if len(order) < len(needs):
        stuck = next(name for name in needs if left[name])
        raise MalformedError(f"its calls form a cycle, in which '{stuck}' is")
    return order


def is_flat(value: Any) -> bool:
    """Whether ``input_layers`` or ``output_layers`` are one value or a list of them."""
    return is_reference(value) or (isinstance(value, list) and all(map(is_reference, value)))


def flat(value: Any) -> list[Any]:
    """Return the references in ``input_layers`` or ``output_layers`` in Keras' order.

    Source: keras 3.15.1 ``tree.flatten``: entries of a dict are ordered by key.

    Raises:
        MalformedError: If something else is in it.
    """
    if is_reference(value):
        return [value]
    if isinstance(value, list | tuple):
        return [one for item in value for one in flat(item)]
    if isinstance(value, Mapping):
        return [one for key in sorted(value) for one in flat(value[key])]
    raise MalformedError("its input_layers or output_layers name no values")


def _positions(value: Any, counter: list[None]) -> Any:
    if is_reference(value):
        counter.append(None)
        return len(counter) - 1
    if isinstance(value, Mapping):
        return {key: _positions(value[key], counter) for key in sorted(value)}
    return [_positions(item, counter) for item in value]
