"""Operations for a tensor that one side keeps several times, and the other once.

Nothing is lost in either direction: the copies are compared, bit for bit, before one is taken. A
model in which they differ is refused, for one of them would be lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from converter.algebra.base import Block, Law, Operation, joint_dtype, joint_numpy_dtype
from converter.algebra.checks import require_sources
from converter.algebra.copying import contiguous
from converter.errors import OperationError, shape_text
from converter.tensors.dtype import Array, DType, Shape


@dataclass(frozen=True, slots=True)
class TakeOne(Operation):
    """Take one of several tensors that are the same, bit for bit. The law is exact.

    Attributes:
        count: Number of sources.
    """

    count: int

    @property
    def law(self) -> Law:
        """Exact."""
        return Law.EXACT

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shape of the one.

        Raises:
            OperationError: If two of them have different shapes.
        """
        require_sources(self, len(shapes), self.count)
        if any(tuple(shape) != tuple(shapes[0]) for shape in shapes):
            raise OperationError(
                "what should be copies of one tensor has different shapes",
                facts=[("found", " and ".join(map(shape_text, shapes)))],
            )
        return (tuple(shapes[0]),)

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the one dtype of all.

        Raises:
            OperationError: If they differ.
        """
        require_sources(self, len(dtypes), self.count)
        return (joint_dtype(self, dtypes),)

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the first, once all others are seen to be the same.

        Raises:
            OperationError: If a byte differs; the message has the first place.
        """
        self._check(arrays)
        first = contiguous(arrays[0])
        for _ in self.stream(arrays, first.nbytes):
            pass
        return (first,)

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield the first in blocks, each compared with the others before.

        Raises:
            OperationError: If a byte differs; the message has the first place.
        """
        self._check(arrays)
        first, *others = (contiguous(array).reshape(-1) for array in arrays)
        step = max(1, max_bytes // first.dtype.itemsize)
        for start in range(0, first.size, step):
            part = first[start : start + step]
            for number, other in enumerate(others, 2):
                differs = _differing(part, other[start : start + step])
                if differs is not None:
                    raise self._refusal(arrays, start + differs, number)
            yield Block(0, start, part)

    def _check(self, arrays: Sequence[Array]) -> None:
        self.infer([array.shape for array in arrays])
        joint_numpy_dtype(self, arrays)

    def _refusal(self, arrays: Sequence[Array], element: int, number: int) -> OperationError:
        index = np.unravel_index(element, arrays[0].shape)
        return OperationError(
            "cannot take one of several tensors that must be the same: "
            f"number {number} of {self.count} differs from the first",
            facts=[
                ("first at", f"index {shape_text(int(position) for position in index)}"),
                ("found", f"{arrays[0][index].item()!r} and {arrays[number - 1][index].item()!r}"),
            ],
        )

    def inverse(self) -> Copies:
        """Return the operation that makes the copies."""
        return Copies(self.count)

    def describe(self) -> str:
        """Return what is taken."""
        return f"one of {self.count} copies"


@dataclass(frozen=True, slots=True)
class Copies(Operation):
    """Give a tensor several times. The law is exact.

    Attributes:
        count: Number of targets.
    """

    count: int

    @property
    def law(self) -> Law:
        """Exact."""
        return Law.EXACT

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shape, as often as it is given."""
        require_sources(self, len(shapes), 1)
        return (tuple(shapes[0]),) * self.count

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the dtype, as often."""
        require_sources(self, len(dtypes), 1)
        return (dtypes[0],) * self.count

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the source, as often."""
        require_sources(self, len(arrays), 1)
        return (contiguous(arrays[0]),) * self.count

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield one target after the other."""
        require_sources(self, len(arrays), 1)
        flat = contiguous(arrays[0]).reshape(-1)
        step = max(1, max_bytes // flat.dtype.itemsize)
        for target in range(self.count):
            for start in range(0, flat.size, step):
                yield Block(target, start, flat[start : start + step])

    def inverse(self) -> TakeOne:
        """Return the operation that takes one of them."""
        return TakeOne(self.count)

    def describe(self) -> str:
        """Return the number of copies."""
        return f"{self.count} copies"


def _differing(one: Array, other: Array) -> int | None:
    """Return the position of the first element that is not the same bits, or ``None``."""
    differs = np.nonzero(one.view(np.uint8) != other.view(np.uint8))[0]
    return int(differs[0]) // one.dtype.itemsize if differs.size else None
