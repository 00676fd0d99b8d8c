"""Operations for a tensor that only one side has: made at the target, checked or left out there.

``Constant`` and ``Expect`` undo each other: an absent gamma behaves as ones, so ones may be left
out and nothing else may. ``Derive`` and ``Discard`` are for what belongs to no model: a counter of
batches is made anew, and left out without a look.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from converter.algebra.base import Block, Law, Operation
from converter.algebra.checks import require_shape, require_sources
from converter.algebra.copying import contiguous
from converter.algebra.one_sided import LeftOut, Made
from converter.errors import OperationError, shape_text
from converter.tensors.dtype import Array, DType, Shape, get_dtype

Scalar = bool | int | float
_CHUNK = 1 << 20  # elements compared at once


def scalar_array(value: Scalar, dtype: DType) -> Array:
    """Return a number as array of rank 0.

    Raises:
        OperationError: If the dtype is packed, or an integer type that does not hold the number.
    """
    if dtype.is_packed:
        raise OperationError(f"cannot fill a tensor of {dtype}: its elements share bytes")
    with np.errstate(all="ignore"):
        filled = np.array(value).astype(dtype.numpy)
    exact = dtype.is_floating or dtype.name.startswith("complex")
    if not exact and filled.item() != value:
        raise OperationError(f"cannot fill a tensor of {dtype} with {value!r}")
    return filled


@dataclass(frozen=True, slots=True)
class _Filled(Made):
    """No source, one target, the same number everywhere.

    Attributes:
        value: The number.
        shape: The target's shape.
        dtype: The target's dtype.
    """

    value: Scalar
    shape: Shape
    dtype: DType

    def __post_init__(self) -> None:
        scalar_array(self.value, self.dtype)

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the target."""
        require_sources(self, len(arrays), 0)
        return (np.full(self.shape, scalar_array(self.value, self.dtype)),)

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield one array again and again."""
        require_sources(self, len(arrays), 0)
        total = math.prod(self.shape)
        step = max(1, max_bytes // self.dtype.itemsize)
        filled = np.full(min(total, step), scalar_array(self.value, self.dtype))
        for start in range(0, total, step):
            yield Block(0, start, filled[: total - start])


@dataclass(frozen=True, slots=True)
class Constant(_Filled):
    """Make a tensor that the source lacks because it behaves as this number. Law canonical."""

    @property
    def law(self) -> Law:
        """Canonical."""
        return Law.CANONICAL

    def inverse(self) -> Expect:
        """Return the check that all values are this number."""
        return Expect(self.value, self.shape, self.dtype)

    def describe(self) -> str:
        """Return the number and the shape."""
        return f"fill {shape_text(self.shape)} with {self.value!r}"


@dataclass(frozen=True, slots=True)
class Expect(Operation):
    """Leave a tensor out after checking that all its values are one number. Law canonical.

    Values are compared, so a negative zero passes for zero; the dtype of the source counts, not
    the one that the inverse gives.

    Attributes:
        value: The number.
        shape: The source's shape.
        dtype: The dtype that :meth:`inverse` gives the tensor.
    """

    value: Scalar
    shape: Shape
    dtype: DType

    def __post_init__(self) -> None:
        scalar_array(self.value, self.dtype)

    @property
    def law(self) -> Law:
        """Canonical."""
        return Law.CANONICAL

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return no shape.

        Raises:
            OperationError: If the source has another shape.
        """
        require_sources(self, len(shapes), 1)
        require_shape(self, shapes[0], self.shape)
        return ()

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return no dtype."""
        require_sources(self, len(dtypes), 1)
        return ()

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return nothing.

        Raises:
            OperationError: If a value differs; the message has the count and the first place.
        """
        self.infer([array.shape for array in arrays])
        flat = contiguous(arrays[0]).reshape(-1)
        expected = scalar_array(self.value, get_dtype(flat.dtype))
        count, first = 0, -1
        for start in range(0, flat.size, _CHUNK):
            with np.errstate(all="ignore"):  # ml_dtypes warns of NaNs
                differs = np.nonzero(flat[start : start + _CHUNK] != expected)[0]
            if differs.size and not count:
                first = start + int(differs[0])
            count += differs.size
        if count:
            index = np.unravel_index(first, self.shape)
            raise OperationError(
                f"cannot leave out a tensor that must be {self.value!r} everywhere: "
                f"{count:,} of {flat.size:,} values differ",
                facts=[
                    ("first", f"index {shape_text(int(position) for position in index)}"),
                    ("expected", repr(self.value)),
                    ("found", repr(flat[first].item())),
                ],
            )
        return ()

    def inverse(self) -> Constant:
        """Return the operation that makes the tensor."""
        return Constant(self.value, self.shape, self.dtype)

    def describe(self) -> str:
        """Return the number."""
        return f"leave out, all {self.value!r}"


@dataclass(frozen=True, slots=True)
class Derive(_Filled):
    """Make a tensor that is no part of the model, from nothing but its first value. Law derived.

    Attributes:
        why: What it is for, one sentence.
    """

    why: str = "made at the target"

    @property
    def law(self) -> Law:
        """Derived."""
        return Law.DERIVED

    def inverse(self) -> Discard:
        """Return the operation that leaves the tensor out."""
        return Discard(self.why, self.value, self.shape, self.dtype)

    def describe(self) -> str:
        """Return the number and the shape."""
        return f"start {shape_text(self.shape)} at {self.value!r}"


@dataclass(frozen=True, slots=True)
class Discard(LeftOut):
    """Leave a tensor out without looking at it.

    The law is derived when it is known how to make the tensor again, else one-way.

    Attributes:
        why: The reason, one sentence.
        value: What :meth:`inverse` fills the tensor with, or ``None`` when there is no way back.
        shape: The tensor's shape, or ``None`` when any shape is left out.
        dtype: The tensor's dtype, or ``None``.
    """

    why: str
    value: Scalar | None = None
    shape: Shape | None = None
    dtype: DType | None = None

    @property
    def law(self) -> Law:
        """Derived or one-way."""
        known = self.value is not None and self.shape is not None and self.dtype is not None
        return Law.DERIVED if known else Law.ONE_WAY

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return no shape.

        Raises:
            OperationError: If the source has another shape than the known one.
        """
        require_sources(self, len(shapes), 1)
        if self.shape is not None:
            require_shape(self, shapes[0], self.shape)
        return ()

    def inverse(self) -> Derive:
        """Return the operation that makes the tensor again.

        Raises:
            OperationError: If it is not known how.
        """
        if self.value is None or self.shape is None or self.dtype is None:
            raise OperationError(f"cannot make a tensor that was left out again: {self.why}")
        return Derive(self.value, self.shape, self.dtype, self.why)

    def describe(self) -> str:
        """Return the reason."""
        return f"leave out: {self.why}"
