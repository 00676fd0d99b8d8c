"""Which inputs a PyTorch module is traced with: those of the Keras model, in its own order of axes.

A live Keras model says what it takes, and so does the configuration in a file.
"""

from __future__ import annotations

from typing import Any

from converter.drafting.calling import calls_to_try, unmasked
from converter.drafting.keras_run import trace_keras
from converter.drafting.recording import Trace
from converter.drafting.torch_flow import trace
from converter.errors import ConverterError
from converter.graph.nodes import Graph
from converter.graph.shapes import values_of
from converter.validation.inputs import Input, make_inputs
from converter.validation.keras_side import KerasFacts, facts_of


def traced(model: Any | None, graph: Graph | None, module: Any) -> Trace | None:
    """Return what a module does with its tensors, or ``None`` where that cannot be found out.

    Args:
        model: The live Keras model, or ``None``.
        graph: Its graph, which serves where there is no live model.
        module: A live PyTorch module.
    """
    facts = _facts(model, graph)
    if facts is None or not facts.inputs:
        return None
    arrays = make_inputs(unmasked(facts.inputs), seed=0)
    for call in calls_to_try(facts, module):
        try:
            inputs = call.arrays(arrays, facts, module)
        except ConverterError:
            continue
        found = trace(module, inputs, call.order(list(arrays)))
        if found is not None:
            return found
    return None


def traced_keras(model: Any) -> Trace | None:
    """Return what a live Keras model does with its tensors, or ``None`` where that is not known."""
    facts = facts_of(model)
    if not facts.inputs:
        return None
    return trace_keras(model, make_inputs(unmasked(facts.inputs), seed=0))


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
