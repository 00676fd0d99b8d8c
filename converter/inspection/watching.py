"""Weights looked at while they are trained: statistics, updates, and what goes wrong.

The watcher keeps copies of the weights as they were at the start and at the last look, so it takes
twice their memory, and while it measures a tensor, that one in ``float64``. What is recorded is
what ``converter plot`` reads.
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


@dataclass(frozen=True, slots=True)
class _Seen:
    """The values of a tensor at one moment, a copy of their own type, and their norm."""

    values: Array
    norm: float  # NaN where a value is not finite

    def distance(self, now: Array, norm: float) -> float:
        """Return how far other values are from these, in units of the norm of these."""
        if math.isnan(norm) or math.isnan(self.norm):
            return math.nan
        gap = norm_of(now - _wide(self.values))
        return gap / self.norm if self.norm else (math.inf if gap else 0.0)


@dataclass(slots=True)
class Watch:
    """What is known of a training so far.

    Attributes:
        start: Name to what was seen at the first look.
        last: The same of the last look.
        warned: Warnings given before; each is given once.
    """

    start: dict[str, _Seen] = field(default_factory=dict)
    last: dict[str, _Seen] = field(default_factory=dict)
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
            now = _wide(array)
            norm = norm_of(now) if np.isfinite(now).all() else math.nan
            before, start = self.last.get(name), self.start.get(name)
            update = None if before is None else before.distance(now, norm)
            distance = 0.0 if start is None else start.distance(now, norm)
            points.append(Point(name, _json(norm) or 0.0, _json(update), _json(distance)))
            first = norm if start is None else start.norm
            kind = _trouble(now, norm, first, update, meant=trained.get(name, True))
            if kind is not None and (name, kind) not in self.warned:
                self.warned.add((name, kind))
                warnings.append(_sentence(kind, name, now))
            self.last[name] = _Seen(array.copy(), norm)  # a live one changes under our hands
            self.start.setdefault(name, self.last[name])
        return Moment(label, tuple(points), tuple(warnings))


def _wide(array: Array) -> Array:
    with np.errstate(all="ignore"):  # ml_dtypes warns of NaNs
        return array.astype(np.float64).reshape(-1)


def _json(value: float | None) -> float | None:
    """Return a number, or ``None`` for what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None


def _trouble(
    now: Array, norm: float, first: float, update: float | None, *, meant: bool
) -> str | None:
    """Return what is wrong: ``nan``, ``dead``, ``exploding``, ``frozen`` or ``moved``.

    A tensor of one element, or one that began as zeros, is not called dead.
    """
    if math.isnan(norm):
        return "nan"
    if (norm > EXPLODED and float(np.abs(now).max()) > EXPLODED) or 0 < first < norm / GROWTH:
        return "exploding"
    if now.size > 1 and norm == 0.0 and first > 0:
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
