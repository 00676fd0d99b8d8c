"""Where the elements of one parameter lie inside one tensor of an ONNX file.

A parameter is a tensor as it is, a transposed one, one without axes of size 1, or some blocks of
rows of it (the gates of a recurrent layer, in another order than PyTorch's). Each of these is
described once and used in both directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from converter.formats.onnx_storage import Stored
from converter.tensors.dtype import Array, Shape
from converter.tensors.spec import TensorSpec

Rows = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """What of a stored tensor is a parameter.

    Attributes:
        shape: Shape of the parameter.
        is_transposed: Whether the two axes are exchanged.
        rows: Where blocks of the parameter begin and end in the stored elements, in the order of
            the parameter; empty where it is all of them in their order.
    """

    shape: Shape
    is_transposed: bool = False
    rows: Rows = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A named parameter and where it lies.

    Attributes:
        name: Its name in the manifest.
        stored: The tensor that holds it.
        placement: What of the tensor it is.
    """

    name: str
    stored: Stored
    placement: Placement

    @property
    def spec(self) -> TensorSpec:
        """Name, shape and type of the parameter."""
        return TensorSpec(self.name, self.placement.shape, self.stored.spec.dtype)

    def read(self) -> Array:
        """Return its values, read-only; a transposed parameter is a strided view."""
        array = self.stored.read()
        placement = self.placement
        if placement.is_transposed:
            return array.T
        if placement.rows:
            flat = array.reshape(-1)
            parts = [flat[start:stop] for start, stop in placement.rows]
            array = parts[0] if len(parts) == 1 else np.concatenate(parts)
        array = array.reshape(placement.shape)
        array.flags.writeable = False
        return array

    def segments(self, start: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Yield where a range of elements goes: first element here, first stored one, how many.

        Args:
            start: First element of the parameter, which is not transposed.
            count: How many.
        """
        rows = self.placement.rows or ((0, int(np.prod(self.placement.shape, dtype=np.int64))),)
        stop, here = start + count, 0
        for first, last in rows:
            low, high = max(start, here), min(stop, here + last - first)
            if low < high:
                yield low, first + low - here, high - low
            here += last - first


def as_stored(stored: Stored) -> Placement:
    """Return the placement of a tensor that is a parameter as it is."""
    return Placement(stored.spec.shape)


def transposed(stored: Stored) -> Placement:
    """Return the placement of a matrix whose axes are exchanged."""
    return Placement(stored.spec.shape[::-1], is_transposed=True)


def flat(stored: Stored) -> Placement:
    """Return the placement of a vector among axes of size 1; other tensors stay as they are."""
    shape = stored.spec.shape
    if len(shape) > 1 and sum(size != 1 for size in shape) <= 1:
        return Placement((int(np.prod(shape, dtype=np.int64)),))
    return Placement(shape)
