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

import numpy as np

from converter.tensors.dtype import Array, DType, Shape


class Law(StrEnum):
    """What survives an operation and its inverse.

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

    Attributes:
        target: Which target, counted from 0.
        start: Position of the first element in the target, in elements, C order.
        array: The elements; only their order counts, not the array's shape.
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

        The default is for operations with one dtype throughout.

        Raises:
            OperationError: If the sources' dtypes cannot be joined.
        """
        return _same_dtype(self, dtypes)

    @abstractmethod
    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the values of the targets, each C-contiguous in native byte order.

        Raises:
            OperationError: If the arrays do not fit, or hold what the law forbids.
        """

    @abstractmethod
    def inverse(self) -> Operation:
        """Return the operation that undoes this one, as far as its law goes.

        Raises:
            OperationError: If the law is ``one_way``; the message says why.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return one line for a plan, as short as a person would write it."""

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield all targets as blocks of about ``max_bytes``, each target from first to last.

        The sources may be memory maps larger than memory; what one block needs is all that may be
        resident. The default computes everything at once, which suits small tensors only.
        """
        del max_bytes
        for index, array in enumerate(self.apply(arrays)):
            yield Block(index, 0, np.ascontiguousarray(array))


def _same_dtype(operation: Operation, dtypes: Sequence[DType]) -> tuple[DType, ...]:
    raise NotImplementedError(f"{type(operation).__name__} must say its dtypes: {dtypes}")
