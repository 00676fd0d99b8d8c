"""Shapes of what recurrent layers, wrappers and attention give.

Source: keras 3.15.1 ``layers/rnn``, ``layers/attention``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from converter.graph.nested import found_in
from converter.graph.nodes import Layer, ValueShape, ValueSpec
from converter.graph.shape_rules import (
    Given,
    Rule,
    ShapeError,
    compute_dtype,
    need_rank,
    shape_of,
)
from converter.graph.shapes_windows import convolved

# Infers what a layer gives: that of the dispatcher, for the layers inside others.
Infer = Callable[[Layer, tuple[Any, ...], Any], "tuple[ValueSpec, ...] | None"]

_STATES = {"LSTM": 2, "LSTMCell": 2}


def _cell_sizes(cell: Layer) -> tuple[int, list[int]]:
    """Return the width of what a cell gives, and those of its states.

    Raises:
        ShapeError: If it is a cell that is not Keras' own.
    """
    if cell.class_name == "StackedRNNCells":
        found = [_cell_sizes(one) for one in cell.parts.get("cells", ())]
        if not found:
            raise ShapeError("its cells are not described")
        return found[-1][0], [size for _, sizes in found for size in sizes]
    if cell.class_name not in ("LSTMCell", "GRUCell", "SimpleRNNCell", "LSTM", "GRU", "SimpleRNN"):
        raise ShapeError(f"its cell is a {cell.class_name}")
    units = cell.config.get("units")
    if type(units) is not int:
        raise ShapeError(f"the units of its cell are {units!r}")
    return units, [units] * _STATES.get(cell.class_name, 1)


def _recurrent(given: Given) -> Sequence[ValueSpec]:
    cell = given.layer
    if cell.class_name == "RNN":
        found = cell.parts.get("cell", ())
        if not found:
            raise ShapeError("its cell is not described")
        cell = found[0]
    width, states = _cell_sizes(cell)
    shape = need_rank(given, 3)
    made: list[ValueShape] = [
        (shape[0], shape[1], width) if given.is_on("return_sequences") else (shape[0], width)
    ]
    if given.is_on("return_state"):
        made.extend((shape[0], size) for size in states)
    return [ValueSpec(one, given.dtype) for one in made]


def _conv_lstm(given: Given) -> Sequence[ValueSpec]:
    shape, axes = given.shape, int(given.layer.class_name[-2])
    if len(shape) != axes + 3:
        raise ShapeError(f"it takes {axes + 3} axes and is given {shape}")
    step = ValueSpec((shape[0], *shape[2:]), given.first.dtype)
    state = convolved(Given(given.layer, (step,), {}), axes)
    made = [(shape[0], shape[1], *state[1:]) if given.is_on("return_sequences") else state]
    if given.is_on("return_state"):
        made.extend([state, state])
    return [ValueSpec(one, given.dtype) for one in made]


def distributed(infer: Infer) -> Rule:
    """Return the rule of TimeDistributed."""

    def rule(given: Given) -> Sequence[ValueSpec]:
        shape, inner = given.shape, given.layer.inner
        if inner is None or len(shape) < 3:
            raise ShapeError(f"it applies a layer along the second axis of {shape}")
        step = ValueSpec((shape[0], *shape[2:]), given.first.dtype)
        found = infer(inner, (step,), {})
        if found is None:
            return (ValueSpec(None, given.dtype),)
        made = shape_of(found[0])
        return (ValueSpec((made[0], shape[1], *made[1:]), compute_dtype(given.dtype)),)

    return rule


def both_ways(infer: Infer) -> Rule:
    """Return the rule of Bidirectional."""

    def rule(given: Given) -> Sequence[ValueSpec]:
        inner, mode = given.layer.inner, given.config.get("merge_mode", "concat")
        if inner is None:
            raise ShapeError("its layer is not described")
        found = infer(inner, (given.first,), {})
        if found is None:
            return (ValueSpec(None, given.dtype),)
        output, states = found[0], list(found[1:])
        if mode is None:
            other = (*shape_of(output)[:-1], _width_back(infer, given, output))
            outputs = [output, ValueSpec(other, output.dtype)]
        elif mode == "concat":
            shape = shape_of(output)
            widths = [shape[-1], _width_back(infer, given, output)]
            total = None if None in widths else sum(one for one in widths if one is not None)
            outputs = [ValueSpec((*shape[:-1], total), output.dtype)]
        elif mode in ("sum", "mul", "ave"):
            outputs = [output]
        else:
            raise ShapeError(f"its merge_mode is {mode!r}")
        return [*outputs, *states, *states]

    return rule


def _width_back(infer: Infer, given: Given, ahead: ValueSpec) -> int | None:
    """Return the width of what the layer that runs backward gives; it may be another layer."""
    backward = given.layer.parts.get("backward_layer", ())
    found = infer(backward[0], (given.first,), {}) if backward else (ahead,)
    return shape_of(found[0])[-1] if found is not None else None


def _attended(given: Given) -> Sequence[ValueSpec]:
    """Attention and AdditiveAttention, which take a list of query, value and perhaps key."""
    values = list(found_in(given.arguments[:1], ValueSpec))
    if len(values) < 2:
        raise ShapeError("it takes a query and a value")
    query, value = shape_of(values[0]), shape_of(values[1])
    key = shape_of(values[2]) if len(values) > 2 else value
    made = [ValueSpec((*query[:-1], value[-1]), given.dtype)]
    if given.keywords.get("return_attention_scores"):
        made.append(ValueSpec((*query[:-1], key[-2]), given.dtype))
    return made


def _named(given: Given, names: Sequence[str]) -> list[ValueSpec | None]:
    """Return the values of parameters, given by position or by name."""
    made: list[ValueSpec | None] = []
    for place, name in enumerate(names):
        positional = given.arguments[place] if place < len(given.arguments) else None
        found = given.keywords.get(name, positional)
        made.append(found if isinstance(found, ValueSpec) else None)
    return made


def _multi_head(given: Given) -> Sequence[ValueSpec]:
    query, value, key = _named(given, ("query", "value", "key"))
    if query is None or value is None:
        raise ShapeError("it takes a query and a value")
    shape = shape_of(query)
    grouped = given.layer.class_name == "GroupQueryAttention"
    output = None if grouped else given.config.get("output_shape")
    if output:
        sizes = [output] if type(output) is int else list(output)
        shape = (*shape[:-1], *sizes)
    made = [ValueSpec(shape, given.dtype)]
    if given.keywords.get("return_attention_scores"):
        heads = given.size("num_query_heads" if grouped else "num_heads")
        queries = shape_of(query)
        keys = shape_of(key or value)[1] if grouped else queries[1]
        made.append(ValueSpec((queries[0], heads, queries[1], keys), given.dtype))
    return made


RULES: dict[str, Rule] = {
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "RNN"), _recurrent),
    **{f"ConvLSTM{axes}D": _conv_lstm for axes in (1, 2, 3)},
    "Attention": _attended,
    "AdditiveAttention": _attended,
    "MultiHeadAttention": _multi_head,
    "GroupQueryAttention": _multi_head,
}
