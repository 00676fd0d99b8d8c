"""What every layer gives, by the rule of its class; and every value of a graph, call by call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from converter.graph import shapes_features, shapes_operations, shapes_sequences, shapes_windows
from converter.graph.nested import replaced
from converter.graph.nodes import OPERATION, Call, Graph, Layer, ValueRef, ValueSpec
from converter.graph.shape_rules import Given, Rule, ShapeError, compute_dtype


def infer(
    layer: Layer, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> tuple[ValueSpec, ...] | None:
    """Return what a call of a layer gives.

    Args:
        layer: The layer.
        arguments: Its positional arguments, with a :class:`ValueSpec` in place of each value.
        keywords: Its keyword arguments, likewise.

    Returns:
        Its outputs, or ``None`` where no rule says, or the shape of an input is unknown.

    Raises:
        ShapeError: If the layer cannot take such inputs.
    """
    given = Given(layer, arguments, keywords)
    if any(value.shape is None for value in given.values):
        return None
    if layer.model is not None:
        return outputs_for(layer.model, given.values)
    if layer.class_name == "SpectralNormalization" and layer.inner is not None:
        return infer(layer.inner, arguments, keywords)
    rule = _RULES.get(layer.class_name)
    if rule is None or (layer.untranslatable and not layer.class_name.startswith(OPERATION)):
        return None
    return tuple(rule(given))


def outputs_for(graph: Graph, inputs: Sequence[ValueSpec]) -> tuple[ValueSpec, ...] | None:
    """Return what a model gives for other inputs than those it says itself.

    Raises:
        ShapeError: If a layer cannot take what it would get.
    """
    if len(inputs) != len(graph.inputs):
        raise ShapeError(f"it takes {len(graph.inputs)} values and is given {len(inputs)}")
    shaped = with_shapes(graph, dict(zip(graph.inputs, inputs, strict=True)))
    specs = values_of(shaped)
    found = tuple(specs[one] for one in graph.outputs)
    return found if all(one.shape is not None for one in found) else None


def values_of(graph: Graph) -> dict[ValueRef, ValueSpec]:
    """Return every value of a graph."""
    return {
        ValueRef(call.name, index): spec
        for call in graph.calls
        for index, spec in enumerate(call.outputs)
    }


def with_shapes(graph: Graph, inputs: Mapping[ValueRef, ValueSpec]) -> Graph:
    """Return a graph with the outputs of every call, given what comes in.

    Args:
        graph: The graph; outputs that its calls have already are kept where no rule says more.
        inputs: What the inputs are; those left out are as their layer says.

    Raises:
        ShapeError: With the path of the layer in front, if it cannot take what it gets.
    """
    layers = {layer.path: layer for layer in graph.layers}
    specs: dict[ValueRef, ValueSpec] = {}
    calls = []
    for call in graph.calls:
        layer = layers[call.layer]
        first = ValueRef(call.name)
        found = (inputs[first],) if first in inputs else _found(layer, call, specs)
        outputs = found if found is not None else call.outputs or (_unknown(layer),)
        specs.update((ValueRef(call.name, place), one) for place, one in enumerate(outputs))
        calls.append(replace(call, outputs=outputs))
    return replace(graph, calls=tuple(calls))


def _found(
    layer: Layer, call: Call, specs: Mapping[ValueRef, ValueSpec]
) -> tuple[ValueSpec, ...] | None:
    def value(one: Any) -> Any:
        return specs.get(one, ValueSpec(None)) if isinstance(one, ValueRef) else one

    try:
        return infer(layer, replaced(call.arguments, value), replaced(call.keywords, value))
    except ShapeError as error:
        name = layer.model.name if layer.model is not None else layer.path
        raise ShapeError(f"{name} ({layer.class_name}): {error}") from error


def _unknown(layer: Layer) -> ValueSpec:
    return ValueSpec(None, compute_dtype(str(layer.config.get("dtype", "float32"))))


_RULES: dict[str, Rule] = {
    **shapes_windows.RULES,
    **shapes_features.RULES,
    **shapes_sequences.RULES,
    "TimeDistributed": shapes_sequences.distributed(infer),
    "Bidirectional": shapes_sequences.both_ways(infer),
    **{f"{OPERATION}{name}": rule for name, rule in shapes_operations.RULES.items()},
}
