"""Operations for a tensor whose values follow from its shape and a number: made, or recognised.

Keras layers keep some such tensors as weights (the numbers of the positions, the frequencies of a
rotary embedding) that PyTorch modules compute when they run. One side makes them, value by value
and in bounded memory; the other leaves them out, after checking that they are what would be made:
a model that holds anything else computes something else.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from converter.algebra.base import Block, Law, Operation
from converter.algebra.casting import allows_arithmetic
from converter.algebra.checks import require_shape, require_sources
from converter.algebra.copying import contiguous
from converter.algebra.one_sided import Made
from converter.errors import OperationError, shape_text
from converter.tensors.dtype import Array, DType, Shape, get_dtype

_CHUNK = 1 << 16  # elements computed at once
# Backends compute powers in float32, each a little differently: by 2 units in the last place seen.
_TOLERANCE = 2.0**-18


class Computed(Made):
    """No source, one target, each value a function of its index."""

    __slots__ = ()

    @property
    @abstractmethod
    def what(self) -> str:
        """What the values are, as a message says it."""

    @property
    @abstractmethod
    def tolerance(self) -> float:
        """How far a value that is recognised may be from the one computed, relative to it."""

    @abstractmethod
    def values(self, first: int, last: int) -> Array:
        """Return the elements from ``first`` up to ``last``, in C order."""

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the target."""
        require_sources(self, len(arrays), 0)
        return (self.values(0, math.prod(self.shape)).reshape(self.shape),)

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield the target as it is computed."""
        require_sources(self, len(arrays), 0)
        total = math.prod(self.shape)
        step = min(_CHUNK, max(1, max_bytes // self.dtype.itemsize))
        for start in range(0, total, step):
            yield Block(0, start, self.values(start, min(start + step, total)))

    def inverse(self) -> Recognise:
        """Return the check that the values are these."""
        return Recognise(self)


@dataclass(frozen=True, slots=True)
class Count(Computed):
    """Make a tensor that counts 0, 1, 2, ... along its last axis: the numbers of the positions.

    The law is exact: what is recognised is the same, bit for bit.

    Attributes:
        shape: The target's shape; of rank 1 or more.
        dtype: The target's dtype, an integer type that holds every number.
    """

    shape: Shape
    dtype: DType

    def __post_init__(self) -> None:
        if not self.shape:
            raise OperationError("cannot count in a tensor of rank 0")
        if self.dtype.is_packed or self.dtype.numpy.kind not in "iu":
            raise OperationError(f"cannot count in a tensor of {self.dtype}")
        most = int(np.iinfo(self.dtype.numpy).max)
        if self.shape[-1] - 1 > most:
            raise OperationError(f"cannot count to {self.shape[-1] - 1:,} in {self.dtype}")

    @property
    def law(self) -> Law:
        """Exact."""
        return Law.EXACT

    @property
    def what(self) -> str:
        """What the values are."""
        return "0, 1, 2, ... along its last axis"

    @property
    def tolerance(self) -> float:
        """None."""
        return 0.0

    def values(self, first: int, last: int) -> Array:
        """Return the position of each element in its row."""
        return (np.arange(first, last) % max(1, self.shape[-1])).astype(self.dtype.numpy)

    def describe(self) -> str:
        """Return what is made, and the shape."""
        return f"count 0, 1, 2, ... in {shape_text(self.shape)}"


@dataclass(frozen=True, slots=True)
class Frequencies(Computed):
    """Make the frequencies of a rotary embedding: ``base ** (-2 i / d)`` for each pair of axes.

    Every step is rounded to ``float32``, as both frameworks do it, and the power is computed in
    ``float64`` before. They round some powers otherwise, so the law is derived, and values are
    recognised that are off by a few units in the last place.

    Attributes:
        base: The base, ``rope_theta``.
        shape: The target's shape ``(d / 2,)``, for ``d`` axes of a head.
        dtype: The target's dtype.

    Source:
        transformers 5.23 ``modeling_rope_utils.py``, ``_compute_default_rope_parameters``;
        keras_hub 0.32 ``models/smollm3/smollm3_utils.py``, ``rope_init``.
    """

    base: int
    shape: Shape
    dtype: DType

    def __post_init__(self) -> None:
        if len(self.shape) != 1:
            raise OperationError(
                f"the frequencies of a rotary embedding are of rank 1, not {len(self.shape)}"
            )
        if not allows_arithmetic(self.dtype):
            raise OperationError(f"is {self.dtype}: only floating-point values are computed")
        if self.base < 1:
            raise OperationError(f"a rotary embedding of base {self.base} has no frequencies")

    @property
    def law(self) -> Law:
        """Derived."""
        return Law.DERIVED

    @property
    def what(self) -> str:
        """What the values are."""
        return f"the frequencies of a rotary embedding of base {self.base:,}"

    @property
    def tolerance(self) -> float:
        """Some units in the last place of ``float32``, or one of a narrower type."""
        one = np.ones((), self.dtype.numpy)
        return max(_TOLERANCE, float(np.nextafter(one, one + one)) - 1.0)

    def values(self, first: int, last: int) -> Array:
        """Return the frequency of each pair of axes."""
        exponents = np.arange(first, last, dtype="f4") * np.float32(2) / np.float32(self._axes)
        powers = np.power(np.float64(np.float32(self.base)), exponents.astype("f8"))
        found: Array = (np.float32(1) / powers.astype("f4")).astype(self.dtype.numpy)
        return found

    @property
    def _axes(self) -> int:
        return max(1, 2 * self.shape[0])

    def describe(self) -> str:
        """Return what is made, and the shape."""
        return f"frequencies {shape_text(self.shape)} of base {self.base:,}"


@dataclass(frozen=True, slots=True)
class Recognise(Operation):
    """Leave a tensor out after checking that it is what can be computed again.

    Attributes:
        computed: How it is computed; its dtype is that of the source.
    """

    computed: Computed

    @property
    def law(self) -> Law:
        """That of how it is computed."""
        return self.computed.law

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return no shape.

        Raises:
            OperationError: If the source has another shape.
        """
        require_sources(self, len(shapes), 1)
        require_shape(self, shapes[0], self.computed.shape)
        return ()

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return no dtype.

        Raises:
            OperationError: If the source has another dtype.
        """
        require_sources(self, len(dtypes), 1)
        if dtypes[0] != self.computed.dtype:
            raise OperationError(
                f"cannot apply '{self.describe()}' to {dtypes[0]}: it is for {self.computed.dtype}"
            )
        return ()

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return nothing.

        Raises:
            OperationError: If a value differs; the message has the count and the first place.
        """
        self.infer([array.shape for array in arrays])
        self.infer_dtypes([get_dtype(array.dtype.newbyteorder("=")) for array in arrays])
        flat = contiguous(arrays[0]).reshape(-1)
        count, first = 0, -1
        for start in range(0, flat.size, _CHUNK):
            part = flat[start : start + _CHUNK]
            differs = np.nonzero(self._differs(part, self._expected(start, part.size)))[0]
            if differs.size and not count:
                first = start + int(differs[0])
            count += differs.size
        if count:
            raise self._refusal(flat, count, first)
        return ()

    def _expected(self, start: int, size: int) -> Array:
        return self.computed.values(start, start + size)

    def _differs(self, found: Array, expected: Array) -> Array:
        tolerance = self.computed.tolerance
        if not tolerance:
            return np.asarray(found != expected)
        with np.errstate(all="ignore"):  # ml_dtypes warns of NaNs
            wide, other = found.astype("f8"), expected.astype("f8")
            return np.asarray(~(np.abs(wide - other) <= tolerance * np.abs(other)))

    def _refusal(self, flat: Array, count: int, first: int) -> OperationError:
        index = np.unravel_index(first, self.computed.shape)
        return OperationError(
            f"cannot leave out a tensor that must be {self.computed.what}: "
            f"{count:,} of {flat.size:,} values differ",
            facts=[
                ("first", f"index {shape_text(int(position) for position in index)}"),
                ("expected", repr(self._expected(first, 1)[0].item())),
                ("found", repr(flat[first].item())),
            ],
        )

    def inverse(self) -> Computed:
        """Return the operation that makes the tensor."""
        return self.computed

    def describe(self) -> str:
        """Return what is recognised."""
        return f"leave out: {self.computed.what}"
