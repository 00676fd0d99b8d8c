"""Numbers that describe one tensor, taken in one pass and in bounded memory.

Everything is computed in ``float64``. What is not finite is counted, and left out of all other
numbers. Decides what is measured, and nothing about what is good or bad.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converter.algebra.copying import contiguous
from converter.formats.base import Checkpoint
from converter.inspection.narrowing import Narrowing
from converter.inspection.pieces import Piece, read_pieces
from converter.tensors.dtype import Array, DType


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the values of one tensor are like.

    Attributes:
        elements: Number of elements.
        mean: Mean; ``None`` for this and the next three where no element is finite.
        std: Standard deviation of the population (divided by ``n``).
        minimum: Smallest value.
        maximum: Largest value.
        norm: Square root of the sum of squares; 0 where no element is finite.
        zeros: Number of elements that are zero, of either sign.
        nan: Number of elements that are not a number.
        infinite: Number of elements that are infinite.
        effective_dtype: The narrowest floating type that holds every value exactly; that of the
            tensor where none narrower does, and where the tensor is not floating.
        units: Number of slices along the axis of units; 0 where that axis is not known.
        dead: Indices of the slices along it in which every value is zero.
        digest: BLAKE2 of the values, hexadecimal; equal for equal bytes.
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
    units: int = 0
    dead: tuple[int, ...] = ()
    digest: str = ""

    @property
    def largest(self) -> float:
        """The largest absolute value; 0 where no element is finite."""
        return max(abs(self.minimum or 0.0), abs(self.maximum or 0.0))

    @property
    def is_constant(self) -> bool:
        """Whether all elements are one finite number."""
        return self.elements > 0 and self.minimum == self.maximum and not self.nan + self.infinite


def has_numbers(dtype: DType) -> bool:
    """Whether values of this type can be described: neither packed, complex nor bare exponents."""
    return not (
        dtype.is_packed or dtype.name.startswith("complex") or dtype.name == "float8_e8m0fnu"
    )


def measure_tensor(
    checkpoint: Checkpoint, name: str, unit_axis: int | None = None
) -> Statistics | None:
    """Measure one tensor of a checkpoint, or return ``None`` where it holds no plain numbers.

    Args:
        checkpoint: An open checkpoint.
        name: A tensor of its manifest.
        unit_axis: The axis whose slices are units (channels, neurons), or ``None``.

    Raises:
        CorruptFileError: If the values are not where the file says.
    """
    spec = checkpoint.manifest[name]
    if not has_numbers(spec.dtype):
        return None
    meter = Meter(spec.shape, spec.dtype, unit_axis)
    for piece in read_pieces(checkpoint, name):
        meter.add(piece)
    return meter.result()


@dataclass(slots=True)
class Meter:
    """Measures the pieces of one tensor.

    Attributes:
        shape: Size of each axis.
        dtype: Element type; see :func:`has_numbers`.
        unit_axis: The axis whose slices are units, or ``None``.
    """

    shape: tuple[int, ...]
    dtype: DType
    unit_axis: int | None = None
    _moments: Moments = field(init=False)
    _narrowing: Narrowing = field(init=False)
    _alive: Array | None = field(init=False)
    _digest: Any = field(init=False)

    def __post_init__(self) -> None:
        self._moments = Moments()
        self._narrowing = Narrowing(self.dtype)
        units = 0 if self.unit_axis is None else self.shape[self.unit_axis]
        self._alive = np.zeros(units, np.bool_) if self.unit_axis is not None else None
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, piece: Piece) -> None:
        """Take one piece; pieces come in C order."""
        array = contiguous(piece.array)
        self._digest.update(array.reshape(-1).view(np.uint8))
        flat = array.reshape(-1)
        with np.errstate(all="ignore"):  # ml_dtypes warns of NaNs
            wide = flat.astype(np.float64)
        self._moments.add(wide)
        self._narrowing.add(flat, wide)
        if self._alive is not None and self.unit_axis is not None:
            self._mark_alive(piece, wide.reshape(array.shape) != 0, self.unit_axis, self._alive)

    def _mark_alive(self, piece: Piece, nonzero: Array, axis: int, alive: Array) -> None:
        given = len(piece.indices)
        if axis < given:
            alive[piece.indices[axis]] |= bool(nonzero.any())
            return
        inner = axis - given
        others = tuple(other for other in range(nonzero.ndim) if other != inner)
        found = nonzero.any(axis=others)
        begin = piece.start if inner == 0 else 0
        alive[begin : begin + found.size] |= found

    def result(self) -> Statistics:
        """Return the numbers of everything that was added."""
        moments = self._moments
        has_any = moments.finite > 0
        dead = () if self._alive is None else tuple(int(n) for n in np.flatnonzero(~self._alive))
        return Statistics(
            elements=moments.elements,
            mean=moments.mean if has_any else None,
            std=moments.std if has_any else None,
            minimum=moments.minimum if has_any else None,
            maximum=moments.maximum if has_any else None,
            norm=moments.norm,
            zeros=moments.zeros,
            nan=moments.nan,
            infinite=moments.infinite,
            effective_dtype=self._narrowing.result(),
            units=0 if self._alive is None else self._alive.size,
            dead=dead if moments.elements else (),
            digest=self._digest.hexdigest(),
        )


@dataclass(slots=True)
class Moments:
    """Counts, sums and extremes of numbers that come in pieces.

    Means and variances of the pieces are joined as Chan, Golub and LeVeque do: no sum of squares
    is subtracted from another, so a small spread around a large mean keeps its digits.

    Source: Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances", Stanford STAN-CS-79-773, 1979, formula 2.1.
    """

    elements: int = 0
    finite: int = 0
    zeros: int = 0
    nan: int = 0
    infinite: int = 0
    mean: float = 0.0
    spread: float = 0.0  # sum of squared distances from the mean
    norm: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf

    def add(self, values: Array) -> None:
        """Take more numbers, ``float64`` of rank 1."""
        self.elements += values.size
        finite = np.isfinite(values)
        if not finite.all():
            nan = int(np.count_nonzero(np.isnan(values)))
            self.nan += nan
            values = values[finite]
            self.infinite += finite.size - values.size - nan
        if not values.size:
            return
        self.zeros += int(values.size - np.count_nonzero(values))
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        self.norm = math.hypot(self.norm, norm_of(values))
        self._join(values)

    def _join(self, values: Array) -> None:
        count = self.finite + values.size
        # Scaled, so that the sum of numbers near the largest of the type does not overflow.
        scale = float(np.abs(values).max()) or 1.0
        mean = float(np.mean(values / scale)) * scale if scale > 1e300 else float(np.mean(values))
        with np.errstate(over="ignore"):
            spread = float(np.sum((values - mean) ** 2))
        distance = mean - self.mean
        self.spread += spread + distance * distance * (self.finite * values.size / count)
        self.mean += distance * (values.size / count)
        self.finite = count

    @property
    def std(self) -> float:
        """Standard deviation of the population; infinite where squares overflow ``float64``."""
        return math.sqrt(self.spread / self.finite) if self.finite else 0.0


def norm_of(values: Array) -> float:
    """Return the norm of finite numbers; scaled, so that squares neither overflow nor vanish."""
    scale = float(np.abs(values).max(initial=0.0))
    if scale == 0.0:
        return 0.0
    if 1e-100 < scale < 1e100:
        return math.sqrt(float(np.dot(values.reshape(-1), values.reshape(-1))))
    return scale * float(np.sqrt(np.sum((values / scale) ** 2)))
