"""Copying between arrays of any strides, fast also where the axes change their order.

NumPy copies a transposed array one element at a time over the whole width of memory, so that every
element costs a cache miss. Here the copy goes tile by tile through a small contiguous buffer that
stays in the cache: long runs are read, the buffer is transposed, long runs are written. Bytes are
moved, never values, so every NaN, negative zero and unknown type survives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np

from converter.tensors.dtype import Array, Shape

TILE_BYTES = 1 << 18
"""Size of a tile, in bytes; a tile of the source, of the target and the buffer fit an L2 cache."""

_SMALL_BYTES = 1 << 15  # below this the first-level cache does what tiles would do
_SHORT_RUN = 16  # elements; shorter runs cost more per call of the inner loop than they save


def copy_strided(target: Array, source: Array) -> None:
    """Copy all elements of ``source`` to the same places of ``target``, bit for bit.

    Args:
        target: Array of any strides, writable; it must not overlap the source.
        source: Array of any strides; same shape and dtype as the target.

    Raises:
        ValueError: If shapes or dtypes differ.
    """
    if target.shape != source.shape or target.dtype != source.dtype:
        raise ValueError(
            f"cannot copy {source.shape} {source.dtype} to {target.shape} {target.dtype}"
        )
    if target.size == 0:
        return
    target, source = _coalesced(as_bytes(target), as_bytes(source))
    if target.nbytes <= _SMALL_BYTES or target.ndim < 2:
        np.copyto(target, source)
        return
    in_target = _fastest(target)
    in_source = _fastest(source)
    if in_target == in_source:
        np.copyto(target, source)
        return
    if source.shape[in_source] >= min(target.shape[in_target], _SHORT_RUN):
        lead, ordered_by = in_source, target
    else:
        lead, ordered_by = in_target, source
    order = _slowest_first(ordered_by, without=lead)
    _copy_tiles(target.transpose(*order, lead), source.transpose(*order, lead))


def as_bytes(array: Array) -> Array:
    """Return a view that NumPy copies without looking at values: unsigned integers.

    Types of 16 bytes stay as they are; NumPy has no integer of that size, and copies them as bytes.
    """
    if array.dtype.kind == "u" or array.dtype.itemsize > 8:
        return array
    return array.view(np.dtype(f"u{array.dtype.itemsize}"))


def contiguous(array: Array) -> Array:
    """Return the array itself if it is C-contiguous and of native byte order, else such a copy."""
    array = native(array)
    if array.flags.c_contiguous:
        return array
    result = np.empty(array.shape, array.dtype)
    copy_strided(result, array)
    return result


def native(array: Array) -> Array:
    """Return the array as plain ``ndarray`` in native byte order, copied only if it was not."""
    array = np.asarray(array)
    if array.dtype.isnative:
        return array
    return array.astype(array.dtype.newbyteorder("="))


def _coalesced(target: Array, source: Array) -> tuple[Array, Array]:
    """Drop axes of size 1, sort by the target's strides, join axes that are one run in both."""
    axes = [axis for axis in range(target.ndim) if target.shape[axis] > 1]
    axes.sort(key=lambda axis: -abs(target.strides[axis]))
    shape: list[int] = []
    strides: list[tuple[int, int]] = []
    for axis in axes:
        size = target.shape[axis]
        pair = (target.strides[axis], source.strides[axis])
        if strides and strides[-1] == (pair[0] * size, pair[1] * size):
            shape[-1] *= size
            strides[-1] = pair
        else:
            shape.append(size)
            strides.append(pair)
    return (
        np.lib.stride_tricks.as_strided(target, shape, [pair[0] for pair in strides]),
        np.lib.stride_tricks.as_strided(source, shape, [pair[1] for pair in strides]),
    )


def _fastest(array: Array) -> int:
    """Return the axis with the smallest stride; of equal ones the last."""
    return min(reversed(range(array.ndim)), key=lambda axis: abs(array.strides[axis]))


def _slowest_first(array: Array, without: int) -> list[int]:
    axes = [axis for axis in range(array.ndim) if axis != without]
    return sorted(axes, key=lambda axis: -abs(array.strides[axis]))


def _copy_tiles(target: Array, source: Array) -> None:
    """Copy through a buffer whose axes are in the order given; the last is the leading axis."""
    extents = _tile_extents(target.shape, target.itemsize)
    buffer = np.empty(math.prod(extents), target.dtype)
    for tile in _tiles(target.shape, extents):
        piece = source[tile]
        staged = buffer[: piece.size].reshape(piece.shape)
        np.copyto(staged, piece)
        np.copyto(target[tile], staged)


def _tile_extents(shape: Shape, itemsize: int) -> list[int]:
    """Return the shape of a tile: a square of the leading axis and of the axes before it."""
    elements = TILE_BYTES // itemsize
    edge = math.isqrt(elements)
    extents = [1] * len(shape)
    # A short side lets the other one grow, so that a tile stays worth its call.
    across = math.prod(shape[:-1])
    extents[-1] = min(shape[-1], max(edge, elements // across))
    room = max(edge, elements // extents[-1])
    for axis in reversed(range(len(shape) - 1)):
        extents[axis] = min(shape[axis], max(1, room))
        room //= extents[axis]
    return extents


def _tiles(shape: Shape, extents: list[int]) -> Iterator[tuple[slice, ...]]:
    ranges = [
        [slice(start, start + extent) for start in range(0, size, extent)]
        for size, extent in zip(shape, extents, strict=True)
    ]
    return product(*ranges)
