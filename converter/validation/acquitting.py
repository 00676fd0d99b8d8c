"""Places that differ and are no faults: left alone, nothing behind them differs.

A module may be right and yet not give what its Keras layer gives: it is run step by step because
of a mask, on reversed time, or in both directions where Keras keeps the last step. What it is given
and what it returns then has no counterpart in Keras, but what the model makes of it has. So PyTorch
is run again with its own values at such places. A fault among them shows at the next place, or in
the outputs; where nothing shows there was none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import pairwise

from converter.errors import ConverterError
from converter.validation.explaining import differs
from converter.validation.keras_trace import KerasTrace
from converter.validation.localising import Place
from converter.validation.report import SMALLEST_FLOOR
from converter.validation.weighing import FAULTY_FLOORS

_MAX_RUNS = 24
_MAX_GROUP = 8  # places; of longer groups not every part is tried
_EVERY = range(sys.maxsize)  # positions, whatever the number of places
# A fault that is this much smaller at the next place is none. Averaging over an image, or a flat
# part of a sigmoid, takes away a factor of some tens.
_VANISHED = 1e-4
Run = Callable[[Container[int]], list[Place]]


def without_acquitted(run: Run, trace: KerasTrace) -> list[Place]:
    """Return every place, with the error behind it where it is no fault itself.

    Args:
        run: Runs PyTorch once, with its own values at the places given by their positions, and
            returns all places, those of the outputs last.
        trace: What Keras did.

    Raises:
        UsageError: If the module cannot be run on Keras' values.
    """
    places = _first_run(run)
    suspects = [index for index, place in enumerate(places) if differs(place)]
    acquitted: dict[int, float] = {}
    tried: set[tuple[int, int]] = set()
    for interval in _intervals(suspects, places):
        inside = {one for one in suspects if interval[0] <= one <= interval[1]} - set(acquitted)
        if not inside or interval in tried:
            continue
        if len(tried) >= _MAX_RUNS:
            break
        tried.add(interval)
        behind = _behind(run, places, interval, trace)
        if behind is not None:
            acquitted |= dict.fromkeys(inside, behind)
    for index, behind in acquitted.items():
        places[index].error = behind
    return places


def _first_run(run: Run) -> list[Place]:
    """Run on Keras' values; where their shapes do not fit, on PyTorch's own."""
    try:
        return run(frozenset())
    except ConverterError:
        own = run(_EVERY)
        misfits = (i for i, one in enumerate(own) if one.expected.shape != one.found.shape)
        return run(frozenset(misfits))


def _intervals(suspects: Sequence[int], places: Sequence[Place]) -> Iterator[tuple[int, int]]:
    """Yield what may be no fault together: all, neighbours and their parts, a module's, each."""
    if not suspects:
        return
    yield suspects[0], suspects[-1]
    groups = [[suspects[0]]]
    for before, after in pairwise(suspects):
        if after == before + 1:
            groups[-1].append(after)
        else:
            groups.append([after])
    yield from ((group[0], group[-1]) for group in groups)
    for group in groups:
        for length in range(min(len(group), _MAX_GROUP) - 1, 1, -1):
            for start in range(len(group) - length + 1):
                yield group[start], group[start + length - 1]
    for before, after in pairwise(suspects):
        if places[before].pair is not None and places[before].pair is places[after].pair:
            yield before, after
    yield from ((one, one) for one in suspects)


def _behind(
    run: Run, places: Sequence[Place], interval: tuple[int, int], trace: KerasTrace
) -> float | None:
    """Return the largest error behind an interval of places, ``None`` where it holds a fault."""
    inside = frozenset(range(interval[0], interval[1] + 1))
    next_places = _next_places(places, inside, trace)
    if not next_places:
        return None
    try:
        again = run(inside)
    except ConverterError:
        return None
    if [one.pair for one in again] != [one.pair for one in places]:
        return None
    least = min(places[index].error for index in inside if differs(places[index]))
    limit = min(FAULTY_FLOORS * SMALLEST_FLOOR, _VANISHED * min(1.0, least))
    for index in next_places:
        own = places[index].error
        allowed = limit if index in inside or differs(places[index]) else max(limit, 2 * own)
        if not again[index].error <= allowed:
            return None
    return max(again[index].error for index in next_places)


def _next_places(
    places: Sequence[Place], inside: frozenset[int], trace: KerasTrace
) -> frozenset[int]:
    """Return the places that are reached from some without passing another one.

    There a value is compared, and Keras' own takes its place. The models' outputs are such places
    also where they are inside.
    """
    reached = {id(places[index].target) for index in inside}
    found: set[int] = set()
    by_event: dict[int, list[int]] = {}
    for index, place in enumerate(places):
        if place.event is not None:
            by_event.setdefault(id(place.event), []).append(index)
    for event in trace.events:
        if not any(id(one) in reached for one in event.inputs):
            continue
        own = by_event.get(id(event), [])
        entered = [i for i in own if places[i].is_segment and id(places[i].target) in reached]
        found |= set(entered) - inside
        if own and entered and not set(entered) & inside:
            continue
        left = [index for index in own if not places[index].is_segment]
        found |= set(left) - inside
        if not left or set(left) & inside:
            reached.add(id(event.result))
    outputs = (i for i, one in enumerate(places) if one.event is None)
    return frozenset(found | {i for i in outputs if id(places[i].target) in reached})
