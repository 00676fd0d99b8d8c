"""The verdict on a comparison: rows, how they are judged, and how they are told.

An error is judged by the noise floor: how far the PyTorch side in float32 is from itself in
float64. Up to 30 floors it is the order of additions; beyond 300 it has a cause.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from converter.tensors.dtype import Array
from converter.validation import telling
from converter.validation.findings import Finding, LayerError
from converter.validation.outcomes import Control, Histogram, Level, LevelName, Verdict
from converter.validation.telling import times

PASS_FLOORS = 30.0
WARN_FLOORS = 300.0
# Half of the spacing of float32 around 1: one rounding. A model that happens to compute exactly has
# a floor of 0, and its twin may still round once.
SMALLEST_FLOOR = 2.0**-24

_ORDER: tuple[Verdict, ...] = ("pass", "warn", "fail")


def judge(error: float, floor: float) -> Verdict:
    """Return the verdict on an error.

    Args:
        error: Relative L2 error.
        floor: The noise floor in the same measure; taken as one rounding where smaller.

    Examples:
        >>> judge(2e-6, 1e-7), judge(2e-5, 1e-7), judge(2e-4, 1e-7), judge(0.0, 0.0)
        ('pass', 'warn', 'fail', 'pass')
        >>> judge(float("nan"), 1e-7)
        'fail'
    """
    ratio = error / max(floor, SMALLEST_FLOOR)
    if ratio <= PASS_FLOORS:
        return "pass"
    return "warn" if ratio <= WARN_FLOORS else "fail"


@dataclass(frozen=True, slots=True)
class Row:
    """One output, or one tensor, of both sides.

    Attributes:
        name: Name on the Keras (or first) side.
        other: Name on the PyTorch (or second) side.
        verdict: ``pass``, ``warn`` or ``fail``.
        shape: Shape on the first side.
        error: Relative L2 error; ``None`` where the two could not be compared.
        floor: Noise floor in the same measure, ``None`` where none applies.
        max_absolute: Largest absolute difference.
        max_relative: The same, relative to the largest value.
        where: Index of the largest difference.
        cosine: Cosine of the angle between both.
        kl: Mean Kullback-Leibler divergence of the first side's probabilities from the second's,
            in nats; ``None`` where the output is not known to be one of a classifier.
        agreement: Share of samples (positions) whose most probable class is the same, likewise.
        note: What else there is to say, a sentence, or empty.
    """

    name: str
    other: str
    verdict: Verdict
    shape: tuple[int, ...]
    error: float | None = None
    floor: float | None = None
    max_absolute: float | None = None
    max_relative: float | None = None
    where: tuple[int, ...] = ()
    cosine: float | None = None
    note: str = ""
    kl: float | None = None
    agreement: float | None = None

    @property
    def floors(self) -> float | None:
        """The error in noise floors."""
        if self.error is None or self.floor is None:
            return None
        return self.error / max(self.floor, SMALLEST_FLOOR)

    def line(self) -> str:
        """Return the row as one line of text."""
        name = self.name if self.name == self.other else f"{self.name} / {self.other}"
        is_known = bool(self.shape) or self.error is not None
        parts = [f"{self.verdict:<4}  {name}", *([shape_or_scalar(self.shape)] if is_known else [])]
        if self.error is not None:
            parts.append(f"relative L2 {self.error:.2e}")
        if self.floor is not None:
            parts.append(f"floor {self.floor:.2e}  {times(self.floors)} floor")
        if self.max_absolute is not None:
            place = f" at {list(self.where)}" if self.max_absolute and self.where else ""
            parts.append(f"largest {self.max_absolute:.2e}{place}")
        if self.kl is not None:
            parts.append(f"KL {self.kl:.1e}")
        if self.note:
            parts.append(self.note)
        return "  ".join(parts)


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a comparison.

    Attributes:
        level: The strongest level that was run.
        rows: One for each output or tensor of that level, and those that failed at the others.
        compared: How many outputs or tensors there are; rows of equal tensors may be left out.
        notices: What makes the result weaker than it looks, as whole sentences.
        settings: Seed, batch, versions, hashes and the like, to reproduce it.
        findings: Which layers differ and why; empty where nothing differs or nothing was looked
            for.
        trace: The error of each layer, in the order of the model; empty where it was not looked
            for.
        levels: All levels, with what they found or why they were not run.
        controls: The comparisons that had to fail.
        histogram: The values of the worst output or tensor, where there is one.
        changes: PyTorch name to the value that makes up for the findings that are compensated; not
            part of :meth:`to_json`.
    """

    level: LevelName
    rows: tuple[Row, ...]
    compared: int
    notices: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    trace: tuple[LayerError, ...] = ()
    levels: tuple[Level, ...] = ()
    controls: tuple[Control, ...] = ()
    histogram: Histogram | None = None
    changes: Mapping[str, Array] = field(default_factory=dict, repr=False, compare=False)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all rows and levels; ``fail`` where nothing was compared.

        A comparison that does not see what was broken on purpose proves nothing: ``warn``.
        """
        if not self.compared:
            return "fail"
        found: list[Verdict] = [row.verdict for row in self.rows]
        found += [level.status for level in self.levels if level.status != "not run"]
        found += ["warn" for control in self.controls if not control.is_detected]
        return worst(found)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return self.verdict != "fail"

    def to_json(self) -> dict[str, Any]:
        """Return plain data; numbers that JSON has no word for are texts (``"nan"``)."""
        rows = [{**asdict(row), "floors": row.floors} for row in self.rows]
        plain = {
            "level": self.level,
            "verdict": self.verdict,
            "compared": self.compared,
            "rows": rows,
            "notices": list(self.notices),
            "settings": dict(self.settings),
            "findings": [asdict(one) for one in self.findings],
            "trace": [asdict(one) for one in self.trace],
            "levels": [asdict(one) for one in self.levels],
            "controls": [asdict(one) for one in self.controls],
            "histogram": None if self.histogram is None else asdict(self.histogram),
        }
        cleaned: dict[str, Any] = _plain(plain)
        return cleaned

    def lines(self) -> list[str]:
        """Return the report as lines of text, the verdict first."""
        return telling.lines(self)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of some verdicts, ``pass`` of none."""
    return max(verdicts, key=_ORDER.index, default="pass")


def shape_or_scalar(shape: tuple[int, ...]) -> str:
    """Return a shape as sizes joined by ``x``.

    Examples:
        >>> shape_or_scalar((3, 10)), shape_or_scalar(())
        ('3x10', 'scalar')
    """
    return "x".join(map(str, shape)) or "scalar"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return str(value)  # torch.__version__ is of a class of its own
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
