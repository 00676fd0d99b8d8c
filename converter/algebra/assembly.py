"""A target put together from boxes of sources: the one machine behind all operations that copy.

An assembly says, for one target, which view of which source fills which box of it. Building it is
a few strided copies. Streaming it cuts the target into blocks of consecutive elements, each of
them a box too, and copies only the parts of the views that meet the box; a block that lies in one
view, in order, is handed out without a copy.

How source pages are touched. A block that takes the elements in another order needs a little of
many pages: one column of a mapped matrix lies on all of its pages. So a block is gathered slab by
slab along the slowest axis of the source, and after each slab that may have touched ``max_bytes``
of pages an *empty block* comes out: the place where whoever drives the stream may release the
source's pages. What is resident is then one block and one slab, however large source and target.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import EllipsisType

import numpy as np

from converter.algebra.base import Block, Law, Operation, joint_dtype, joint_numpy_dtype
from converter.algebra.copying import copy_strided, native
from converter.errors import OperationError
from converter.tensors.dtype import Array, DType, Shape

# Bytes. Not one page of 4 KiB: Linux maps the 16 pages around a touched one as well (mm/memory.c,
# fault_around_bytes), and all of them count as memory of the process.
_PAGE = 65536

Box = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A view of a source and the box of the target that it fills.

    Attributes:
        view: The elements, one axis for each axis of the assembly's grid.
        start: Where the box begins in the grid, one position an axis.
    """

    view: Array
    start: tuple[int, ...]

    @property
    def box(self) -> Box:
        """The box of the grid that it fills."""
        sizes = zip(self.start, self.view.shape, strict=True)
        return tuple(slice(start, start + size) for start, size in sizes)

    def meet(self, start: Sequence[int], stop: Sequence[int]) -> tuple[Array, Box] | None:
        """Return what of the view lies in a box of the grid, and where in that box it goes."""
        inside: list[slice | EllipsisType] = []
        outside: list[slice] = []
        for axis, first in enumerate(self.start):
            low = max(first, start[axis])
            high = min(first + self.view.shape[axis], stop[axis])
            if low >= high:
                return None
            inside.append(slice(low - first, high - first))
            outside.append(slice(low - start[axis], high - start[axis]))
        inside.append(...)  # of rank 0 too, the result is an array
        return self.view[tuple(inside)], tuple(outside)


@dataclass(frozen=True, slots=True)
class Assembly:
    """One target: the boxes of its grid cover it, each element once.

    Attributes:
        shape: The target's shape.
        grid: The same number of elements in the same order, with as many axes as the boxes need.
        pieces: What fills it.
        dtype: The target's dtype, as NumPy has it.
    """

    shape: Shape
    grid: Shape
    pieces: tuple[Piece, ...]
    dtype: np.dtype[np.generic]

    def build(self) -> Array:
        """Return the whole target, C-contiguous; a view of the source where that is possible."""
        if len(self.pieces) == 1 and self.pieces[0].view.flags.c_contiguous:
            return self.pieces[0].view.reshape(self.shape)
        target = np.empty(self.shape, self.dtype)
        grid = target.reshape(self.grid)
        for piece in self.pieces:
            copy_strided(grid[piece.box], piece.view)
        return target

    def stream(self, target: int, max_bytes: int) -> Iterator[Block]:
        """Yield the target in blocks, as :meth:`Operation.stream` does.

        Args:
            target: Number of this target in its operation.
            max_bytes: Bound for a block and for the source pages touched between two blocks.
        """
        position = 0
        for start, stop in _boxes(self.grid, self.dtype.itemsize, max_bytes):
            shape = tuple(high - low for low, high in zip(start, stop, strict=True))
            parts = [part for piece in self.pieces if (part := piece.meet(start, stop))]
            if len(parts) == 1 and parts[0][0].flags.c_contiguous:
                yield Block(target, position, parts[0][0])
            else:
                buffer = np.empty(shape, self.dtype)
                for _ in _gather(buffer, parts, max_bytes):
                    yield Block(target, position, buffer.reshape(-1)[:0])
                yield Block(target, position, buffer)
            position += math.prod(shape)


def _gather(buffer: Array, parts: list[tuple[Array, Box]], max_bytes: int) -> Iterator[None]:
    """Fill a buffer, pausing before more than ``max_bytes`` of source pages have been read."""
    touched = 0
    for view, box in parts:
        target = buffer[box]
        for slab in _slabs(view, max_bytes):
            pages = _touched(view[slab])
            if touched and touched + pages > max_bytes:
                yield
                touched = 0
            touched += pages
            copy_strided(target[slab], view[slab])


def _boxes(
    shape: Shape, itemsize: int, max_bytes: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield start and stop of boxes that are consecutive in C order and at most ``max_bytes``."""
    if 0 in shape:
        return
    inner = itemsize
    axis = len(shape)
    while axis > 0 and inner * shape[axis - 1] <= max_bytes:
        axis -= 1
        inner *= shape[axis]
    if axis == 0:
        yield (0,) * len(shape), shape
        return
    axis -= 1
    step = max(1, max_bytes // inner)
    tail = shape[axis + 1 :]
    for head in np.ndindex(*shape[:axis]):
        for low in range(0, shape[axis], step):
            high = min(low + step, shape[axis])
            start = (*head, low, *(0 for _ in tail))
            stop = (*(index + 1 for index in head), high, *tail)
            yield start, stop


def _slabs(view: Array, max_bytes: int) -> Iterator[Box]:
    """Yield boxes of a view, cut along its slowest axes, that touch about ``max_bytes`` each."""
    everything = (slice(None),) * view.ndim
    if _touched(view) <= max_bytes:
        yield everything
        return
    axis = max(range(view.ndim), key=lambda axis: (abs(view.strides[axis]), view.shape[axis]))
    size = view.shape[axis]
    if size == 1:
        yield everything
        return
    step = max(1, size * max_bytes // _touched(view))
    for low in range(0, size, step):
        yield (*everything[:axis], slice(low, low + step), *everything[axis + 1 :])


def _touched(view: Array) -> int:
    """Estimate the bytes of pages that reading a view makes resident."""
    covered = view.itemsize
    runs = 1
    axes = sorted(range(view.ndim), key=lambda axis: abs(view.strides[axis]))
    for axis in axes:
        stride, size = abs(view.strides[axis]), view.shape[axis]
        if size == 1 or stride == 0:
            continue
        if runs == 1 and stride <= covered + _PAGE:
            covered += stride * (size - 1)
        else:
            runs *= size
    return runs * (covered if runs == 1 else covered + _PAGE)


class Assembled(Operation):
    """An operation that moves elements and fills; its targets are described by assemblies."""

    @abstractmethod
    def assemblies(self, sources: Sequence[Array]) -> Iterator[Assembly]:
        """Yield one assembly for each target; the sources have one dtype, in native order."""

    @property
    def law(self) -> Law:
        """Exact."""
        return Law.EXACT

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the one dtype of the sources for every target.

        Raises:
            OperationError: If the sources' dtypes differ, or are packed.
        """
        dtype = joint_dtype(self, dtypes)
        if dtype.is_packed:
            raise OperationError(
                f"cannot apply '{self.describe()}' to {dtype}: its elements share bytes"
            )
        return (dtype,) * self.num_targets

    @property
    def num_targets(self) -> int:
        """Number of tensors given."""
        return 1

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the targets, C-contiguous."""
        joint_numpy_dtype(self, arrays)
        sources = [native(array) for array in arrays]
        return tuple(assembly.build() for assembly in self.assemblies(sources))

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield the targets in blocks; see :mod:`converter.algebra.assembly` for the pages."""
        joint_numpy_dtype(self, arrays)
        sources = [native(array) for array in arrays]
        for index, assembly in enumerate(self.assemblies(sources)):
            yield from assembly.stream(index, max_bytes)
