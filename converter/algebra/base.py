"""What an operation on tensors is: shapes in, shapes out, values in, values out, and its inverse.

Operations are written in the direction Keras to PyTorch, take a tuple of arrays and return a tuple
of arrays. An operation knows its inverse *as an instance*, and its law says what survives the way
there and back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from converter.errors import OperationError
from converter.tensors.dtype import Array, DType, Shape


class Law(StrEnum):
    """What survives an operation and its inverse.

    A law is that of the pair: what is exact one way and picks a representative the other way is
    canonical both ways. A cast is the exception: widening is exact begun at its source, and its
    inverse, begun at the wide side, rounds.

    Attributes:
        EXACT: Every bit, both ways; no arithmetic.
        DERIVED: Nothing is transferred: the value is made at the target (a batch counter).
        CANONICAL: The function of the model; the way back picks a fixed representative.
        ROUNDED: Values up to one rounding; the arithmetic is done in a wider type.
        ONE_WAY: There is no way back.
    """

    EXACT = "exact"
    DERIVED = "derived"
    CANONICAL = "canonical"
    ROUNDED = "rounded"
    ONE_WAY = "one_way"

    def satisfies(self, required: Law) -> bool:
        """Whether a step of this law is allowed where ``required`` is asked for.

        ``derived`` is allowed everywhere: no value of the source passes through it.

        Examples:
            >>> Law.CANONICAL.satisfies(Law.EXACT), Law.EXACT.satisfies(Law.ROUNDED)
            (False, True)
        """
        return _STRENGTH[self] <= _STRENGTH[required]

    @classmethod
    def weakest(cls, laws: Sequence[Law]) -> Law:
        """Return the law of several operations done one after the other.

        Examples:
            >>> str(Law.weakest([Law.EXACT, Law.ROUNDED]))
            'rounded'
            >>> str(Law.weakest([]))
            'exact'
        """
        return max(laws, key=_WEAKNESS.index, default=cls.EXACT)


_WEAKNESS = (Law.EXACT, Law.DERIVED, Law.CANONICAL, Law.ROUNDED, Law.ONE_WAY)
_STRENGTH = {Law.DERIVED: 0, Law.EXACT: 0, Law.CANONICAL: 1, Law.ROUNDED: 2, Law.ONE_WAY: 3}


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive elements of one target, C-contiguous.

    A block may hold no elements: its ``start`` is where the next one begins, and it comes after
    many pages of the sources were read for a block that is not complete yet. Whoever drives the
    stream may release the sources' pages at every block, empty or not.

    Attributes:
        target: Which target, counted from 0.
        start: Position of the first element in the target, in elements, C order.
        array: The elements; only their order counts, not the array's shape. It may be a view of a
            source: copy or write it before the source is closed.
    """

    target: int
    start: int
    array: Array


class Operation(ABC):
    """One operation on a tuple of tensors. Instances are frozen dataclasses: equal means same."""

    @property
    @abstractmethod
    def law(self) -> Law:
        """What survives this operation and its inverse."""

    @abstractmethod
    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shapes of the targets.

        Raises:
            OperationError: If the number of sources or a shape does not fit.
        """

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the dtypes of the targets, given those of the sources.

        The default is for operations with one target and one dtype throughout.

        Raises:
            OperationError: If the operation does not work on these dtypes.
        """
        return (joint_dtype(self, dtypes),)

    @abstractmethod
    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the values of the targets, each C-contiguous in native byte order.

        A target may be a view of a source where no element moves.

        Raises:
            OperationError: If the arrays do not fit, or hold what the law forbids.
        """

    @abstractmethod
    def inverse(self) -> Operation:
        """Return the operation that undoes this one, as far as its law goes.

        Raises:
            OperationError: If there is no way back; the message says why.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return one line for a plan, as short as a person would write it."""

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield all targets as blocks of about ``max_bytes``, each target from first to last.

        The sources may be memory maps larger than memory. At most about ``max_bytes`` are
        allocated, and about as many bytes of source pages are read between two blocks (see
        :class:`Block` for the empty ones). Blocks of packed dtypes count bytes, not elements. The
        default computes everything at once, which suits small tensors only.
        """
        del max_bytes
        for index, array in enumerate(self.apply(arrays)):
            yield Block(index, 0, np.ascontiguousarray(array))


def joint_dtype(operation: Operation, dtypes: Sequence[DType]) -> DType:
    """Return the dtype that all sources of an operation have.

    Raises:
        OperationError: If there is no source, or two dtypes differ.
    """
    if not dtypes:
        raise OperationError(f"cannot apply '{operation.describe()}': there is no source")
    if any(dtype != dtypes[0] for dtype in dtypes):
        raise OperationError(
            f"cannot apply '{operation.describe()}': the sources differ in dtype",
            facts=[("found", ", ".join(dtype.name for dtype in dtypes))],
        )
    return dtypes[0]


def joint_numpy_dtype(operation: Operation, arrays: Sequence[Array]) -> np.dtype[Any]:
    """Return the dtype that all arrays given to an operation have, in native byte order.

    Raises:
        OperationError: If there is no array, or two dtypes differ.
    """
    if not arrays:
        raise OperationError(f"cannot apply '{operation.describe()}': there is no source")
    dtypes = [array.dtype.newbyteorder("=") for array in arrays]
    if any(dtype != dtypes[0] for dtype in dtypes):
        raise OperationError(
            f"cannot apply '{operation.describe()}': the sources differ in dtype",
            facts=[("found", ", ".join(dtype.name for dtype in dtypes))],
        )
    return dtypes[0]
