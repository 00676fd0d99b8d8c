"""Why what lies between two paired layers differs: Keras is computed with a mistake in it.

Between two layers is foreign code, so the Keras side is computed with one event changed, or with
the value at its start changed: the mistake that gives what PyTorch has is the one that it makes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from converter.tensors.dtype import Array
from converter.validation.causes.between import boundary, variants
from converter.validation.causes.precision import half_of
from converter.validation.compensating import Compensation
from converter.validation.findings import Finding
from converter.validation.fitting import distance
from converter.validation.keras_trace import Event, KerasTrace, as_array, rounded
from converter.validation.localising import Place, crops, fit_input, fit_output
from converter.validation.weighing import Outcome, Weighing

_HALVES = {"bfloat16": "bfloat16_compute", "float16": "float16_compute"}


class Segment:
    """What lies between the paired layers before a place and the place itself.

    Args:
        place: The place.
        trace: What Keras did.
        paired: Identities of the layers that have a module.
        places: Every place of the run.
    """

    def __init__(
        self, place: Place, trace: KerasTrace, paired: set[int], places: Sequence[Place]
    ) -> None:
        self._place = place
        self._whole = {id(one.target): one.found for one in places if not one.is_segment}
        self._pairs = [one.pair for one in places if one.pair is not None]
        self._trace = trace
        self._chain: list[Event] = []
        self._edges: list[Any] = []
        self._collect(place.target, paired)
        self._chain.sort(key=trace.events.index)
        self._rounded = {
            id(one): self._whole[id(one)].dtype
            for one in self._edges
            if id(one) in self._whole and self._whole[id(one)].dtype.name in _HALVES
        }

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

    def is_faulty(self, limit: float) -> bool:
        """Whether it differs by more than that values were handed over in 16 bits.

        Where they are, the modules at both ends compute so, and that is found there.
        """
        is_half = self._place.found.dtype.name in _HALVES
        if not self._rounded and not is_half:
            return True
        changed = self._recomputed({})
        if is_half:
            changed = self._with_target_rounded(changed, self._place.found.dtype)
        return self._fit(changed) > limit

    def finding(
        self, previous: str, floor: float, compensation: Compensation
    ) -> tuple[Finding, tuple[Any, ...]]:
        """Return the finding, and what tells whether another segment found the same.

        Args:
            previous: Path of the layer before it.
            floor: Its noise floor.
            compensation: Takes the weights that make up for it.
        """
        weighing = Weighing(self._place.error, floor)
        where: dict[str, Any] = {}
        for event in self._chain:
            for one in variants(event):
                outcome = Outcome(one.cause, 0.0, one.detail, one.fix, event.name)
                where[outcome.key] = event
                self._attempt(weighing, outcome, event.result, event.inputs, one.compute)
        for edge in self._edges:
            for outcome, change in self._at(edge):
                where.setdefault(outcome.key, edge)
                self._attempt(weighing, outcome, edge, [edge], change)
        self._padding(weighing)
        self._precision(weighing)
        best = next(iter(weighing.explaining()), None)
        pair = self._place.pair
        after = pair.path if pair is not None else "the output"
        place = f"between '{previous or 'the input'}' and '{after}'"
        name = after
        if best is not None and best.place:
            name, place = best.place, f"{place}, at '{best.place}'"
        found = weighing.finding(name, pair.name if pair is not None else "", place)
        if best is not None and self._compensate(best, where.get(best.key), compensation):
            found = replace(found, is_compensated=True, by_weights=True)
        origin = where.get(best.key, self._place.target) if best else self._place.target
        return found, (found.cause, best.detail if best else "", id(origin))

    def _compensate(self, best: Outcome, origin: Any, compensation: Compensation) -> bool:
        """Say whether weights of the module before it, or after it, make up for it."""
        if best.cause == "channel_order" and self._place.pair is not None:
            return compensation.add_channels(self._place.pair)
        if not isinstance(origin, Event) or not origin.is_activation:
            return False
        pair = next((one for one in self._pairs if one.layer is origin.layer), None)
        return pair is not None and compensation.add_hard_sigmoid(
            pair, partial(self._trace.apply, origin), best.detail
        )

    def _at(self, edge: Any) -> list[tuple[Outcome, Callable[[Array], Array]]]:
        """Return what may have been done to the value at the start."""
        array = as_array(edge)
        found: list[tuple[Outcome, Callable[[Array], Array]]] = [
            (Outcome(cause, 0.0, detail), change) for cause, detail, change in boundary(array)
        ]
        event = self._trace.made_by(edge)
        if event is None or event.is_activation or not hasattr(event.layer, "kernel_size"):
            return found
        cause = "same_padding"
        if "Transpose" in type(event.layer).__name__:
            cause = "transpose_padding"
        elif event.layer.padding == "causal":
            cause = "causal_padding"
        for start, cut in crops(array, self._whole.get(id(edge))):
            told = f"all but Keras' rows and columns; PyTorch begins at {start}"
            found.append((Outcome(cause, 0.0, told), partial(_always, cut)))
        return found

    def _padding(self, weighing: Weighing) -> None:
        """Try zeros on other sides, where the model pads for a convolution before it."""
        event, found = self._place.event, self._place.found
        if event is None or getattr(event.layer, "padding", "") not in ("same", "causal"):
            return
        cause = "causal_padding" if event.layer.padding == "causal" else "same_padding"
        array = np.moveaxis(as_array(self._place.target), -1, 1)
        if array.ndim != found.ndim or array.shape[:2] != found.shape[:2]:
            return
        extra = [b - a for a, b in zip(array.shape[2:], found.shape[2:], strict=True)]
        if min(extra) < 0:
            return
        for before in itertools.product(*(range(one + 1) for one in extra)):
            sides = [(a, n - a) for a, n in zip(before, extra, strict=True)]
            padded = np.pad(array, [(0, 0), (0, 0), *sides])
            outcome = Outcome(cause, 0.0, f"PyTorch has {sides}")
            weighing.attempt(outcome, partial(distance, found, padded))

    def _precision(self, weighing: Weighing) -> None:
        """Try to compute everything in 16 bits, or only the end, where what PyTorch has is that."""
        kind = half_of(self._place.found)
        if kind is None:
            return
        outcome = Outcome(_HALVES[kind.name], 0.0)
        weighing.attempt(outcome, lambda: self._fit(self._recomputed({}, kind)))
        last = self._recomputed({})
        weighing.attempt(outcome, lambda: self._fit(self._with_target_rounded(last, kind)))

    def _with_target_rounded(self, changed: dict[int, Any], kind: Any) -> dict[int, Any]:
        target = self._place.target
        value = as_array(changed.get(id(target), target))
        return {**changed, id(target): rounded(value, kind)}

    def _attempt(
        self,
        weighing: Weighing,
        outcome: Outcome,
        made: Any,
        inputs: list[Any],
        compute: Callable[..., Any],
    ) -> None:
        """Try to compute one tensor otherwise."""

        def error() -> float:
            before = self._recomputed({})
            value = compute(*(as_array(before.get(id(one), one)) for one in inputs))
            return self._fit(self._recomputed({id(made): value}))

        weighing.attempt(outcome, error)

    def _recomputed(self, values: Mapping[int, Array], kind: Any = None) -> dict[int, Any]:
        """Return every tensor of the segment that is another when some are."""
        halves = {
            id(edge): rounded(as_array(edge), self._rounded[id(edge)])
            for edge in self._edges
            if id(edge) in self._rounded
        }
        given = {**halves, **values}
        return self._trace.recompute(self._chain, given, kind) if given or kind is not None else {}

    def _fit(self, changed: Mapping[int, Any]) -> float:
        target, found = self._place.target, self._place.found

        def value(tensor: Any) -> Any:
            return changed.get(id(tensor), tensor)

        if self._place.event is None:
            return fit_output(as_array(value(target)), found).error
        return fit_input(self._place.event, target, found, self._trace, value).error


def _always(value: Array, _: Array) -> Array:
    return value
