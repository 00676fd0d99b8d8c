"""Shapes of what convolutions, pooling, padding, cropping and scaling give.

Source: keras 3.15.1 ``ops/operation_utils.py``, ``compute_conv_output_shape`` and
``compute_pooling_output_shape``; ``backend/common/backend_utils.py``,
``compute_conv_transpose_output_shape``.
"""

from __future__ import annotations

from collections.abc import Callable

from converter.graph.nodes import ValueShape
from converter.graph.shape_rules import (
    Given,
    Rule,
    ShapeError,
    ShapeRule,
    image,
    in_own_type,
    need_rank,
    positions,
)

_Rule = Callable[[Given, int], ValueShape]


def window_size(
    size: int | None, kernel: int, stride: int, padding: object, dilation: int = 1
) -> int | None:
    """Return how many windows there are along an axis.

    Raises:
        ShapeError: If there are none, or the padding is unknown.

    Examples:
        >>> window_size(7, 3, 2, "same"), window_size(7, 3, 2, "valid")
        (4, 3)
    """
    if padding not in ("valid", "same", "causal"):
        raise ShapeError(f"its padding is {padding!r}")
    if size is None:
        return None
    if padding != "valid":
        return (size - 1) // stride + 1
    found = (size - dilation * (kernel - 1) - 1) // stride + 1
    if found <= 0:
        raise ShapeError(f"a window of {kernel} does not fit into {size}")
    return found


def _windows(given: Given, axes: int, kernel: list[int]) -> list[int | None]:
    sizes, _, _ = positions(given, axes)
    strides = given.sizes("strides", axes)
    dilations = (
        given.sizes("dilation_rate", axes) if "dilation_rate" in given.config else [1] * axes
    )
    padding = given.config.get("padding")
    every = zip(sizes, kernel, strides, dilations, strict=True)
    return [window_size(size, k, s, padding, d) for size, k, s, d in every]


def convolved(given: Given, axes: int) -> ValueShape:
    """Return the shape that a convolution gives."""
    _, channels, batch = positions(given, axes)
    sizes = _windows(given, axes, given.sizes("kernel_size", axes))
    if "filters" in given.config:
        made: int | None = given.size("filters")
    else:
        made = None if channels is None else channels * given.size("depth_multiplier")
    return image(given, batch, sizes, made)


def _pooled(given: Given, axes: int) -> ValueShape:
    _, channels, batch = positions(given, axes)
    return image(given, batch, _windows(given, axes, given.sizes("pool_size", axes)), channels)


def transposed_size(
    size: int | None,
    kernel: int,
    stride: int,
    padding: object,
    *,
    extra: int | None = None,
    dilation: int = 1,
) -> int | None:
    """Return the size along an axis after a transposed convolution.

    Raises:
        ShapeError: If the padding is unknown.

    Examples:
        >>> transposed_size(5, 3, 2, "same"), transposed_size(5, 3, 2, "valid")
        (10, 11)
    """
    if padding not in ("valid", "same"):
        raise ShapeError(f"its padding is {padding!r}")
    if size is None:
        return None
    kernel = (kernel - 1) * dilation + 1
    if padding == "valid":
        extra = max(kernel, stride) - kernel if extra is None else extra
        return (size - 1) * stride + kernel + extra
    return size * stride if extra is None else (size - 1) * stride + kernel % 2 + extra


def _transposed(given: Given, axes: int) -> ValueShape:
    sizes, _, batch = positions(given, axes)
    extra: list[int | None] = [None] * axes
    if given.config.get("output_padding") is not None:
        extra = list(given.sizes("output_padding", axes, 0))
    every = zip(
        sizes,
        given.sizes("kernel_size", axes),
        given.sizes("strides", axes),
        extra,
        given.sizes("dilation_rate", axes),
        strict=True,
    )
    padding = given.config.get("padding")
    made = [transposed_size(size, k, s, padding, extra=e, dilation=d) for size, k, s, e, d in every]
    return image(given, batch, made, given.size("filters"))


def _whole(given: Given, axes: int) -> ValueShape:
    """Global pooling."""
    _, channels, batch = positions(given, axes)
    if given.is_on("keepdims"):
        return image(given, batch, [1] * axes, channels)
    return (batch, channels)


def _adapted(given: Given, axes: int) -> ValueShape:
    _, channels, batch = positions(given, axes)
    size = given.config.get("output_size")
    sizes = [size] * axes if type(size) is int else given.sizes("output_size", axes)
    return image(given, batch, sizes, channels)


def _pairs(given: Given, key: str, axes: int) -> list[int]:
    """Return how much each axis gains or loses."""
    value = given.config.get(key)
    if not isinstance(value, list | tuple) or len(value) != axes:
        raise ShapeError(f"its {key} is not {axes} pairs: {value!r}")
    for pair in value:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ShapeError(f"its {key} is not {axes} pairs: {value!r}")
        if not all(type(one) is int and one >= 0 for one in pair):
            raise ShapeError(f"its {key} is not {axes} pairs: {value!r}")
    return [pair[0] + pair[1] for pair in value]


def _padded(given: Given, axes: int) -> ValueShape:
    sizes, channels, batch = positions(given, axes)
    more = _pairs(given, "padding", axes)
    made = [None if size is None else size + one for size, one in zip(sizes, more, strict=True)]
    return image(given, batch, made, channels)


def _cropped(given: Given, axes: int) -> ValueShape:
    sizes, channels, batch = positions(given, axes)
    made: list[int | None] = []
    for size, less in zip(sizes, _pairs(given, "cropping", axes), strict=True):
        if size is not None and less >= size:
            raise ShapeError(f"nothing of {size} is left after cropping {less}")
        made.append(None if size is None else size - less)
    return image(given, batch, made, channels)


def _scaled(given: Given, axes: int) -> ValueShape:
    sizes, channels, batch = positions(given, axes)
    times = given.sizes("size", axes)
    made = [None if size is None else size * one for size, one in zip(sizes, times, strict=True)]
    return image(given, batch, made, channels)


def _resized(given: Given) -> ValueShape:
    sizes = [given.size("height"), given.size("width")]
    if len(given.shape) == 3:
        channels = given.shape[0] if given.channels_first else given.shape[-1]
        return (channels, *sizes) if given.channels_first else (*sizes, channels)
    shape = need_rank(given, 4)
    return image(given, shape[0], sizes, shape[1] if given.channels_first else shape[-1])


def _spectra(given: Given) -> ValueShape:
    """STFTSpectrogram: windows over time, one number a frequency."""
    sizes, channels, batch = positions(given, 1)
    length = given.size("frame_length")
    step = given.config.get("frame_step") or length // 2
    points = given.config.get("fft_length") or 1 << max(length - 1, 0).bit_length()
    steps = window_size(sizes[0], length, step, given.config.get("padding"))
    bins = (points // 2 + 1) * (2 if given.config.get("mode") == "stft" else 1)
    if given.is_on("expand_dims"):
        return (
            (batch, channels, steps, bins)
            if given.channels_first
            else (batch, steps, bins, channels)
        )
    made = None if channels is None else bins * channels
    return image(given, batch, [steps], made)


def _of_axes(rule: _Rule, names: str, axes: tuple[int, ...]) -> dict[str, ShapeRule]:
    return {name.format(n): _with(rule, n) for name in names.split() for n in axes}


def _with(rule: _Rule, axes: int) -> ShapeRule:
    return lambda given: rule(given, axes)


_SHAPES: dict[str, ShapeRule] = {
    **_of_axes(convolved, "Conv{}D", (1, 2, 3)),
    **_of_axes(convolved, "SeparableConv{}D DepthwiseConv{}D LocallyConnected{}D", (1, 2)),
    **_of_axes(_transposed, "Conv{}DTranspose", (1, 2, 3)),
    **_of_axes(_pooled, "MaxPooling{}D AveragePooling{}D", (1, 2, 3)),
    **_of_axes(_whole, "GlobalMaxPooling{}D GlobalAveragePooling{}D", (1, 2, 3)),
    **_of_axes(_adapted, "AdaptiveMaxPooling{}D AdaptiveAveragePooling{}D", (1, 2, 3)),
    **_of_axes(_padded, "ZeroPadding{}D", (1, 2, 3)),
    **_of_axes(_cropped, "Cropping{}D", (1, 2, 3)),
    **_of_axes(_scaled, "UpSampling{}D", (1, 2, 3)),
}

RULES: dict[str, Rule] = {
    **{name: in_own_type(rule) for name, rule in _SHAPES.items()},
    "Resizing": in_own_type(_resized),
    "STFTSpectrogram": in_own_type(_spectra),
    "CenterCrop": in_own_type(_resized),
    "RandomCrop": in_own_type(_resized),
}
