"""What ``--json`` prints where values were looked at: statistics, differences, plots, edits."""

from __future__ import annotations

import msgspec

VERSION = 1

Number = float | str | None  # texts are "nan", "inf" and "-inf"


class Statistics(msgspec.Struct, frozen=True):
    """Numbers that describe one tensor; what is not finite is counted and left out of the others.

    ``std`` is that of the population; ``norm`` is the root of the sum of squares;
    ``effective_dtype`` is the narrowest floating type that holds every value exactly; ``units`` is
    the number of slices along the axis of units (0 where that is not known) and ``dead`` has the
    indices of those that are all zero; ``digest`` is equal for equal bytes.
    """

    elements: int
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    norm: float
    zeros: int
    nan: int
    infinite: int
    effective_dtype: str
    units: int
    dead: list[int]
    digest: str


class Parameters(msgspec.Struct, frozen=True):
    """Numbers of elements: of all tensors, and of those that training changes, or not, if known."""

    total: int
    trainable: int
    not_trainable: int
    unknown: int


class TensorDifference(msgspec.Struct, frozen=True):
    """One tensor of two checkpoints; numbers are relative to the first.

    ``status`` is ``same``, ``changed``, ``mismatched``, ``only_first`` or ``only_second``;
    ``relative_l2`` is ``"inf"`` where the first is zero; ``where`` is the index of the largest
    absolute difference; ``changed`` counts elements that are not the same.
    """

    name: str
    status: str
    shape: list[int]
    relative_l2: Number
    max_absolute: float
    where: list[int]
    cosine: float
    changed: int
    elements: int
    note: str


class Difference(msgspec.Struct, frozen=True):
    """What ``diff`` found; tensors that differ come first, by how far they changed."""

    first: str
    second: str
    same: int
    changed: int
    mismatched: int
    only_first: int
    only_second: int
    tensors: list[TensorDifference]
    schema: int = VERSION


class Plot(msgspec.Struct, frozen=True):
    """What ``plot`` drew: of which files, into which file, and which kinds of plots."""

    sources: list[str]
    out: str
    kinds: list[str]
    schema: int = VERSION


class Averaged(msgspec.Struct, frozen=True):
    """What ``average`` wrote: of which checkpoints, the files, their size, and how long it took."""

    sources: list[str]
    files: list[str]
    nbytes: int
    tensors: int
    seconds: float
    schema: int = VERSION
