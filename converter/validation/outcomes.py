"""What a validation holds besides its rows: the levels, the controls, a histogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "warn", "fail"]
Status = Literal["pass", "warn", "fail", "not run"]
LevelName = Literal["mapping", "structure", "values", "outputs-random", "outputs"]

# From what needs least to what shows most. Values and outputs do not include one another: values
# cannot see two matrices exchanged on both ways, outputs cannot see a weight that has no effect.
LEVELS: tuple[LevelName, ...] = ("mapping", "structure", "values", "outputs-random", "outputs")


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a validation: what it found, or why it was not run.

    Attributes:
        name: Which one.
        status: ``pass``, ``warn``, ``fail`` or ``not run``.
        sentence: What was found, or why it was not run; not a whole sentence, no full stop.
    """

    name: LevelName
    status: Status
    sentence: str


@dataclass(frozen=True, slots=True)
class Control:
    """The same comparison with a plan that was broken on purpose; it must fail.

    Attributes:
        kind: What was broken: ``swapped``, ``untransposed``, ``gates``, ``mean and variance``, ...
        what: The tensors concerned, one line.
        floors: The largest error of all outputs, in noise floors of that output.
        is_detected: Whether it failed as clearly as a wrong conversion must.
        note: Why it could not be seen, where that is known, or empty.
    """

    kind: str
    what: str
    floors: float
    is_detected: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How the values of the worst output or tensor are distributed on both sides.

    Attributes:
        name: The output or tensor.
        edges: Borders of the bins, one more than there are bins.
        first: Number of values of the first side in each bin.
        second: The same of the second side.
        differences: Number of elements whose absolute difference is in each of the bins of
            ``decades``.
        decades: Powers of ten that border the bins of ``differences``; what is smaller than the
            first or equal is counted in the first bin.
    """

    name: str
    edges: tuple[float, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]
    differences: tuple[int, ...] = ()
    decades: tuple[int, ...] = ()
