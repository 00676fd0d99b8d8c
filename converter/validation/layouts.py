"""In which order the axes of an input or output stand on the PyTorch side.

Keras holds images as ``(batch, height, width, channels)``, PyTorch as ``(batch, channels, height,
width)``. Whether a tensor is an image is decided by the Keras graph, or said by the mapping or the
user; never by its shape. The convention is that of conversion by kind: rank 4 and 5 are images;
rank 3 is one where a one-dimensional convolution, pooling or padding reads or makes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np

from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange
from converter.errors import UsageError
from converter.tensors.dtype import Array

Layout = Literal["same", "channels_first"]

SPATIAL = re.compile(
    r"(Depthwise|Separable)?Conv[123]D(Transpose)?"
    r"|((Max|Average)Pooling|UpSampling|ZeroPadding|Cropping)[123]D"
    r"|Global(Max|Average)Pooling[123]D"
)
# What keeps the order of the axes: the question goes on to the next layer.
PASSING = re.compile(
    r"InputLayer|Activation|ActivityRegularization|Identity|Rescaling|Normalization"
    r"|(Alpha|Gaussian|Spatial)?Dropout([123]D)?|GaussianNoise|.*ReLU|ELU|Softmax"
    r"|BatchNormalization|(Group|RMS|Unit)Normalization|Add|Average|Maximum|Minimum|Multiply"
    r"|Subtract|Concatenate"
)


def input_layout(tensor: Any) -> Layout:
    """Return the layout of a Keras input tensor on the PyTorch side."""
    return _layout(tensor, _readers)


def output_layout(tensor: Any) -> Layout:
    """Return the layout of a Keras output tensor on the PyTorch side."""
    return _layout(tensor, _makers)


def to_torch(array: Array, layout: Layout, axes: str | None = None) -> Array:
    """Return an array with its axes in PyTorch's order, C-contiguous.

    Args:
        array: In Keras' order, the batch first.
        layout: Where the channels go.
        axes: A pattern, Keras to PyTorch, that decides instead.

    Raises:
        UsageError: If the pattern does not fit the array.
    """
    if axes is not None:
        return _rearranged(array, Pattern.parse(axes), axes)
    if layout == "same" or array.ndim < 3:
        return array
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def to_keras(array: Array, layout: Layout, axes: str | None = None) -> Array:
    """Return an array with its axes in Keras' order, C-contiguous; undoes :func:`to_torch`."""
    if axes is not None:
        return _rearranged(array, Pattern.parse(axes).inverse(), axes)
    if layout == "same" or array.ndim < 3:
        return array
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def chosen(layouts: Mapping[str, str], name: str, default: Layout) -> Layout:
    """Return the layout that the user gave for a name, or the default.

    Raises:
        UsageError: If it is none of the two.
    """
    given = layouts.get(name, default)
    if given in ("same", "channels_last"):
        return "same"
    if given == "channels_first":
        return "channels_first"
    raise UsageError(
        f"cannot use layout '{given}' for '{name}'",
        hint="say channels_first or channels_last, as the PyTorch side has it",
    )


def _rearranged(array: Array, pattern: Pattern, text: str) -> Array:
    try:
        sizes = pattern.unify(sources=[array.shape])
        return Rearrange(pattern, sizes).apply([array])[0]
    except ValueError as error:
        raise UsageError(
            f"cannot permute an array of shape {array.shape} by '{text}'",
            facts=[("reason", str(error).splitlines()[0])],
        ) from error


def _layout(tensor: Any, step: Any) -> Layout:
    rank = len(tensor.shape)
    found = next(_spatial_layers(tensor, step), None)
    if found is not None and getattr(found, "data_format", None) == "channels_first":
        return "same"
    if rank in (4, 5) or (rank == 3 and found is not None):
        return "channels_first"
    return "same"


def _spatial_layers(tensor: Any, step: Any) -> Iterator[Any]:
    """Yield the convolutions and poolings nearest to a tensor, past what keeps its axes."""
    waiting, seen = list(step(tensor)), set()
    while waiting:
        layer, further = waiting.pop(0)
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if SPATIAL.fullmatch(type(layer).__name__):
            yield layer
        elif PASSING.fullmatch(type(layer).__name__):
            for one in further:
                waiting.extend(step(one))


def _readers(tensor: Any) -> Iterable[tuple[Any, list[Any]]]:
    """Yield each layer that reads a tensor, with its outputs."""
    made_by = tensor._keras_history.operation  # noqa: SLF001 -- the only link to the graph
    for call in made_by._outbound_nodes:  # noqa: SLF001 -- likewise
        if any(one is tensor for one in call.input_tensors):
            yield call.operation, list(call.output_tensors)


def _makers(tensor: Any) -> Iterable[tuple[Any, list[Any]]]:
    """Yield the layer that made a tensor, with its inputs."""
    history = tensor._keras_history  # noqa: SLF001 -- the only link to the graph
    call = history.operation._inbound_nodes[history.node_index]  # noqa: SLF001 -- likewise
    yield history.operation, list(call.input_tensors)
