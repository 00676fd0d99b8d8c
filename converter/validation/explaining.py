"""From places that differ to findings: each hypothesis is computed, and what is left decides.

A module is repaired in a copy and run again on its layer's own input. What lies between two layers
is foreign code: :mod:`converter.validation.segments`. Where several hypotheses explain a
difference, all of them are said; the same mistake seen by two layers is said once.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from converter.live.torch_module import to_array
from converter.tensors.dtype import Array
from converter.validation.causes import (
    attention,
    convolution,
    dense,
    normalisation,
    precision,
    recurrent,
)
from converter.validation.causes.trial import Suspect, Trial
from converter.validation.compensating import Compensation
from converter.validation.findings import Finding
from converter.validation.keras_trace import KerasTrace, as_array
from converter.validation.localising import Place, fit_output, shaped, unflattened
from converter.validation.pairing import Pair
from converter.validation.report import SMALLEST_FLOOR
from converter.validation.segments import Segment
from converter.validation.weighing import FAULTY_FLOORS, Outcome, Weighing

_LISTS: tuple[tuple[str, Callable[[Suspect, Any], Iterator[Trial]]], ...] = (
    ("BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm GroupNorm RMSNorm", normalisation.trials),
    ("Conv1d Conv2d Conv3d", convolution.trials),
    ("ConvTranspose1d ConvTranspose2d ConvTranspose3d", convolution.trials),
    ("Linear", dense.dense),
    ("Embedding", dense.embedding),
    ("LSTM GRU", recurrent.trials),
    ("MultiheadAttention", attention.trials),
)


def floor_of(place: Place) -> float:
    """Return how far a module is from itself in float64, one rounding where nothing tells."""
    if place.is_segment or place.pair is None:
        return SMALLEST_FLOOR
    try:
        double = copy.deepcopy(place.pair.module).cpu().double()
        given = [one.double() if one.is_floating_point() else one for one in place.args]
        first = _first(double.forward(*given, **place.kwargs))
    except Exception:  # a foreign module may take float32 only
        return SMALLEST_FLOOR
    twin = np.array(to_array(first, "an output"))
    if twin.shape != place.found.shape:
        return SMALLEST_FLOOR
    gap = float(np.linalg.norm(twin - place.found))
    own = gap / max(float(np.linalg.norm(twin)), 1e-30)
    if not math.isfinite(own):
        return SMALLEST_FLOOR
    return max(min(own, 1e-6), SMALLEST_FLOOR)


def differs(place: Place) -> bool:
    """Whether a place differs by more than rounding."""
    if not place.error > FAULTY_FLOORS * SMALLEST_FLOOR:
        return False
    return place.error > FAULTY_FLOORS * floor_of(place)


def explain(
    places: Sequence[Place],
    trace: KerasTrace,
    planned: Callable[[Pair], Mapping[str, Array]],
    compensation: Compensation,
    *,
    floors: float = FAULTY_FLOORS,
) -> tuple[Finding, ...]:
    """Return a finding for each place that differs, in PyTorch's order.

    Args:
        places: What :func:`converter.validation.localising.run_on_keras_values` gave.
        trace: What Keras did.
        planned: Gives a pair's tensors as the plan has them, by their names in the module.
        compensation: Takes the weights that make up for what is found.
        floors: How far a place must differ, in noise floors.
    """
    ran = {id(one.pair.layer) for one in places if one.pair is not None}
    findings: list[Finding] = []
    seen: set[tuple[Any, ...]] = set()
    previous = ""
    for place in places:
        floor = floor_of(place) if place.error > floors * SMALLEST_FLOOR else SMALLEST_FLOOR
        is_faulty = place.error > floors * floor
        if is_faulty and not place.is_segment:
            findings.append(_module(place, trace, planned, floor, compensation))
        elif is_faulty:
            segment = Segment(place, trace, ran, places)
            if segment.is_faulty(floors * floor):
                found, mark = segment.finding(previous, floor, compensation)
                findings += [found] if mark not in seen else []
                seen.add(mark)
        if place.pair is not None and not place.is_segment:
            previous = place.pair.path
    return tuple(findings)


def _module(
    place: Place,
    trace: KerasTrace,
    planned: Callable[[Pair], Mapping[str, Array]],
    floor: float,
    compensation: Compensation,
) -> Finding:
    pair, event = place.pair, place.event
    if pair is None or event is None:
        raise ValueError("a module's place has a pair")
    module = copy.deepcopy(pair.module).cpu()  # where what it was given is
    before: list[Any] = list(shaped(event.inputs[0], trace))
    before += unflattened(event.inputs[0], as_array(event.inputs[0]), trace)
    shape = tuple(before[0].shape[1:]) if before else ()
    suspect = Suspect(
        pair.layer,
        event,
        place.args,
        place.kwargs,
        place.found,
        planned(pair),
        shape,
        place.exact,
    )
    made = as_array(event.result)
    expected = made, unflattened(event.result, made, trace)
    weighing = Weighing(place.error, floor)
    precisely = precision.compute(suspect, module, place.error)
    left = _attempt(weighing, precisely, module, expected)
    # A module that is right when it computes in float64 has no other fault; a hypothesis that
    # computes it by other code would seem to repair it.
    tried: dict[str, Trial] = {}
    if left > weighing.limit:
        for trial in _trials(suspect, module):
            tried[Outcome(trial.cause, 0.0, trial.detail).key] = trial
            _attempt(weighing, trial, module, expected)
    found = weighing.finding(pair.path, pair.name, f"'{pair.path}'")
    best = next(iter(weighing.explaining()), None)
    if best is not None and best.key in tried:
        compensation.add_trial(pair, tried[best.key])
    return replace(found, is_compensated=compensation.knows(pair, found.cause))


def _trials(suspect: Suspect, module: Any) -> Iterator[Trial]:
    kinds = {base.__name__ for base in type(module).__mro__}
    lists = [one for names, one in _LISTS if kinds & set(names.split())]
    if not lists:
        yield from recurrent.own_trials(suspect, module)
    for one in lists:
        yield from one(suspect, module)
    yield from precision.trials(suspect, module)


def _attempt(
    weighing: Weighing, trial: Trial, module: Any, expected: tuple[Array, Sequence[Array]]
) -> float:
    import torch

    def error() -> float:
        other = copy.deepcopy(module)
        with torch.no_grad():
            made = _first(trial.run(other))
        if made is None:
            return math.inf
        array = np.array(to_array(made, "an output"))
        return fit_output(expected[0], array, expected[1]).error

    return weighing.attempt(Outcome(trial.cause, 0.0, trial.detail), error)


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, (tuple, list)) else output
