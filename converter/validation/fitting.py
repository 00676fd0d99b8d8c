"""The same activation on both sides: which order of axes, which padding makes one fit the other.

Keras' value is brought into each form that PyTorch may hold it in, and the nearest is taken. A form
only decides where axes stand or which zeros surround a value, never a number in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from converter.tensors.dtype import Array
from converter.validation.compare import compare


@dataclass(frozen=True, slots=True)
class Fit:
    """Keras' value in PyTorch's form.

    Attributes:
        array: The value.
        error: Relative L2 error of PyTorch's from it, infinite where no form fits.
        form: Which form it is.
    """

    array: Array
    error: float
    form: str


def fit(keras: Array, shape: tuple[int, ...], found: Array, before: Sequence[Array] = ()) -> Fit:
    """Return the form of a Keras value nearest to what PyTorch has.

    Args:
        keras: Keras' value.
        shape: Shape that the form must have.
        found: PyTorch's value.
        before: Values that it was made of by flattening or padding alone, nearest first.
    """
    best = Fit(keras, math.inf, "")
    for form, array in forms(keras, shape, before):
        error = distance(found, array)
        if error < best.error or not best.form:
            best = Fit(np.ascontiguousarray(array), error, form)
    return best


def distance(found: Array, expected: Array) -> float:
    """Return the relative L2 error, infinite where shapes or non-finite places differ."""
    if found.shape != expected.shape:
        return math.inf
    gap = compare(found, expected)
    return math.inf if gap.mismatched else gap.relative_l2


def forms(
    keras: Array, shape: tuple[int, ...], before: Sequence[Array] = ()
) -> Iterator[tuple[str, Array]]:
    """Yield each form of a Keras value that has a shape."""
    for array in (keras, *before):
        for form, moved in _moved(array):
            if moved.shape == shape:
                yield form, moved
            elif (
                moved.size == math.prod(shape)
                and moved.shape[0] == shape[0]
                and len(shape) < moved.ndim
            ) or (moved.size == math.prod(shape) and _squeezed(moved.shape) == _squeezed(shape)):
                yield f"{form}, flat", moved.reshape(shape)


def _moved(array: Array) -> Iterator[tuple[str, Array]]:
    if array.ndim >= 3:
        yield "channels first", np.moveaxis(array, -1, 1)
    if array.ndim >= 4:
        yield "time, channels", np.moveaxis(array, -1, 2)
    yield "same", array
    if array.ndim == 3:
        yield "time first", np.moveaxis(array, 0, 1)
    if array.ndim >= 3:
        yield "rows", array.reshape(-1, array.shape[-1])


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def same_pads(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the zeros before and after each spatial axis that Keras' ``same`` adds.

    Source: TensorFlow's ``same``: the total makes ``ceil(n / s)`` outputs, the odd one goes after.

    Examples:
        >>> same_pads([8, 7], [3, 3], [2, 2], [1, 1])
        [(0, 1), (1, 1)]
    """
    pads = []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
        pads.append((total // 2, total - total // 2))
    return pads
