"""Where and why two live models differ: traced, localised and explained in one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from converter.execution.conversion import Conversion
from converter.execution.converted import ConvertedCheckpoint
from converter.planning.plan import Plan
from converter.tensors.dtype import Array
from converter.validation.acquitting import without_acquitted
from converter.validation.compensating import Compensation
from converter.validation.explaining import explain, floor_of
from converter.validation.findings import Finding, LayerError
from converter.validation.fitting import distance
from converter.validation.keras_side import KerasSide
from converter.validation.keras_trace import KerasTrace, as_array
from converter.validation.localising import Place, fit_output, run_freely, run_on_keras_values
from converter.validation.pairing import Pair, pair_layers, sources_of
from converter.validation.probabilities import in_one_scale
from converter.validation.running import run_torch
from converter.validation.weighing import GENERAL

_DOUBTFUL_FLOORS = 20.0


@dataclass(frozen=True, slots=True)
class Explained:
    """Where and why two models differ.

    Attributes:
        trace: The error of each layer, in PyTorch's order.
        findings: Every layer that differs.
        changes: State-dict name to the value that makes up for what can be compensated.
    """

    trace: tuple[LayerError, ...] = ()
    findings: tuple[Finding, ...] = ()
    changes: Mapping[str, Array] = field(default_factory=dict)


def find_causes(
    keras: KerasSide,
    module: Any,
    plan: Plan,
    arrays: Mapping[str, Array],
    torch_inputs: tuple[Sequence[Array], Mapping[str, Array]],
) -> Explained:
    """Run both models and say where and why they differ.

    Args:
        keras: The Keras side, in this process or another.
        module: A live ``torch.nn.Module``.
        plan: Keras to PyTorch.
        arrays: Inputs by Keras name.
        torch_inputs: The same in PyTorch's layout, by position and by name.
    """
    import torch

    training = [(one, one.training) for one in module.modules()]
    with keras.tracing(sources_of(plan), arrays) as (trace, layers):
        pairs = pair_layers(plan, layers, module)

        def run(spared: Container[int]) -> list[Place]:
            run_once = partial(run_torch, module, *torch_inputs)
            places, outputs = run_on_keras_values(run_once, pairs, trace, spared)
            return places + _outputs(trace, outputs)

        places = without_acquitted(run, trace)
        free = run_freely(lambda: run_torch(module, *torch_inputs), pairs, trace)
        converted = ConvertedCheckpoint(Conversion(plan, keras.weights()))
        compensation = Compensation()
        module.eval()
        try:
            with torch.no_grad():
                given = places, trace, _planned(converted), compensation
                findings = explain(*given) or _in_doubt(explain(*given, floors=_DOUBTFUL_FLOORS))
                errors = _errors(places, free)
        finally:
            for one, before in training:
                one.training = before
    return Explained(errors, findings, compensation.changes())


def _in_doubt(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return those of small differences whose cause leaves nothing that noise could be taken for.

    Noise has no cause: undoing a mistake that was not made leaves more of it, not a tenth.
    """
    return tuple(one for one in findings if one.cause and one.cause not in GENERAL)


def _outputs(trace: KerasTrace, outputs: Mapping[str, Array]) -> list[Place]:
    """Return the models' outputs as places: what lies behind the last paired layer."""
    tensors = trace.finals()
    if len(tensors) != len(outputs):
        return []
    places = []
    for tensor, found in zip(tensors, outputs.values(), strict=True):
        expected = as_array(tensor)
        best = fit_output(expected, found)
        error = min(best.error, _error_in_one_scale(expected, found))
        places.append(Place(None, None, tensor, found, best.array, error, is_segment=True))
    return places


def _error_in_one_scale(expected: Array, found: Array) -> float:
    """Return how far probabilities and logits are apart in the scale that the verdict compares."""
    import numpy as np

    for one in (found, np.moveaxis(found, 1, -1) if found.ndim > 2 else found):
        if one.shape == expected.shape:
            actual, reference, note = in_one_scale(expected, one)
            if note:
                return distance(reference, actual)
    return math.inf


def _planned(converted: ConvertedCheckpoint) -> Callable[[Pair], dict[str, Array]]:
    def planned(pair: Pair) -> dict[str, Array]:
        prefix = f"{pair.name}."
        return {name.removeprefix(prefix): converted.read(name) for name in pair.tensors}

    return planned


def _errors(places: Sequence[Place], free: Sequence[float]) -> tuple[LayerError, ...]:
    own = [one for one in places if one.pair is not None and not one.is_segment]
    whole: Sequence[float | None] = free if len(free) == len(own) else [None] * len(own)
    return tuple(
        LayerError(one.pair.path, one.pair.name, one.error, floor_of(one), error)
        for one, error in zip(own, whole, strict=True)
        if one.pair is not None
    )


def growth(trace: Sequence[LayerError]) -> str:
    """Return how the error grows where no layer is faulty by itself, a sentence or empty.

    Examples:
        >>> rows = [LayerError("a", "a", 1e-7, 1e-7, 2e-7), LayerError("b", "b", 1e-7, 1e-7, 8e-5)]
        >>> growth(rows)
        "No layer differs by itself: the error grows from 2e-07 at 'a' to 8e-05 at 'b', 400 times."
    """
    known = [
        (one.layer, one.accumulated_error)
        for one in trace
        if one.accumulated_error and math.isfinite(one.accumulated_error)
    ]
    if len(known) < 2:
        return ""
    (first, low), (last, high) = known[0], max(known, key=lambda one: one[1])
    return (
        f"No layer differs by itself: the error grows from {low:.0e} at '{first}' to {high:.0e} at "
        f"'{last}', {high / low:.0f} times."
    )
