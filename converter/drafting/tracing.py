"""Which inputs a PyTorch module is traced with: those of the Keras model, in its own order of axes.

A live Keras model says what it takes, and so does the configuration in a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converter.drafting.calling import calls_to_try, inputs_to_try
from converter.drafting.keras_run import is_traceable, trace_keras
from converter.drafting.recording import Trace
from converter.drafting.torch_flow import trace
from converter.errors import ConverterError
from converter.graph.nodes import Graph
from converter.graph.shapes import values_of
from converter.live.keras_model import KerasModelCheckpoint
from converter.tensors.dtype import Array
from converter.validation.inputs import Input, make_inputs
from converter.validation.keras_side import KerasFacts, facts_of


@dataclass(frozen=True, slots=True)
class Traces:
    """What a run without values showed.

    Attributes:
        torch: What the PyTorch module does with its tensors, or ``None``.
        keras: The same of the Keras model, where that had to be found out.
        inputs: What both took; empty where they could not be run.
    """

    torch: Trace | None = None
    keras: Trace | None = None
    inputs: tuple[Input, ...] = ()


def traced(model: Any | None, graph: Graph | None, module: Any) -> Traces:
    """Return what both sides do with their tensors, as far as that can be found out.

    Args:
        model: The live Keras model, or ``None``.
        graph: Its graph, which serves where there is no live model.
        module: A live PyTorch module.
    """
    facts = _facts(model, graph)
    if facts is None or not facts.inputs:
        return Traces()
    known = () if model is None else _lengths(model)
    for inputs in inputs_to_try(facts.inputs, known):
        arrays = make_inputs(inputs, seed=0)
        keras = None
        if model is not None and graph is None:
            keras = trace_keras(model, arrays)
            if keras is None and is_traceable():
                continue
        torch = _traced_torch(facts, arrays, module)
        if torch is not None:
            return Traces(torch, keras, inputs)
    return Traces()


def traced_keras(model: Any, inputs: Sequence[Input]) -> Trace | None:
    """Return what a live Keras model does with its tensors, or ``None`` where that is not known."""
    return trace_keras(model, make_inputs(inputs, seed=0)) if inputs else None


def _traced_torch(facts: KerasFacts, arrays: Mapping[str, Array], module: Any) -> Trace | None:
    for call in calls_to_try(facts, module):
        try:
            given = call.arrays(arrays, facts, module)
        except ConverterError:
            continue
        found = trace(module, given, call.order(list(arrays)))
        if found is not None:
            return found
    return None


def _lengths(model: Any) -> tuple[int, ...]:
    """Return for how many positions a model has an embedding of each."""
    manifest = KerasModelCheckpoint(model).manifest
    return tuple(
        dict.fromkeys(
            spec.shape[0]
            for spec in manifest
            if "position" in spec.name.rpartition("/")[2] and len(spec.shape) == 2
        )
    )


def _facts(model: Any | None, graph: Graph | None) -> KerasFacts | None:
    if model is not None:
        return facts_of(model)
    if graph is None:
        return None
    known = values_of(graph)
    shapes = [(one.call, known[one]) for one in graph.inputs if one in known]
    if len(shapes) < len(graph.inputs) or any(spec.shape is None for _, spec in shapes):
        return None
    inputs = tuple(
        Input(name, spec.shape[1:] if spec.shape else (), spec.dtype) for name, spec in shapes
    )
    return KerasFacts(graph.name, inputs)
