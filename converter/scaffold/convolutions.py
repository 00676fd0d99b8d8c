"""Convolutions: channels first, padded as Keras pads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.scaffold.activations import activated
from converter.scaffold.program import Code, Literal, Part, Use, applied, call, option
from converter.scaffold.scope import Order, Translation, ordered


def order_of(t: Translation) -> Order:
    """Return the order of axes that a spatial layer reads: channels first in PyTorch, always."""
    return "keras" if t.config.get("data_format") == "channels_first" else "first"


def channels_of(t: Translation, order: Order) -> Any:
    """Return the number of channels of a layer's input."""
    return ordered(t.first.shape, order)[1]


def sizes_of(t: Translation, order: Order) -> tuple[int | None, ...]:
    """Return the spatial sizes of a layer's input; ``None`` for open ones."""
    return tuple(ordered(t.first.shape, order)[2:])


def short(values: Sequence[Any]) -> Any:
    """Return one number for equal ones, as PyTorch takes them.

    Examples:
        >>> short([3, 3]), short([3, 5])
        (3, (3, 5))
    """
    return values[0] if len(set(values)) == 1 else tuple(values)


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return what TensorFlow's ``same`` pads before and behind: the odd one goes behind.

    Source: TensorFlow 2.21 python/ops/nn_ops.py, "SAME"; keras 3.15.1 backend/torch/nn.py.

    Examples:
        >>> same_padding(224, 3, 2, 1), same_padding(225, 3, 2, 1)
        ((0, 1), (1, 1))
    """
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def padded(
    t: Translation,
    use: Use,
    sizes: Sequence[int | None],
    windows: tuple[Sequence[int], Sequence[int], Sequence[int]],
    *,
    fill: float = 0.0,
    symmetric: bool = True,
) -> tuple[Use, Any]:
    """Pad as ``same`` does, and return the padded value and what the module itself pads.

    Args:
        t: The call.
        use: The value, channels first.
        sizes: Its spatial sizes; ``None`` for open ones.
        windows: Kernel sizes, strides and dilations.
        fill: What is put around.
        symmetric: Whether the module may pad, where both ends get equally much.
    """
    kernels, strides, dilations = windows
    if all(one == 1 for one in strides):
        both = [same_padding(1 << 20, k, 1, d) for k, d in zip(kernels, dilations, strict=True)]
    elif None in sizes:
        name = t.snippet("pad_same")
        settings: dict[str, Part | Code] = {"fill": Literal(fill)} if fill else {}
        if any(one != 1 for one in dilations):
            settings["dilation"] = Literal(tuple(dilations))
        code = call(name, use, Literal(tuple(kernels)), Literal(tuple(strides)), **settings)
        return Use(t.write(code)), 0
    else:
        known = [size for size in sizes if size is not None]
        both = [same_padding(*one) for one in zip(known, kernels, strides, dilations, strict=True)]
    if all(before == behind for before, behind in both) and symmetric:
        return use, short([before for before, _ in both])
    ends = tuple(end for pair in reversed(both) for end in pair)
    if not any(ends):
        return use, 0
    filled: dict[str, Part | Code] = {"value": Literal(fill)} if fill else {}
    return Use(t.write(call("F.pad", use, Literal(ends, "padding"), **filled))), 0


def convolution(t: Translation) -> None:
    """Conv1D, Conv2D, Conv3D."""
    order = order_of(t)
    config = t.config
    use, padding = _padded_input(t, order, config)
    member = t.member(
        _module(
            t,
            "Conv",
            channels_of(t, order),
            config["filters"],
            padding,
            groups=config.get("groups", 1),
        )
    )
    _finish(t, t.write(applied(member, use)), order)


def _padded_input(t: Translation, order: Order, config: Any) -> tuple[Use, Any]:
    use = t.use(order)
    windows = (config["kernel_size"], config["strides"], config["dilation_rate"])
    if config["padding"] == "same":
        return padded(t, use, sizes_of(t, order), windows)
    if config["padding"] == "causal":
        before = (config["kernel_size"][0] - 1) * config["dilation_rate"][0]
        if before:
            use = Use(t.write(call("F.pad", use, Literal((before, 0), "padding"))))
    return use, 0


def _module(
    t: Translation,
    name: str,
    inputs: int,
    outputs: int,
    padding: Any,
    *,
    groups: int = 1,
    use_bias: bool | None = None,
    kernel: Any = None,
    point: bool = False,
) -> Code:
    """Return what makes a convolution, with the arguments that are not PyTorch's defaults."""
    config = t.config
    axes = len(config["kernel_size"])
    size = short(config["kernel_size"]) if kernel is None else kernel
    has_bias = config["use_bias"] if use_bias is None else use_bias
    return call(
        f"nn.{name}{axes}d",
        Literal(inputs, "in_channels"),
        Literal(outputs, "out_channels"),
        Literal(size, "kernel_size"),
        option("stride", 1 if point else short(config["strides"]), 1),
        option("padding", padding, 0),
        option("dilation", 1 if point else short(config["dilation_rate"]), 1),
        option("groups", groups, 1),
        option("bias", bool(has_bias), default=True),
    )


def _finish(t: Translation, number: int, order: Order) -> None:
    number = activated(t, number, t.config.get("activation"), order, t.first.rank)
    t.give(number, order)


def depthwise(t: Translation) -> None:
    """DepthwiseConv1D, DepthwiseConv2D: as many groups as channels."""
    order = order_of(t)
    channels = channels_of(t, order)
    use, padding = _padded_input(t, order, t.config)
    outputs = channels * t.config["depth_multiplier"]
    member = t.member(_module(t, "Conv", channels, outputs, padding, groups=channels))
    _finish(t, t.write(applied(member, use)), order)


def separable(t: Translation) -> None:
    """SeparableConv1D, SeparableConv2D: a depthwise convolution, then one over the channels."""
    order = order_of(t)
    channels = channels_of(t, order)
    middle = channels * t.config["depth_multiplier"]
    use, padding = _padded_input(t, order, t.config)
    depth = _module(t, "Conv", channels, middle, padding, groups=channels, use_bias=False)
    point = _module(t, "Conv", middle, t.config["filters"], 0, kernel=1, point=True)
    member = t.member(call(t.snippet("SeparableConv"), depth, point))
    _finish(t, t.write(applied(member, use)), order)


def transposed(t: Translation) -> None:
    """Conv1DTranspose, Conv2DTranspose, Conv3DTranspose.

    Both frameworks scatter each input over a window of the output; Keras then cuts at each end,
    and PyTorch can only cut the same at both, so the cut is a step of its own where they differ.
    """
    order = order_of(t)
    config = t.config
    axes = len(config["kernel_size"])
    cuts = [_cut(t, axis) for axis in range(axes)]
    settings: dict[str, Part | Code] = {}
    if any(one != 1 for one in config["strides"]):
        settings["stride"] = Literal(short(config["strides"]), "stride")
    if all(before == behind and before > 0 for before, behind in cuts):
        settings["padding"] = Literal(short([before for before, _ in cuts]), "padding")
        cuts = []
    elif any(behind < 0 for _, behind in cuts):
        extra = [max(-behind, 0) for _, behind in cuts]
        settings["output_padding"] = Literal(short(extra), "output_padding")
        cuts = [(before, max(behind, 0)) for before, behind in cuts]
    if any(one != 1 for one in config["dilation_rate"]):
        settings["dilation"] = Literal(short(config["dilation_rate"]), "dilation")
    if not config["use_bias"]:
        settings["bias"] = Literal(value=False)
    member = t.member(
        call(
            f"nn.ConvTranspose{axes}d",
            Literal(channels_of(t, order), "in_channels"),
            Literal(config["filters"], "out_channels"),
            Literal(short(config["kernel_size"]), "kernel_size"),
            **settings,
        )
    )
    number = t.write(applied(member, t.use(order)))
    if any(before or behind for before, behind in cuts):
        ends = tuple(-end for pair in reversed(cuts) for end in pair)
        number = t.write(call("F.pad", Use(number), Literal(ends, "padding")))
    _finish(t, number, order)


def _cut(t: Translation, axis: int) -> tuple[int, int]:
    """Return how much Keras cuts off in front and behind; a negative number is added instead.

    Source: keras 3.15.1 backend/common/backend_utils.py,
    _convert_conv_transpose_padding_args_from_keras_to_jax and the crops made of it for torch.
    """
    config = t.config
    stride = config["strides"][axis]
    reach = (config["kernel_size"][axis] - 1) * config["dilation_rate"][axis] + 1
    extra = config.get("output_padding")
    extra = extra[axis] if isinstance(extra, list | tuple) else extra
    if config["padding"] == "valid":
        behind = max(reach, stride) - reach if extra is None else extra
        return 0, -behind
    total = stride + reach - 2 if extra is None else reach + reach % 2 - 2 + extra
    before = min(total // 2 + total % 2, reach - 1)
    return reach - 1 - before, reach - 1 - (total - before)
