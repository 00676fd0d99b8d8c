"""Operations that change values, or make and check them where one side has no tensor.

Arithmetic is done in ``float64`` and rounded once to the dtype of the tensor; ``float64`` itself
has no wider type and is rounded by the arithmetic. Integers are never cast and never calculated
with: a counter is not a number of the model.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from converter.algebra.assembly import Assembly, Piece
from converter.algebra.base import Block, Law, Operation
from converter.algebra.casting import FLOAT64, allows_arithmetic, convert, is_widening
from converter.algebra.checks import require_sources
from converter.algebra.constants import Constant, Derive, Discard, Expect
from converter.algebra.copying import contiguous, native
from converter.errors import OperationError
from converter.tensors.dtype import Array, DType, Shape, get_dtype

__all__ = ["Cast", "Constant", "Derive", "Discard", "Elementwise", "Expect", "Offset", "Scale"]

_CHUNK = 1 << 18  # elements; the wider intermediate values stay in the cache


class Elementwise(Operation):
    """One function of one value, applied to every value of every source: n tensors to n tensors.

    It can be done before or after any operation that only moves elements.
    """

    def changes(self, index: int) -> bool:
        """Whether the tensor of this number is changed; others pass as they are."""
        del index
        return True

    @property
    def is_uniform(self) -> bool:
        """Whether all tensors are treated alike, however many there are."""
        return True

    @abstractmethod
    def values(self, array: Array) -> Array:
        """Return the function of each value of a contiguous array, as a new array or the same."""

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shapes unchanged."""
        return tuple(shapes)

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the dtypes unchanged.

        Raises:
            OperationError: If one of them allows no arithmetic.
        """
        for dtype in dtypes:
            require_arithmetic(self, dtype)
        return tuple(dtypes)

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the function of each array."""
        dtypes = self.infer_dtypes([get_dtype(array.dtype) for array in arrays])
        return tuple(
            self._apply_one(array, dtype) if self.changes(index) else contiguous(array)
            for index, (array, dtype) in enumerate(zip(arrays, dtypes, strict=True))
        )

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield blocks of the function of blocks of the sources."""
        dtypes = self.infer_dtypes([get_dtype(array.dtype) for array in arrays])
        for index, array in enumerate(arrays):
            share = narrowed(max_bytes, array.dtype.itemsize, [dtypes[index]])
            for block in blocks_of(array, index, share):
                yield self.block(block, dtypes[index])

    def block(self, block: Block, dtype: DType) -> Block:
        """Return the function of one block of a tensor that becomes one of ``dtype``."""
        if not self.changes(block.target):
            return block
        return Block(block.target, block.start, self._apply_one(block.array, dtype))

    def _apply_one(self, array: Array, dtype: DType) -> Array:
        flat = contiguous(array).reshape(-1)
        if flat.size <= _CHUNK:
            return self.values(flat).reshape(array.shape)
        result = np.empty(flat.shape, dtype.numpy)
        for start in range(0, flat.size, _CHUNK):
            result[start : start + _CHUNK] = self.values(flat[start : start + _CHUNK])
        return result.reshape(array.shape)


def blocks_of(array: Array, target: int, max_bytes: int) -> Iterator[Block]:
    """Yield an array in contiguous blocks, without a copy where it is contiguous itself."""
    array = native(array)
    piece = Piece(array, (0,) * array.ndim)
    yield from Assembly(array.shape, array.shape, (piece,), array.dtype).stream(target, max_bytes)


def narrowed(max_bytes: int, itemsize: int, dtypes: Sequence[DType]) -> int:
    """Return the bound for blocks of sources whose values become as wide as the widest dtype."""
    widest = max((dtype.numpy.itemsize for dtype in dtypes), default=itemsize)
    return max(1, max_bytes * itemsize // max(itemsize, widest))


def require_arithmetic(operation: Operation, dtype: DType) -> None:
    """Raise unless values of this dtype can be calculated with.

    Raises:
        OperationError: If the dtype is an integer, a boolean, complex, packed or a bare exponent.
    """
    if not allows_arithmetic(dtype):
        raise OperationError(
            f"cannot apply '{operation.describe()}' to {dtype}: only floating-point values are "
            "calculated with"
        )


@dataclass(frozen=True, slots=True)
class Cast(Elementwise):
    """Values of one floating type in another.

    The law is that of the way there and back, begun at the source. Widening is exact: every value
    of ``bfloat16`` is one of ``float32``, and casting back gives the same bits, NaN payloads
    included. Its inverse is the narrowing cast, whose own law is rounded, since begun at the wide
    side it does not give the same bits back. Values that are too large for the target are refused.

    Attributes:
        source: The dtype taken.
        target: The dtype given.
        index: The one tensor that is cast, counted from 0, or ``None`` for every one.
        count: Number of tensors where ``index`` is given.
    """

    source: DType
    target: DType
    index: int | None = None
    count: int = 1

    def __post_init__(self) -> None:
        for dtype in (self.source, self.target):
            if self.source != self.target and not allows_arithmetic(dtype):
                raise OperationError(
                    f"cannot cast {self.source} to {self.target}: {dtype} is no floating type"
                )

    @property
    def law(self) -> Law:
        """Exact when every value of the source is one of the target, else rounded."""
        return Law.EXACT if self.is_identity or self.is_widening else Law.ROUNDED

    @property
    def is_identity(self) -> bool:
        """Whether both dtypes are the same."""
        return self.source == self.target

    @property
    def is_widening(self) -> bool:
        """Whether no value changes."""
        return is_widening(self.source, self.target)

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the target's dtype for every source.

        Raises:
            OperationError: If a source has another dtype than this casts from.
        """
        if self.index is not None:
            require_sources(self, len(dtypes), self.count)
        for index, dtype in enumerate(dtypes):
            if self.changes(index) and dtype != self.source:
                raise OperationError(f"cannot apply '{self.describe()}' to {dtype}")
        return tuple(
            self.target if self.changes(index) else dtype for index, dtype in enumerate(dtypes)
        )

    def changes(self, index: int) -> bool:
        """Whether the tensor of this number is cast."""
        return self.index is None or index == self.index

    @property
    def is_uniform(self) -> bool:
        """Whether every tensor is cast."""
        return self.index is None or self.count == 1

    def values(self, array: Array) -> Array:
        """Return the values in the target's dtype."""
        return convert(array, self.source, self.target)

    def inverse(self) -> Cast:
        """Return the cast back."""
        return Cast(self.target, self.source, self.index, self.count)

    def describe(self) -> str:
        """Return both dtypes."""
        which = "" if self.is_uniform else f" number {self.index}"
        return f"cast{which} {self.source} to {self.target}"


@dataclass(frozen=True, slots=True)
class Offset(Elementwise):
    """Add a number: an RMSNorm that stores ``w`` and uses ``1 + w``. The law is rounded.

    Attributes:
        by: The number added.
    """

    by: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.by):
            raise OperationError(f"cannot add {self.by!r}: it is not finite")

    @property
    def law(self) -> Law:
        """Rounded."""
        return Law.ROUNDED

    def values(self, array: Array) -> Array:
        """Return the sums."""
        dtype = get_dtype(array.dtype)
        with np.errstate(all="ignore"):
            return convert(array.astype(np.float64) + self.by, FLOAT64, dtype)

    def inverse(self) -> Offset:
        """Return the offset by the negative number."""
        return Offset(-self.by)

    def describe(self) -> str:
        """Return the number with its sign."""
        return f"{'-' if self.by < 0 else '+'} {abs(self.by)!r}"


@dataclass(frozen=True, slots=True)
class Scale(Elementwise):
    """Multiply by a number, or divide by it. The law is rounded.

    Attributes:
        by: The number, neither zero nor infinite.
        divide: Whether to divide; so the inverse needs no reciprocal, which would round.
    """

    by: float
    divide: bool = False

    def __post_init__(self) -> None:
        if self.by == 0 or not math.isfinite(self.by):
            raise OperationError(f"cannot scale by {self.by!r}: there is no way back")

    @property
    def law(self) -> Law:
        """Rounded."""
        return Law.ROUNDED

    def values(self, array: Array) -> Array:
        """Return the products or quotients."""
        dtype = get_dtype(array.dtype)
        with np.errstate(all="ignore"):
            wide = array.astype(np.float64)
            return convert(wide / self.by if self.divide else wide * self.by, FLOAT64, dtype)

    def inverse(self) -> Scale:
        """Return the division for a multiplication, and the other way round."""
        return Scale(self.by, divide=not self.divide)

    def describe(self) -> str:
        """Return the number with its sign of operation."""
        return f"{'/' if self.divide else '*'} {self.by!r}"
