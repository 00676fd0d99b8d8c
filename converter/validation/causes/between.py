"""What PyTorch may compute in the place of a layer without weights, or of the boundary itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from converter.tensors.dtype import Array
from converter.validation.causes import activation, spatial
from converter.validation.causes.trial import Variant
from converter.validation.keras_trace import Event

_MERGES = {
    "Add": lambda *x: sum(x[1:], x[0]),
    "Multiply": lambda *x: np.prod(x, axis=0),
    "Average": lambda *x: np.mean(x, axis=0),
    "Maximum": lambda *x: np.max(x, axis=0),
    "Subtract": lambda *x: x[0] - x[1],
}
_PREPROCESSING = frozenset({"Rescaling", "Normalization"})


def variants(event: Event) -> Iterator[Variant]:
    """Yield what PyTorch may have in the place of one Keras event."""
    kind = type(event.layer).__name__
    name = str(event.layer.name)
    if activation.is_activation(event):
        yield from activation.variants(event)
    elif kind in _MERGES:
        for index in range(len(event.inputs)):
            yield Variant("branch_missing", lambda *x, i=index: x[i], name)
        for other, function in _MERGES.items():
            if other != kind:
                yield Variant("merge", function, other.lower())
    elif kind == "Concatenate":
        axis = event.layer.axis
        yield Variant("concat_order", lambda *x: np.concatenate(x[::-1], axis))
    elif kind in _PREPROCESSING:
        yield Variant("layer_missing", lambda x: x, f"{name} ({kind})")
    else:
        yield from spatial.variants(event)
    if kind in ("UpSampling2D", "ZeroPadding2D", "MaxPooling2D", "AveragePooling2D"):
        return
    if (
        len(event.inputs) == 1
        and not activation.is_activation(event)
        and kind not in _PREPROCESSING
    ):
        yield Variant("layer_missing", lambda x: x, f"{name} ({kind})")


def boundary(array: Array) -> Iterator[tuple[str, str, Callable[[Array], Array]]]:
    """Yield what may have been done to a value before anything else: cause, detail, change."""
    if array.dtype.kind in "iu":
        yield "embedding_offset", "PyTorch adds 1", lambda x: x + 1
        yield "embedding_offset", "PyTorch takes 1 away", lambda x: x - 1
        return
    if array.ndim == 4 and 1 < array.shape[-1] <= 4:
        yield "channel_order", "", lambda x: np.ascontiguousarray(x[..., ::-1])
    if array.ndim == 4:
        yield "axes_swapped", "", lambda x: np.swapaxes(x, 1, 2)
    if array.ndim in (3, 4, 5):
        for by in (1, -1):
            yield "shifted", f"{by:+d}", partial(_shifted, by=by)
    if array.ndim == 3:
        yield "reversed_time", "", lambda x: np.ascontiguousarray(x[:, ::-1])
    yield "activation", "relu after it", lambda x: np.maximum(x, 0)
    yield "softmax_double", "", _softmax


def _shifted(array: Array, by: int) -> Array:
    """Return an array moved along every spatial axis, zeros where nothing is known."""
    moved = np.zeros_like(array)
    take = slice(None, -by) if by > 0 else slice(-by, None)
    put = slice(by, None) if by > 0 else slice(None, by)
    axes = (slice(None), *([put] * (array.ndim - 2)))
    moved[axes] = array[(slice(None), *([take] * (array.ndim - 2)))]
    return moved


def _softmax(array: Array) -> Any:
    shifted = np.exp(array - array.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
