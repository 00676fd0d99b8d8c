"""Weights looked at while they are trained: statistics, updates, and what goes wrong.

The watcher keeps a copy of the weights as they were at the start and at the last look, so it takes
twice their memory. What is recorded is what ``converter plot`` reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from converter.inspection.findings import EXPLODED
from converter.inspection.series import Moment, Point
from converter.inspection.statistics import norm_of
from converter.tensors.dtype import Array

GROWTH = 100.0  # times its norm at the start: no healthy layer grows so much


@dataclass(slots=True)
class Watch:
    """What is known of a training so far.

    Attributes:
        start: Name to values at the first look, ``float64`` of rank 1.
        last: The same at the last look.
        warned: Warnings given before; each is given once.
    """

    start: dict[str, Array] = field(default_factory=dict)
    last: dict[str, Array] = field(default_factory=dict)
    warned: set[tuple[str, str]] = field(default_factory=set)

    def look(self, label: str, arrays: Mapping[str, Array], trained: Mapping[str, bool]) -> Moment:
        """Measure all weights once.

        Args:
            label: The epoch or step.
            arrays: Name to values.
            trained: Name to whether training is meant to change it.
        """
        points, warnings = [], []
        for name, array in arrays.items():
            with np.errstate(all="ignore"):
                now = array.astype(np.float64).reshape(-1)
            norm = norm_of(now) if np.isfinite(now).all() else math.nan
            before, start = self.last.get(name), self.start.setdefault(name, now)
            update = None if before is None else _relative(now, before)
            distance = _relative(now, start)
            points.append(Point(name, _json(norm) or 0.0, _json(update), _json(distance)))
            kind = _trouble(now, start, update, meant=trained.get(name, True))
            if kind is not None and (name, kind) not in self.warned:
                self.warned.add((name, kind))
                warnings.append(_sentence(kind, name, now))
            self.last[name] = now
        return Moment(label, tuple(points), tuple(warnings))


def _relative(now: Array, before: Array) -> float:
    gap = now - before
    if not np.isfinite(gap).all():
        return math.nan
    norm, scale = norm_of(gap), norm_of(before)
    return norm / scale if scale else (math.inf if norm else 0.0)


def _json(value: float | None) -> float | None:
    """Return a number, or ``None`` for what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None


def _trouble(now: Array, start: Array, update: float | None, *, meant: bool) -> str | None:
    """Return what is wrong: ``nan``, ``dead``, ``exploding``, ``frozen`` or ``moved``.

    A tensor of one element, or one that began as zeros, is not called dead.
    """
    if not np.isfinite(now).all():
        return "nan"
    largest = float(np.abs(now).max(initial=0.0))
    first = norm_of(start)
    if largest > EXPLODED or (first > 0 and norm_of(now) > GROWTH * first):
        return "exploding"
    if now.size > 1 and largest == 0.0 and first > 0:
        return "dead"
    if update is None:
        return None
    if meant and update == 0.0:
        return "frozen"
    return "moved" if not meant and update > 0.0 else None


def _sentence(kind: str, name: str, now: Array) -> str:
    if kind == "nan":
        count = int(np.count_nonzero(~np.isfinite(now)))
        return f"not finite: '{name}' has {count:,} of {now.size:,} values NaN or infinite"
    if kind == "exploding":
        return f"exploding: '{name}' has values up to {float(np.abs(now).max()):.3g}"
    if kind == "dead":
        return f"dead: every value of '{name}' has become zero"
    if kind == "frozen":
        return f"frozen: '{name}' is trainable and has not changed since the last look"
    return f"moved: '{name}' is not trainable and has changed"
