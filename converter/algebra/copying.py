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

_SMALL_BYTES = 1 << 17  # below this the caches do what tiles would do
_SHORT_RUN = 16  # elements; shorter runs cost more per call of the inner loop than they save
_PADDING = 64  # bytes between rows of the buffer: rows a power of two apart evict each other


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
    target, source = as_bytes(target), as_bytes(source)
    if target.nbytes > _SMALL_BYTES:
        target, source = _coalesced(target, source)
        if _gains_by_tiles(target, source):
            _copy_tiles(target, source)
            return
    np.copyto(target, source)


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


def _gains_by_tiles(target: Array, source: Array) -> bool:
    if target.ndim < 2:
        return False
    in_target, in_source = _fastest(target), _fastest(source)
    runs = target.shape[in_target], source.shape[in_source]
    if in_target == in_source or max(runs) < _SHORT_RUN:
        return False
    return target.ndim > 2 or min(runs) >= _SHORT_RUN


def _fastest(array: Array) -> int:
    """Return the axis with the smallest stride; of equal ones the last."""
    return min(reversed(range(array.ndim)), key=lambda axis: abs(array.strides[axis]))


def _slowest_first(array: Array, without: int) -> list[int]:
    axes = [axis for axis in range(array.ndim) if axis != without]
    return sorted(axes, key=lambda axis: -abs(array.strides[axis]))


def _copy_tiles(target: Array, source: Array) -> None:
    """Copy through a buffer in which what is a run for the source, or for the target, is a row.

    With long runs in the source, rows of the buffer are such runs, in the order in which the
    target wants their elements. With short ones (a 3 x 3 window), a row is a stretch of the source
    that belongs to one position of the target's fastest axis.
    """
    in_target, in_source = _fastest(target), _fastest(source)
    by_source = source.shape[in_source] >= min(target.shape[in_target], _SHORT_RUN)
    lead = in_source if by_source else in_target
    order = [*_slowest_first(target if by_source else source, without=lead), lead]
    target, source = target.transpose(order), source.transpose(order)
    extents = _tile_extents(target.shape, target.itemsize)
    across, along = math.prod(extents[:-1]), extents[-1]
    rows, columns = (across, along) if by_source else (along, across)
    buffer = np.empty((rows, columns + _PADDING // target.itemsize), target.dtype)
    for tile in _tiles(target.shape, extents):
        piece, place = source[tile], target[tile]
        if by_source:
            row_axes, column_axes = piece.shape[:-1], piece.shape[-1:]
        else:
            piece, place = np.moveaxis(piece, -1, 0), np.moveaxis(place, -1, 0)
            row_axes, column_axes = piece.shape[:1], piece.shape[1:]
        staged = buffer[: math.prod(row_axes), : math.prod(column_axes)].reshape(piece.shape)
        np.copyto(staged, piece)
        np.copyto(place, staged)


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
