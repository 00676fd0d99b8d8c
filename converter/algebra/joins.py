"""Operations that join tensors, or cut them: uneven parts, new axes, sums, extra rows.

All but the sums only move elements. What an axis pattern can say (equal parts along a labelled
axis) is better said by a pattern.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from converter.algebra.assembly import Assembled, Assembly, Piece
from converter.algebra.base import Law, Operation
from converter.algebra.checks import require_sources
from converter.algebra.constants import Scalar, scalar_array
from converter.algebra.sums import SignedSum, SplitSum
from converter.errors import OperationError, shape_text
from converter.tensors.dtype import Array, Shape, get_dtype

__all__ = [
    "Concat",
    "PadRows",
    "SignedSum",
    "SliceRows",
    "Split",
    "SplitSum",
    "Stack",
    "Unstack",
]


@dataclass(frozen=True, slots=True)
class Concat(Assembled):
    """Join tensors along an axis that they have. The law is exact.

    Attributes:
        axis: The axis, counted from 0.
        sizes: Size of each source along it.
    """

    axis: int
    sizes: tuple[int, ...]

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shape of the joined tensor.

        Raises:
            OperationError: If a source does not have the given size, or the others' shape.
        """
        require_sources(self, len(shapes), len(self.sizes))
        first = shapes[0]
        require_axis(self, first, self.axis)
        for shape, size in zip(shapes, self.sizes, strict=True):
            expected = (*first[: self.axis], size, *first[self.axis + 1 :])
            if tuple(shape) != expected:
                raise _unfit(self, expected, shape)
        return ((*first[: self.axis], sum(self.sizes), *first[self.axis + 1 :]),)

    def assemblies(self, sources: Sequence[Array]) -> Iterator[Assembly]:
        """Yield the one target."""
        (shape,) = self.infer([source.shape for source in sources])
        pieces = []
        position = 0
        for source, size in zip(sources, self.sizes, strict=True):
            start = [0] * len(shape)
            start[self.axis] = position
            pieces.append(Piece(source, tuple(start)))
            position += size
        yield Assembly(shape, shape, tuple(pieces), sources[0].dtype)

    def inverse(self) -> Split:
        """Return the split into the same parts."""
        return Split(self.axis, self.sizes)

    def describe(self) -> str:
        """Return axis and sizes."""
        return f"concatenate {shape_text(self.sizes)} along axis {self.axis}"


@dataclass(frozen=True, slots=True)
class Split(Assembled):
    """Cut a tensor along an axis. The law is exact.

    Attributes:
        axis: The axis, counted from 0.
        sizes: Size of each target along it.
    """

    axis: int
    sizes: tuple[int, ...]

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shapes of the parts.

        Raises:
            OperationError: If the parts do not add up to the source.
        """
        require_sources(self, len(shapes), 1)
        shape = shapes[0]
        require_axis(self, shape, self.axis)
        head, tail = shape[: self.axis], shape[self.axis + 1 :]
        if shape[self.axis] != sum(self.sizes):
            raise _unfit(self, (*head, sum(self.sizes), *tail), shape)
        return tuple((*head, size, *tail) for size in self.sizes)

    @property
    def num_targets(self) -> int:
        """Number of parts."""
        return len(self.sizes)

    def assemblies(self, sources: Sequence[Array]) -> Iterator[Assembly]:
        """Yield the parts."""
        shapes = self.infer([source.shape for source in sources])
        position = 0
        for shape, size in zip(shapes, self.sizes, strict=True):
            view = sources[0][(slice(None),) * self.axis + (slice(position, position + size),)]
            yield Assembly(shape, shape, (Piece(view, (0,) * len(shape)),), view.dtype)
            position += size

    def inverse(self) -> Concat:
        """Return the concatenation of the same parts."""
        return Concat(self.axis, self.sizes)

    def describe(self) -> str:
        """Return axis and sizes."""
        return f"split {shape_text(self.sizes)} along axis {self.axis}"


@dataclass(frozen=True, slots=True)
class Stack(Assembled):
    """Join tensors of one shape along a new axis: the experts of a layer. The law is exact.

    Attributes:
        count: Number of sources.
        axis: Where the new axis stands in the target, counted from 0.
    """

    count: int
    axis: int = 0

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shape of the stack.

        Raises:
            OperationError: If the sources' shapes differ.
        """
        require_sources(self, len(shapes), self.count)
        first = tuple(shapes[0])
        require_axis(self, (*first, 1), self.axis)
        for shape in shapes:
            if tuple(shape) != first:
                raise _unfit(self, first, shape)
        return ((*first[: self.axis], self.count, *first[self.axis :]),)

    def assemblies(self, sources: Sequence[Array]) -> Iterator[Assembly]:
        """Yield the one target."""
        (shape,) = self.infer([source.shape for source in sources])
        pieces = []
        for position, source in enumerate(sources):
            start = [0] * len(shape)
            start[self.axis] = position
            pieces.append(Piece(np.expand_dims(source, self.axis), tuple(start)))
        yield Assembly(shape, shape, tuple(pieces), sources[0].dtype)

    def inverse(self) -> Unstack:
        """Return the operation that takes the stack apart."""
        return Unstack(self.count, self.axis)

    def describe(self) -> str:
        """Return count and axis."""
        return f"stack {self.count} along axis {self.axis}"


@dataclass(frozen=True, slots=True)
class Unstack(Assembled):
    """Take a tensor apart along an axis, which goes away. The law is exact.

    Attributes:
        count: Number of targets.
        axis: The axis, counted from 0.
    """

    count: int
    axis: int = 0

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shapes of the parts.

        Raises:
            OperationError: If the axis does not have the size ``count``.
        """
        require_sources(self, len(shapes), 1)
        shape = shapes[0]
        require_axis(self, shape, self.axis)
        head, tail = shape[: self.axis], shape[self.axis + 1 :]
        if shape[self.axis] != self.count:
            raise _unfit(self, (*head, self.count, *tail), shape)
        return ((*head, *tail),) * self.count

    @property
    def num_targets(self) -> int:
        """Number of parts."""
        return self.count

    def assemblies(self, sources: Sequence[Array]) -> Iterator[Assembly]:
        """Yield the parts."""
        shapes = self.infer([source.shape for source in sources])
        for position, shape in enumerate(shapes):
            view = np.moveaxis(sources[0], self.axis, 0)[position, ...]
            yield Assembly(shape, shape, (Piece(view, (0,) * len(shape)),), view.dtype)

    def inverse(self) -> Stack:
        """Return the stack of the parts."""
        return Stack(self.count, self.axis)

    def describe(self) -> str:
        """Return count and axis."""
        return f"unstack {self.count} along axis {self.axis}"


@dataclass(frozen=True, slots=True)
class PadRows(Assembled):
    """Put rows of one number in front of the first axis. The law is canonical.

    A position embedding may begin with rows that its model never reads; leaving them out and
    putting zeros there keeps the function, not the bits.

    Attributes:
        count: Number of rows.
        fill: The number.
    """

    count: int
    fill: Scalar = 0.0

    @property
    def law(self) -> Law:
        """Canonical."""
        return Law.CANONICAL

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shape with more rows."""
        require_sources(self, len(shapes), 1)
        require_axis(self, shapes[0], 0)
        return ((shapes[0][0] + self.count, *shapes[0][1:]),)

    def assemblies(self, sources: Sequence[Array]) -> Iterator[Assembly]:
        """Yield the one target."""
        source = sources[0]
        (shape,) = self.infer([source.shape])
        filling = scalar_array(self.fill, get_dtype(source.dtype))
        rows = np.broadcast_to(filling, (self.count, *shape[1:]))
        tail = (0,) * (len(shape) - 1)
        yield Assembly(
            shape,
            shape,
            (Piece(rows, (0, *tail)), Piece(source, (self.count, *tail))),
            source.dtype,
        )

    def inverse(self) -> SliceRows:
        """Return the operation that leaves the rows out."""
        return SliceRows(self.count, self.fill)

    def describe(self) -> str:
        """Return count and number."""
        return f"put {self.count} rows of {self.fill!r} in front"


@dataclass(frozen=True, slots=True)
class SliceRows(Assembled):
    """Leave out the first rows, whatever they hold. The law is canonical.

    Attributes:
        count: Number of rows.
        fill: The number that :meth:`inverse` puts there.
    """

    count: int
    fill: Scalar = 0.0

    @property
    def law(self) -> Law:
        """Canonical."""
        return Law.CANONICAL

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shape with fewer rows.

        Raises:
            OperationError: If there are fewer rows than are to be left out.
        """
        require_sources(self, len(shapes), 1)
        require_axis(self, shapes[0], 0)
        if shapes[0][0] < self.count:
            raise OperationError(
                f"cannot apply '{self.describe()}': the source has {shapes[0][0]} rows"
            )
        return ((shapes[0][0] - self.count, *shapes[0][1:]),)

    def assemblies(self, sources: Sequence[Array]) -> Iterator[Assembly]:
        """Yield the one target."""
        (shape,) = self.infer([source.shape for source in sources])
        view = sources[0][self.count :]
        yield Assembly(shape, shape, (Piece(view, (0,) * len(shape)),), view.dtype)

    def inverse(self) -> PadRows:
        """Return the operation that puts rows there."""
        return PadRows(self.count, self.fill)

    def describe(self) -> str:
        """Return the count."""
        return f"leave out the first {self.count} rows"


def require_axis(operation: Operation, shape: Shape, axis: int) -> None:
    """Raise unless a tensor of this shape has the axis.

    Raises:
        OperationError: If it has not.
    """
    if not 0 <= axis < len(shape):
        raise OperationError(
            f"cannot apply '{operation.describe()}': the source {shape_text(shape)} has no axis "
            f"{axis}"
        )


def _unfit(operation: Operation, expected: Shape, found: Shape) -> OperationError:
    return OperationError(
        f"cannot apply '{operation.describe()}': the shape does not fit",
        facts=[("expected", shape_text(expected)), ("found", shape_text(found))],
    )
