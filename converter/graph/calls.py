"""The arguments of calls in one form, whichever Keras wrote them.

A recurrent layer takes its initial state by name, a function of tf.keras becomes the operation of
Keras 3 with the arguments of that, and a call of Keras 2 on a list stays one on a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from converter.graph.connections import Reference, WrittenCall
from converter.graph.dialects import dialects
from converter.graph.layers import FUNCTIONS
from converter.graph.nodes import OPERATION, Layer

_RECURRENT = frozenset(
    {"Bidirectional", "GRU", "LSTM", "RNN", "SimpleRNN", *(f"ConvLSTM{n}D" for n in (1, 2, 3))}
)
_NOT_SAID = ("name", "conjugate")


def arranged(layer: Layer, calls: list[WrittenCall]) -> tuple[Layer, list[WrittenCall]]:
    """Return a layer and its calls with every argument in its place."""
    if layer.class_name in _RECURRENT:
        for call in calls:
            _name_states(call)
    if layer.class_name in FUNCTIONS:
        return _as_operation(layer, calls)
    for call in calls:
        if not layer.class_name.startswith(OPERATION):
            call.keywords = {key: one for key, one in call.keywords.items() if one is not None}
        call.keywords.pop("training", None)
    return layer, calls


def _name_states(call: WrittenCall) -> None:
    first, *rest = call.arguments or (None,)
    if isinstance(first, list) and len(first) > 1:  # as Keras 2 wrote it
        call.arguments, rest = (first[0],), [first[1:]]
    elif isinstance(first, list) and first:
        call.arguments = (first[0],)
    for name, value in zip(("initial_state", "mask"), rest, strict=False):
        if value is not None:
            call.keywords.setdefault(name, value)
    call.arguments = call.arguments[:1]
    states = call.keywords.get("initial_state")
    if isinstance(states, Reference):
        call.keywords["initial_state"] = [states]
    elif states is None:
        call.keywords.pop("initial_state", None)


def _as_operation(layer: Layer, calls: list[WrittenCall]) -> tuple[Layer, list[WrittenCall]]:
    """Return the operation of Keras 3 that a function of tf.keras is, where one is known."""
    name = layer.config.get("function")
    if layer.class_name == "SlicingOpLambda" and name is None:
        name = "__operators__.getitem"
    known = dialects()["functions"].get(name)
    if known is None or not calls:
        return layer, calls
    settings: list[dict[str, Any]] = []
    for call in calls:
        keywords = {key: one for key, one in call.keywords.items() if key not in _NOT_SAID}
        own = {new: keywords.pop(old, None) for old, new in known.get("settings", {}).items()}
        given = {key: one for key, one in own.items() if one is not None}
        settings.append({**known.get("implied", {}), **given})
        first, *names = known["arguments"]
        values = call.arguments[:1] if call.arguments else (keywords.pop(first, None),)
        keywords.pop(first, None)
        call.arguments = (*values, *(keywords.pop(one) for one in names if one in keywords))
        call.keywords = {key: one for key, one in keywords.items() if one not in (None, False)}
    if any(one != settings[0] for one in settings):
        why = "it is called with different settings"
        return replace(layer, untranslatable=why), calls
    operation = str(known["operation"])
    made = Layer(
        layer.path,
        f"{OPERATION}{operation}",
        _own_form(operation, settings[0]),
        layer.written_class,
    )
    return made, calls


def _own_form(operation: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as Keras 3 means them: a split is told by where it ends, not by sizes."""
    made = dict(settings)
    sizes = made.get("indices_or_sections")
    if operation == "Split" and isinstance(sizes, list) and all(type(one) is int for one in sizes):
        ends = [sum(sizes[: place + 1]) for place in range(len(sizes) - 1)]
        made["indices_or_sections"] = ends
    return made
