"""An array in pieces that fit a fixed amount of memory, whatever its size and its strides.

A piece is a part of the array along its leading axes. The arrays may be memory maps larger than
memory: whoever reads the pieces gives the pages back in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from converter.formats.base import Checkpoint
from converter.tensors.dtype import Array

PIECE_BYTES = 4 << 20  # the float64 values made of a piece of float16 are four times as large
RELEASE_BYTES = 32 << 20  # of a source, mapped before it is given back


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an array.

    Attributes:
        indices: Index into each of the first axes, of which this piece has one element only; these
            axes are not in ``array``.
        start: Index of its first element along the axis that follows.
        array: The values, a view; one axis less than the whole for each of ``indices``.
    """

    indices: tuple[int, ...]
    start: int
    array: Array

    def place(self, index: tuple[int, ...]) -> tuple[int, ...]:
        """Return the index in the whole array of an element of this piece.

        Examples:
            >>> import numpy as np
            >>> Piece((4,), 10, np.zeros((5, 2))).place((3, 1))
            (4, 13, 1)
        """
        if not index:
            return self.indices
        return (*self.indices, index[0] + self.start, *index[1:])


def pieces(array: Array, limit: int = PIECE_BYTES) -> Iterator[Piece]:
    """Yield an array in pieces of at most ``limit`` bytes, in C order.

    Examples:
        >>> import numpy as np
        >>> [(one.indices, one.start, one.array.shape)
        ...     for one in pieces(np.zeros((5, 3), np.int8), limit=6)]
        [((), 0, (2, 3)), ((), 2, (2, 3)), ((), 4, (1, 3))]
        >>> [(one.indices, one.start) for one in pieces(np.zeros((2, 3), np.int8), limit=2)]
        [((0,), 0), ((0,), 2), ((1,), 0), ((1,), 2)]
    """
    yield from _below((), array, limit)


def _below(indices: tuple[int, ...], array: Array, limit: int) -> Iterator[Piece]:
    if array.nbytes <= limit or array.ndim == 0:
        if array.size:
            yield Piece(indices, 0, array)
        return
    row = array.nbytes // array.shape[0]
    if row <= limit or array.ndim == 1:
        step = max(1, limit // row)
        for start in range(0, array.shape[0], step):
            yield Piece(indices, start, array[start : start + step])
        return
    for index in range(array.shape[0]):
        yield from _below((*indices, index), array[index], limit)


def read_pieces(checkpoint: Checkpoint, name: str, limit: int = PIECE_BYTES) -> Iterator[Piece]:
    """Yield a tensor of a checkpoint in pieces; its memory is given back while it is read."""
    array = checkpoint.read(name)
    since = 0
    try:
        for piece in pieces(array, limit):
            yield piece
            since += piece.array.nbytes
            if since >= RELEASE_BYTES and array.nbytes > RELEASE_BYTES:
                checkpoint.release(name)
                since = 0
    finally:
        del array
        checkpoint.release(name)
