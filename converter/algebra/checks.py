"""What operations check about what they are given: how many tensors, and of which shape."""

from __future__ import annotations

from converter.algebra.base import Operation
from converter.errors import OperationError, shape_text
from converter.tensors.dtype import Shape


def require_sources(operation: Operation, found: int, expected: int) -> None:
    """Raise unless the number of sources is right.

    Raises:
        OperationError: If it is not.
    """
    if found != expected:
        raise OperationError(
            f"cannot apply '{operation.describe()}': it takes {expected} sources, not {found}"
        )


def require_shape(operation: Operation, found: Shape, expected: Shape) -> None:
    """Raise unless the shape is right.

    Raises:
        OperationError: If it is not.
    """
    if tuple(found) != tuple(expected):
        raise OperationError(
            f"cannot apply '{operation.describe()}': the shape does not fit",
            facts=[("expected", shape_text(expected)), ("found", shape_text(found))],
        )
