"""A table of rows, and one more row that a model adds to each of them.

RoBERTa adds to every position the embedding of the only type of token that it has. One side keeps
both, the other one table that holds the sums; and the first rows of the first side may be ones that
no position reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from converter.algebra.base import Block, Law, Operation, joint_dtype, joint_numpy_dtype
from converter.algebra.checks import require_shape, require_sources
from converter.algebra.copying import contiguous, native
from converter.algebra.joins import PadRows, SliceRows
from converter.algebra.sums import SignedSum
from converter.algebra.values import blocks_of, require_arithmetic
from converter.tensors.dtype import Array, DType, Shape, get_dtype

_SUM = SignedSum((1, 1))


@dataclass(frozen=True, slots=True)
class AddRow(Operation):
    """Leave out the first rows of a table, and add one row to all others. The law is canonical.

    Each sum is taken in ``float64`` and rounded once; where the row is zero, the bits of the table
    stay.

    Attributes:
        count: Number of rows left out, whatever they hold.
    """

    count: int

    @property
    def law(self) -> Law:
        """Canonical."""
        return Law.CANONICAL

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shape of the table of sums.

        Raises:
            OperationError: If the table has fewer rows, or the row is not one of it.
        """
        require_sources(self, len(shapes), 2)
        table = SliceRows(self.count).infer(shapes[:1])[0]
        require_shape(self, shapes[1], (1, *table[1:]))
        return (table,)

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the one dtype of both.

        Raises:
            OperationError: If they differ or allow no arithmetic.
        """
        require_sources(self, len(dtypes), 2)
        dtype = joint_dtype(self, dtypes)
        require_arithmetic(self, dtype)
        return (dtype,)

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the sums."""
        rows, row = self._read(arrays)
        return _SUM.apply([rows, np.broadcast_to(row, rows.shape)])

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield the sums in blocks of the table."""
        rows, row = self._read(arrays)
        flat = contiguous(row).reshape(-1)
        for block in blocks_of(rows, 0, max(1, max_bytes // 2)):
            values = block.array.reshape(-1)
            if values.size:
                added = flat[(block.start + np.arange(values.size)) % flat.size]
                values = _SUM.apply([values, added])[0]
            yield replace(block, array=values)

    def inverse(self) -> ShareRow:
        """Return the operation that leaves the row empty."""
        return ShareRow(self.count)

    def describe(self) -> str:
        """Return the number of rows left out."""
        return f"leave out the first {self.count} rows, add the row #1 to the others"

    def _read(self, arrays: Sequence[Array]) -> tuple[Array, Array]:
        """Return the rows that count, and the one that is added to each."""
        self.infer([array.shape for array in arrays])
        self.infer_dtypes([get_dtype(joint_numpy_dtype(self, arrays))] * 2)
        return native(arrays[0])[self.count :], native(arrays[1])


@dataclass(frozen=True, slots=True)
class ShareRow(Operation):
    """Give a table, behind rows of zeros, and zeros as the row that is added to it.

    The law is canonical: adding up gives the same bits; what is lost, beginning with a table and a
    row, is the split between them.

    Attributes:
        count: Number of rows of zeros put in front.
    """

    count: int

    @property
    def law(self) -> Law:
        """Canonical."""
        return Law.CANONICAL

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shapes of the longer table and of the row."""
        require_sources(self, len(shapes), 1)
        table = PadRows(self.count).infer(shapes)[0]
        return table, (1, *table[1:])

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the dtype of the table for both.

        Raises:
            OperationError: If it allows no arithmetic.
        """
        require_sources(self, len(dtypes), 1)
        require_arithmetic(self, dtypes[0])
        return (dtypes[0],) * 2

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the longer table and the row."""
        shape = self._row(arrays)
        return (*PadRows(self.count).apply(arrays), np.zeros(shape, native(arrays[0]).dtype))

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield the longer table in blocks, then blocks of zeros."""
        shape = self._row(arrays)
        yield from PadRows(self.count).stream(arrays, max_bytes)
        dtype, size = native(arrays[0]).dtype, math.prod(shape)
        step = max(1, max_bytes // dtype.itemsize)
        for start in range(0, size, step):
            yield Block(1, start, np.zeros(min(step, size - start), dtype))

    def inverse(self) -> AddRow:
        """Return the operation that adds the row."""
        return AddRow(self.count)

    def describe(self) -> str:
        """Return the number of rows put in front."""
        return f"put {self.count} rows of 0.0 in front, and zeros in the row #1"

    def _row(self, arrays: Sequence[Array]) -> Shape:
        """Return the shape of the row, after a look at the source."""
        self.infer_dtypes([get_dtype(array.dtype) for array in arrays])
        return self.infer([array.shape for array in arrays])[1]
