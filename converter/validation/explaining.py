"""From places that differ to findings: each hypothesis is computed, and what is left decides.

A module is repaired in a copy and run again on its layer's own input. What lies between two layers
is foreign code, so there the Keras side is computed with a mistake in it: the mistake that gives
what PyTorch has is the one that PyTorch makes. Where several do, all of them are said.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from converter.validation.causes.between import boundary, variants
from converter.validation.causes.table import CAUSES
from converter.validation.causes.trial import Suspect, Trial
from converter.validation.findings import Finding
from converter.validation.fitting import distance
from converter.validation.keras_trace import Event, KerasTrace, as_array
from converter.validation.localising import Place, crops, fit_input, fit_output, shaped
from converter.validation.pairing import Pair
from converter.validation.report import SMALLEST_FLOOR

FAULTY_FLOORS = 100.0
_CLEAR = 10.0  # a cause is named where it leaves at most a tenth of the error
_LISTS: tuple[tuple[str, Callable[[Suspect, Any], Iterator[Trial]]], ...] = (
    ("BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm GroupNorm RMSNorm", normalisation.trials),
    ("Conv1d Conv2d Conv3d", convolution.trials),
    ("ConvTranspose1d ConvTranspose2d ConvTranspose3d", convolution.trials),
    ("Linear", dense.dense),
    ("Embedding", dense.embedding),
    ("LSTM GRU", recurrent.trials),
    ("MultiheadAttention", attention.trials),
)
_GENERAL = frozenset({"other_weights", "tf32", "bfloat16_compute", "float16_compute", "shifted"})


def floor_of(place: Place) -> float:
    """Return how far a module is from itself in float64, one rounding where nothing tells."""
    if place.is_segment or place.pair is None:
        return SMALLEST_FLOOR
    double = copy.deepcopy(place.pair.module).double()
    try:
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


def explain(
    places: Sequence[Place],
    trace: KerasTrace,
    planned: Callable[[Pair], Mapping[str, Array]],
) -> tuple[Finding, ...]:
    """Return a finding for each place that differs, in PyTorch's order.

    Args:
        places: What :func:`converter.validation.localising.run_on_keras_values` gave.
        trace: What Keras did.
        planned: Gives a pair's tensors as the plan has them, by their names in the module.
    """
    ran = {id(one.pair.layer) for one in places if one.pair is not None}
    findings = []
    previous = ""
    for place in places:
        floor = floor_of(place) if place.error > FAULTY_FLOORS * SMALLEST_FLOOR else SMALLEST_FLOOR
        if place.error > FAULTY_FLOORS * floor:
            if place.is_segment:
                found = _Segment(place, trace, ran, places).finding(previous, floor)
            else:
                found = _module(place, trace, planned, floor)
            findings.append(found)
        if place.pair is not None and not place.is_segment:
            previous = place.pair.path
    return tuple(findings)


def _module(
    place: Place,
    trace: KerasTrace,
    planned: Callable[[Pair], Mapping[str, Array]],
    floor: float,
) -> Finding:
    pair, event = place.pair, place.event
    if pair is None or event is None:
        raise ValueError("a module's place has a pair")
    before = list(shaped(event.inputs[0], trace))
    shape = tuple(before[0].shape[1:]) if before else ()
    suspect = Suspect(
        pair.layer, event, place.args, place.kwargs, place.found, planned(pair), shape
    )
    expected = as_array(event.result)
    left: dict[str, tuple[float, str]] = {}
    details: dict[str, tuple[str, str]] = {}
    for trial in _trials(suspect, pair.module):
        error = _left(trial, pair.module, expected)
        key = f"{trial.cause} {trial.detail}".strip()
        left[key] = (error, trial.cause)
        details[key] = (trial.detail, "")
    return _finding((pair.path, pair.name, f"'{pair.path}'"), place.error, floor, left, details)


def _trials(suspect: Suspect, module: Any) -> Iterator[Trial]:
    kinds = {base.__name__ for base in type(module).__mro__}
    for names, one in _LISTS:
        if kinds & set(names.split()):
            yield from one(suspect, module)
    yield from precision.trials(suspect, module)


def _left(trial: Trial, module: Any, expected: Array) -> float:
    import torch

    other = copy.deepcopy(module)
    try:
        with torch.no_grad():
            made = _first(trial.run(other))
    except Exception:  # a repair that does not fit this module is none
        return math.inf
    if made is None:
        return math.inf
    return fit_output(expected, np.array(to_array(made, "an output"))).error


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, (tuple, list)) else output


class _Segment:
    """What lies between the paired layers before a place and the place itself."""

    def __init__(
        self, place: Place, trace: KerasTrace, paired: set[int], places: Sequence[Place]
    ) -> None:
        self._place = place
        self._whole = {id(one.target): one.found for one in places if not one.is_segment}
        self._trace = trace
        self._chain: list[Event] = []
        self._edges: list[Any] = []
        self._collect(place.target, paired)
        self._chain.sort(key=trace.events.index)

    def _collect(self, tensor: Any, paired: set[int]) -> None:
        event = self._trace.made_by(tensor)
        if event is None or (id(event.layer) in paired and not event.is_activation):
            if all(one is not tensor for one in self._edges):
                self._edges.append(tensor)
            return
        if event in self._chain:
            return
        self._chain.append(event)
        for one in event.inputs:
            self._collect(one, paired)

    def finding(self, previous: str, floor: float) -> Finding:
        left: dict[str, tuple[float, str]] = {}
        details: dict[str, tuple[str, str]] = {}
        for event in self._chain:
            for one in variants(event):
                error = self._error(event.result, event.inputs, one.compute)
                key = f"{one.cause} at {event.name} {one.detail}".strip()
                left[key], details[key] = (error, one.cause), (one.detail, one.fix)
        for edge in self._edges:
            for cause, detail, change in boundary(as_array(edge)):
                error = self._error(edge, [edge], change)
                key = f"{cause} {detail}".strip()
                left[key], details[key] = (error, cause), (detail, "")
            for start, cut in crops(as_array(edge), self._whole.get(id(edge))):
                key = f"transpose_padding from {start}"
                left[key] = self._error(edge, [edge], lambda _, c=cut: c), "transpose_padding"
                details[key] = (f"all but Keras' rows and columns; PyTorch begins at {start}", "")
        self._padding(left, details)
        best = min(left, key=lambda key: left[key][0], default="")
        names = [one.name for one in self._chain if f" at {one.name} " in f"{best} "]
        pair = self._place.pair
        after = pair.path if pair is not None else "the output"
        where = f"between '{previous or 'the input'}' and '{after}'"
        name = names[0] if names else after
        place = f"{where}, at '{name}'" if names else where
        module = pair.name if pair is not None else ""
        return _finding((name, module, place), self._place.error, floor, left, details)

    def _padding(
        self, left: dict[str, tuple[float, str]], details: dict[str, tuple[str, str]]
    ) -> None:
        """Try zeros on other sides, where the model pads for a convolution before it."""
        event, found = self._place.event, self._place.found
        if event is None or getattr(event.layer, "padding", "") not in ("same", "causal"):
            return
        array = np.moveaxis(as_array(self._place.target), -1, 1)
        if array.ndim != found.ndim or array.shape[:2] != found.shape[:2]:
            return
        extra = [b - a for a, b in zip(array.shape[2:], found.shape[2:], strict=True)]
        if min(extra) < 0:
            return
        for before in itertools.product(*(range(one + 1) for one in extra)):
            sides = [(a, n - a) for a, n in zip(before, extra, strict=True)]
            key = f"same_padding {sides}"
            padded = np.pad(array, [(0, 0), (0, 0), *sides])
            left[key] = distance(found, padded), "same_padding"
            details[key] = (f"PyTorch has {sides}", "")

    def _error(self, made: Any, inputs: list[Any], compute: Callable[..., Array]) -> float:
        """Return how far PyTorch's value is from Keras' with one event computed otherwise."""
        try:
            value = compute(*(as_array(one) for one in inputs))
            changed = self._recomputed(made, value)
            return self._fit(changed)
        except Exception:  # a mistake that is none for these shapes
            return math.inf

    def _recomputed(self, made: Any, value: Array) -> dict[int, Any]:
        import keras

        new = {id(made): keras.ops.convert_to_tensor(np.ascontiguousarray(value))}
        for event in self._chain:
            if event.result is made or not any(id(one) in new for one in event.inputs):
                continue
            args, kwargs = keras.tree.map_structure(
                lambda one: new.get(id(one), one), (event.args, dict(event.kwargs))
            )
            new[id(event.result)] = event.call(*args, **kwargs)
        return new

    def _fit(self, changed: Mapping[int, Any]) -> float:
        target, found = self._place.target, self._place.found

        def value(tensor: Any) -> Any:
            return changed.get(id(tensor), tensor)

        if self._place.event is None:
            return fit_output(as_array(value(target)), found).error
        return fit_input(self._place.event, target, found, self._trace, value).error


def _finding(
    where: tuple[str, str, str],
    error: float,
    floor: float,
    left: Mapping[str, tuple[float, str]],
    details: Mapping[str, tuple[str, str]],
) -> Finding:
    layer, module, place = where
    finite = {key: one for key, one in left.items() if math.isfinite(one[0])}
    evidence = {key: one[0] for key, one in finite.items()}
    limit = min(FAULTY_FLOORS * floor, error / _CLEAR)
    good = [key for key, one in finite.items() if one[0] <= limit]
    special = [key for key in good if finite[key][1] not in _GENERAL] or good
    gap = f"relative L2 error {error:.1e}, floor {floor:.0e}"
    if not special:
        told = f"{place} differs ({gap}), and none of {len(left)} causes tried explains it."
        return Finding(layer, module, error, floor, "", _capital(told), evidence)
    best = min(special, key=lambda key: finite[key][0])
    cause = finite[best][1]
    entry, (detail, fix) = CAUSES[cause], details[best]
    what = entry.sentence.format(detail=detail, fix=fix)
    told = f"{place}: {what} ({gap}; {finite[best][0]:.1e} is left when it is undone)."
    others = sorted({finite[key][1] for key in special} - {cause})
    if others:
        told += f" It cannot be told from: {', '.join(others)}."
    repair = entry.fix.format(detail=detail, fix=fix)
    sentence = _capital(told)
    return Finding(layer, module, error, floor, cause, sentence, evidence, entry.by_weights, repair)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
