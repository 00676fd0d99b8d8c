"""Several tensors that a model only ever adds up, as one tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from converter.algebra.base import Block, Law, Operation, joint_dtype, joint_numpy_dtype
from converter.algebra.casting import FLOAT64, convert
from converter.algebra.checks import require_shape, require_sources
from converter.algebra.copying import contiguous
from converter.algebra.values import blocks_of, require_arithmetic
from converter.errors import OperationError
from converter.tensors.dtype import Array, DType, Shape, get_dtype


@dataclass(frozen=True, slots=True)
class SignedSum(Operation):
    """Add tensors up, some of them negated: ``bias_ih + bias_hh``. The law is canonical.

    The sum is taken in ``float64`` and rounded once. A term that is zero leaves the first one
    untouched, bit for bit, so that the sum of what :class:`SplitSum` gives is what it took: also
    where that is a negative zero or a NaN.

    Attributes:
        signs: 1 or -1 for each source.
    """

    signs: tuple[int, ...]

    def __post_init__(self) -> None:
        _require_signs(self.signs)

    @property
    def law(self) -> Law:
        """Canonical."""
        return Law.CANONICAL

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the one shape of all sources.

        Raises:
            OperationError: If the shapes differ.
        """
        require_sources(self, len(shapes), len(self.signs))
        for shape in shapes:
            require_shape(self, shape, shapes[0])
        return (tuple(shapes[0]),)

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the one dtype of all sources.

        Raises:
            OperationError: If the dtypes differ or allow no arithmetic.
        """
        require_sources(self, len(dtypes), len(self.signs))
        dtype = joint_dtype(self, dtypes)
        require_arithmetic(self, dtype)
        return (dtype,)

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the sum."""
        self._check(arrays)
        total = self._sum([contiguous(array).reshape(-1) for array in arrays])
        return (total.reshape(arrays[0].shape),)

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield sums of blocks; at every block that many bytes of each source have been read."""
        self._check(arrays)
        share = max(1, max_bytes // len(arrays))
        sources = [(block for block in blocks_of(array, 0, share) if block.array.size)
                   for array in arrays]  # fmt: skip
        for blocks in zip(*sources, strict=True):
            total = self._sum([block.array.reshape(-1) for block in blocks])
            yield Block(0, blocks[0].start, total)

    def inverse(self) -> SplitSum:
        """Return the split that gives everything to the first term."""
        return SplitSum(self.signs)

    def describe(self) -> str:
        """Return the terms by number with their signs."""
        return _terms(self.signs)

    def _check(self, arrays: Sequence[Array]) -> None:
        self.infer([array.shape for array in arrays])
        self.infer_dtypes([get_dtype(joint_numpy_dtype(self, arrays))] * len(arrays))

    def _sum(self, arrays: list[Array]) -> Array:
        """Return the sum of arrays of rank 1."""
        first = arrays[0] if self.signs[0] > 0 else -arrays[0]
        if len(arrays) == 1:
            return first
        untouched = np.ones(first.shape, np.bool_)
        with np.errstate(all="ignore"):  # ml_dtypes warns of NaNs
            total = first.astype(np.float64)
            for sign, array in zip(self.signs[1:], arrays[1:], strict=True):
                untouched &= array == 0
                total = total + sign * array.astype(np.float64)
        result = convert(total, FLOAT64, get_dtype(first.dtype))
        if result is total:
            result = total.copy()
        result[untouched] = first[untouched]
        return result


@dataclass(frozen=True, slots=True)
class SplitSum(Operation):
    """Give a tensor to the first of several terms, zeros to the others. The law is canonical.

    Adding up again gives the same bits; beginning with several terms, the split between them is
    what is lost.

    Attributes:
        signs: 1 or -1 for each target.
    """

    signs: tuple[int, ...]

    def __post_init__(self) -> None:
        _require_signs(self.signs)

    @property
    def law(self) -> Law:
        """Canonical."""
        return Law.CANONICAL

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shape of the source for every target."""
        require_sources(self, len(shapes), 1)
        return (tuple(shapes[0]),) * len(self.signs)

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the dtype of the source for every target.

        Raises:
            OperationError: If the dtype allows no arithmetic.
        """
        require_sources(self, len(dtypes), 1)
        require_arithmetic(self, dtypes[0])
        return (dtypes[0],) * len(self.signs)

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the terms."""
        require_sources(self, len(arrays), 1)
        self.infer_dtypes([get_dtype(arrays[0].dtype)])
        first = contiguous(arrays[0])
        zeros = [np.zeros_like(first) for _ in self.signs[1:]]
        # Of rank 0, the negative would be no array.
        return (first if self.signs[0] > 0 else (-first.reshape(-1)).reshape(first.shape), *zeros)

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield the first term in blocks of the source, then blocks of zeros."""
        require_sources(self, len(arrays), 1)
        self.infer_dtypes([get_dtype(arrays[0].dtype)])
        for block in blocks_of(arrays[0], 0, max_bytes):
            values = block.array.reshape(-1)
            yield Block(0, block.start, values if self.signs[0] > 0 else -values)
        size, dtype = arrays[0].size, arrays[0].dtype.newbyteorder("=")
        step = max(1, max_bytes // dtype.itemsize)
        zeros = np.zeros(min(size, step), dtype)
        for target in range(1, len(self.signs)):
            for start in range(0, size, step):
                yield Block(target, start, zeros[: size - start])

    def inverse(self) -> SignedSum:
        """Return the sum."""
        return SignedSum(self.signs)

    def describe(self) -> str:
        """Return the terms by number with their signs."""
        return f"all of {_terms(self.signs)} in the first"


def _require_signs(signs: tuple[int, ...]) -> None:
    if not signs or any(sign not in (1, -1) for sign in signs):
        raise OperationError(f"cannot sum with the signs {signs}: each is 1 or -1")


def _terms(signs: tuple[int, ...]) -> str:
    return " ".join(f"{'+' if sign > 0 else '-'} #{number}" for number, sign in enumerate(signs))
