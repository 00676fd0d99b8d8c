"""Several tensors of one shape as their weighted mean: model soups, averages over checkpoints."""

from __future__ import annotations

import math
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
class Average(Operation):
    """The weighted mean, taken in ``float64`` and rounded once. There is no way back.

    Attributes:
        weights: One for each source; their sum is 1.
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.weights or not math.isclose(math.fsum(self.weights), 1.0, rel_tol=1e-9):
            raise OperationError(f"cannot average with weights {self.weights}: their sum is not 1")

    @property
    def law(self) -> Law:
        """One-way."""
        return Law.ONE_WAY

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the one shape of all sources.

        Raises:
            OperationError: If the shapes differ.
        """
        require_sources(self, len(shapes), len(self.weights))
        for shape in shapes:
            require_shape(self, shape, shapes[0])
        return (tuple(shapes[0]),)

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the one dtype of all sources.

        Raises:
            OperationError: If the dtypes differ or allow no arithmetic.
        """
        require_sources(self, len(dtypes), len(self.weights))
        dtype = joint_dtype(self, dtypes)
        require_arithmetic(self, dtype)
        return (dtype,)

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the mean."""
        self._check(arrays)
        mean = self._mean([contiguous(array).reshape(-1) for array in arrays])
        return (mean.reshape(arrays[0].shape),)

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield means of blocks."""
        self._check(arrays)
        share = max(1, max_bytes // (2 * len(arrays)))
        sources = [(block for block in blocks_of(array, 0, share) if block.array.size)
                   for array in arrays]  # fmt: skip
        for blocks in zip(*sources, strict=True):
            yield Block(0, blocks[0].start, self._mean([one.array.reshape(-1) for one in blocks]))

    def inverse(self) -> Operation:
        """Raise: what was averaged cannot be had back.

        Raises:
            OperationError: Always.
        """
        raise OperationError("cannot undo an average: many tensors have the same mean")

    def describe(self) -> str:
        """Return the weights."""
        return "mean, weights " + " ".join(f"{weight:.4g}" for weight in self.weights)

    def _check(self, arrays: Sequence[Array]) -> None:
        self.infer([array.shape for array in arrays])
        self.infer_dtypes([get_dtype(joint_numpy_dtype(self, arrays))] * len(arrays))

    def _mean(self, arrays: list[Array]) -> Array:
        with np.errstate(all="ignore"):  # ml_dtypes warns of NaNs
            total = np.zeros(arrays[0].shape, np.float64)
            for weight, array in zip(self.weights, arrays, strict=True):
                total += weight * array.astype(np.float64)
        return convert(total, FLOAT64, get_dtype(arrays[0].dtype))
