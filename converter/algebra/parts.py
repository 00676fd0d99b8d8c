"""Equal parts of the last axis multiplied by a number each: the gates of a recurrent layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from converter.algebra.base import Block, Law, Operation
from converter.algebra.casting import FLOAT64, convert
from converter.algebra.checks import require_sources
from converter.algebra.copying import contiguous
from converter.algebra.values import blocks_of, narrowed, require_arithmetic
from converter.errors import OperationError, shape_text
from converter.tensors.dtype import Array, DType, Shape, get_dtype


@dataclass(frozen=True, slots=True)
class ScaleParts(Operation):
    """Multiply each part of the last axis by its number, or divide by it. The law is rounded.

    Parts whose number is 1 keep their bits.

    Examples:
        The update and reset gates of a GRU, and not its candidate:

        >>> operation = ScaleParts((1.2, 1.2, 1.0))
        >>> operation.infer([(5, 12)]), operation.describe()
        (((5, 12),), 'last axis * (1.2, 1.2, 1.0)')

    Attributes:
        by: One number for each part, neither zero nor infinite.
        divide: Whether to divide; so the inverse needs no reciprocal, which would round.
    """

    by: tuple[float, ...]
    divide: bool = False

    def __post_init__(self) -> None:
        if not self.by or not all(one != 0 and math.isfinite(one) for one in self.by):
            raise OperationError(f"cannot scale by {self.by!r}: there is no way back")

    @property
    def law(self) -> Law:
        """Rounded."""
        return Law.ROUNDED

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shape unchanged.

        Raises:
            OperationError: If its last axis has no such parts.
        """
        require_sources(self, len(shapes), 1)
        shape = tuple(shapes[0])
        if not shape or shape[-1] % len(self.by):
            raise OperationError(
                f"cannot apply '{self.describe()}' to shape {shape_text(shape)}: its last axis "
                f"has no {len(self.by)} equal parts"
            )
        return (shape,)

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the dtype unchanged.

        Raises:
            OperationError: If it allows no arithmetic.
        """
        require_sources(self, len(dtypes), 1)
        require_arithmetic(self, dtypes[0])
        return (dtypes[0],)

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the products or quotients."""
        size = self._last_axis(arrays)
        flat = contiguous(arrays[0]).reshape(-1)
        return (self._values(flat, 0, size).reshape(arrays[0].shape),)

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield blocks of them."""
        size = self._last_axis(arrays)
        share = narrowed(max_bytes, arrays[0].dtype.itemsize, [FLOAT64])
        for block in blocks_of(arrays[0], 0, share):
            yield Block(0, block.start, self._values(block.array.reshape(-1), block.start, size))

    def inverse(self) -> ScaleParts:
        """Return the division for a multiplication, and the other way round."""
        return ScaleParts(self.by, divide=not self.divide)

    def describe(self) -> str:
        """Return the numbers with their sign of operation."""
        return f"last axis {'/' if self.divide else '*'} {self.by!r}"

    def _last_axis(self, arrays: Sequence[Array]) -> int:
        self.infer_dtypes([get_dtype(array.dtype) for array in arrays])
        (shape,) = self.infer([array.shape for array in arrays])
        return shape[-1]

    def _values(self, flat: Array, start: int, size: int) -> Array:
        """Return the values of consecutive elements, of which the first is number ``start``."""
        if not flat.size:
            return flat
        place = (start + np.arange(flat.size)) % size // (size // len(self.by))
        by = np.asarray(self.by)[place]
        dtype = get_dtype(flat.dtype)
        with np.errstate(all="ignore"):
            wide = flat.astype(np.float64)
            made = convert(wide / by if self.divide else wide * by, FLOAT64, dtype)
        kept: Array = np.where(by == 1.0, flat, made).astype(flat.dtype)
        return kept
