"""The graph of a live Keras model's tensors, where its configuration does not tell.

A configuration says nothing of what happens inside a layer made of layers. On the torch backend the
functions of PyTorch do: the model is run on tensors without values, as a PyTorch module is. Other
backends have no such graph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from converter.drafting.flow import Flow, input_name
from converter.drafting.recording import Recorder, Tag, Trace, without_log
from converter.drafting.torch_flow import kept, torch_flow
from converter.drafting.units import Unit
from converter.live.keras_model import KerasModelCheckpoint
from converter.live.torch_module import is_tensor
from converter.tensors.dtype import Array
from converter.validation.running import flatten_outputs, packed


def is_traceable() -> bool:
    """Whether models of this process run on functions of PyTorch."""
    import keras

    return bool(keras.backend.backend() == "torch")


def trace_keras(model: Any, inputs: Mapping[str, Array]) -> Trace | None:
    """Run a Keras model without values.

    Args:
        model: A live Keras model, on any device.
        inputs: What it takes, by name and in its order; only shapes and types matter.

    Returns:
        The trace, or ``None`` where the model cannot be run so.
    """
    if not is_traceable():
        return None
    found: list[Trace] = []
    # Whatever a foreign model raises on tensors without values, this is no way to trace it.
    with contextlib.suppress(Exception), kept(model), without_log():
        found.append(_traced(model, inputs))
    return found[0] if found and all(found[0].results) else None


def flow_of_units(found: Trace, units: Iterable[Unit]) -> Flow:
    """Return the graph of the layers that are paired.

    Args:
        found: The trace of the model.
        units: Those layers.
    """
    units = list(units)
    flow = torch_flow(found, [unit.names for unit in units])
    node_of = {
        unit.path: node
        for unit in units
        for node in [flow.node_of.get(min(unit.names))]
        if node is not None
    }
    order = {path: flow.order[node] for path, node in node_of.items()}
    return Flow(flow.before, flow.results, order, node_of)


def _traced(model: Any, inputs: Mapping[str, Array]) -> Trace:
    import keras
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    # Keras copies a tensor that is on another device than it wants by making one like it.
    recorder = Recorder({}, copies=("empty_like",))
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with _emptied(model, mode, recorder), torch.no_grad(), mode:
        given = packed(model, inputs)
        for place, one in enumerate(keras.tree.flatten(given)):
            recorder.tag(one, Tag(sources=frozenset({input_name(place)})))
        with recorder.listening():
            outputs = model(given, training=False)
    results = [recorder.of(one).sources for one in flatten_outputs(outputs).values()]
    return Trace(recorder.uses, results)


@contextlib.contextmanager
def _emptied(model: Any, mode: Any, recorder: Recorder) -> Iterator[None]:
    """Put tensors without values in the place of a model's own."""
    variables = KerasModelCheckpoint(model).variables()
    before = {name: one._value for name, one in variables.items()}  # noqa: SLF001 -- past assign(), which copies
    try:
        for name, one in variables.items():
            if is_tensor(before[name]):
                one._value = mode.from_tensor(before[name])  # noqa: SLF001 -- see above
                recorder.names[id(one._value)] = name  # noqa: SLF001 -- see above
        yield
    finally:
        for name, one in variables.items():
            one._value = before[name]  # noqa: SLF001 -- see above
