"""What operations with one side have in common: no source, one target, or one source, no target."""

from __future__ import annotations

from collections.abc import Sequence

from converter.algebra.base import Operation
from converter.algebra.checks import require_sources
from converter.tensors.dtype import Array, DType, Shape


class Made(Operation):
    """No source, one target.

    Attributes:
        shape: The target's shape.
        dtype: The target's dtype.
    """

    __slots__ = ()

    shape: Shape
    dtype: DType

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shape of the target."""
        require_sources(self, len(shapes), 0)
        return (self.shape,)

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the dtype of the target."""
        require_sources(self, len(dtypes), 0)
        return (self.dtype,)


class LeftOut(Operation):
    """One source, which nobody looks at, and no target."""

    __slots__ = ()

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return no dtype."""
        require_sources(self, len(dtypes), 1)
        return ()

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return nothing; no value is read."""
        self.infer([array.shape for array in arrays])
        return ()
