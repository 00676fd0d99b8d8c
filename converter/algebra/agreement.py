"""The check that several tensors are one: names that are tied may be stored more than once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from converter.algebra.base import Law, Operation
from converter.algebra.copying import contiguous
from converter.errors import OperationError, shape_text
from converter.tensors.dtype import Array, DType, Shape

_CHUNK = 1 << 22  # bytes compared at once


@dataclass(frozen=True, slots=True)
class Agree(Operation):
    """Leave a tensor out after checking that it is, bit for bit, the same as another one.

    Two sources, the further one first; no target. Nothing is transferred, so the law is derived.
    """

    @property
    def law(self) -> Law:
        """Derived."""
        return Law.DERIVED

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return no shape.

        Raises:
            OperationError: If the two shapes differ.
        """
        first, second = shapes
        if first != second:
            raise OperationError(
                "two tied tensors have different shapes",
                facts=[("found", f"{shape_text(first)} and {shape_text(second)}")],
            )
        return ()

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return no dtype.

        Raises:
            OperationError: If the two dtypes differ.
        """
        first, second = dtypes
        if first != second:
            raise OperationError(
                "two tied tensors have different dtypes", facts=[("found", f"{first} and {second}")]
            )
        return ()

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return nothing.

        Raises:
            OperationError: If a byte differs; the message has the first place.
        """
        self.infer([array.shape for array in arrays])
        first, second = (contiguous(array).reshape(-1).view(np.uint8) for array in arrays)
        for start in range(0, first.size, _CHUNK):
            differs = np.nonzero(first[start : start + _CHUNK] != second[start : start + _CHUNK])[0]
            if differs.size:
                element = (start + int(differs[0])) // arrays[0].dtype.itemsize
                where = np.unravel_index(element, arrays[0].shape)
                raise OperationError(
                    "two tied tensors have different values",
                    facts=[("first at", shape_text(int(index) for index in where))],
                )
        return ()

    def inverse(self) -> Operation:
        """Refuse: the further tensor is written, or not, by the convention of the target."""
        raise OperationError("a tied tensor has no step of its own on the way back")

    def describe(self) -> str:
        """Return what is checked."""
        return "the same tensor"
