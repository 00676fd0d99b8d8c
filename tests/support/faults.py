"""The bench of planted faults, as a table: pair, what is done to it, where, and its cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Fault = tuple[str, str, Callable[[Any], None], str, str]


def _f() -> Any:
    import torch.nn.functional as F

    return F


def step(name: str, function: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Another function between two modules."""
    return lambda net: net.put(name, function)


def attribute(module: str, **values: Any) -> Callable[[Any], None]:
    """Another setting of a module."""

    def change(net: Any) -> None:
        for name, value in values.items():
            setattr(getattr(net, module), name, value)

    return change


def tensor(module: str, name: str, function: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Another value of a tensor."""

    def change(net: Any) -> None:
        owner = getattr(net, module)
        getattr(owner, name).data = function(getattr(owner, name).data).contiguous()

    return change


def swap(module: str, one: str, other: str) -> Callable[[Any], None]:
    """Two tensors exchanged."""

    def change(net: Any) -> None:
        owner = getattr(net, module)
        first, second = getattr(owner, one), getattr(owner, other)
        first.data, second.data = second.data.clone(), first.data.clone()

    return change


def gates(*order: int) -> Callable[[Any], None]:
    """The gates of ``cell`` in another order."""

    def change(net: Any) -> None:
        import torch

        for one in net.cell.parameters():
            blocks = one.data.chunk(len(order))
            one.data = torch.cat([blocks[index] for index in order])

    return change


def batch_statistics(net: Any) -> None:
    net.bn.track_running_stats = False
    net.bn.running_mean = None
    net.bn.running_var = None


def hwc(weight: Any) -> Any:
    """Rows of ``hidden`` for features that were flattened (h w c), as Keras has them."""
    return weight.reshape(-1, 8, 1, 3).permute(0, 2, 3, 1).reshape(weight.shape)


def both(*changes: Callable[[Any], None]) -> Callable[[Any], None]:
    def change(net: Any) -> None:
        for one in changes:
            one(net)

    return change


def _bf16(weight: Any) -> Any:
    return weight.bfloat16().float()


def _one_bias(net: Any) -> None:
    net.cell.bias_hh_l0.data = net.cell.bias_ih_l0.data.clone()


def shifted_ids(net: Any) -> None:
    net.order.insert(0, "shift")
    net.put("shift", lambda x: (x + 1).clamp(max=16))


FAULTS: tuple[Fault, ...] = (
    ("epsilon", "image", attribute("bn", eps=1e-5), "bn", "epsilon"),
    (
        "mean and variance",
        "image",
        swap("bn", "running_mean", "running_var"),
        "bn",
        "mean_variance_swapped",
    ),
    ("gamma and beta", "image", swap("bn", "weight", "bias"), "bn", "gamma_beta_swapped"),
    ("statistics of the batch", "image", batch_statistics, "bn", "train_mode"),
    (
        "deviation for variance",
        "image",
        tensor("bn", "running_var", lambda x: x.sqrt()),
        "bn",
        "deviation_for_variance",
    ),
    (
        "variance squared",
        "image",
        tensor("bn", "running_var", lambda x: x**2),
        "bn",
        "variance_for_deviation",
    ),
    (
        "symmetric same",
        "image",
        step("pad", lambda x: _f().pad(x, (1, 1, 1, 1))[..., :-1, :]),
        "first",
        "same_padding",
    ),
    (
        "Theano's kernels",
        "image",
        tensor("first", "weight", lambda x: x.flip(2, 3)),
        "first",
        "theano_flip",
    ),
    (
        "kernel transposed",
        "image",
        tensor("first", "weight", lambda x: x.transpose(2, 3)),
        "first",
        "kernel_transposed",
    ),
    (
        "channels of the kernel",
        "image",
        tensor("wide", "weight", lambda x: x.transpose(0, 1)),
        "wide",
        "kernel_untransposed",
    ),
    (
        "BGR kernel",
        "image",
        tensor("first", "weight", lambda x: x.flip(1)),
        "first",
        "channel_order",
    ),
    ("dilation", "image", attribute("wide", dilation=(1, 1), padding=(1, 1)), "wide", "dilation"),
    (
        "padding mode",
        "image",
        attribute("wide", padding_mode="reflect", _reversed_padding_repeated_twice=[2, 2, 2, 2]),
        "wide",
        "padding_mode",
    ),
    ("flatten order", "image", tensor("hidden", "weight", hwc), "hidden", "flatten_order"),
    (
        "square matrix",
        "image",
        tensor("square", "weight", lambda x: x.T),
        "square",
        "square_transpose",
    ),
    (
        "LeakyReLU slope",
        "image",
        step("leaky", lambda x: _f().leaky_relu(x, 0.01)),
        "leaky",
        "leaky_slope",
    ),
    (
        "ELU alpha",
        "image",
        step("elu", lambda x: _f().elu(x, 0.5)),
        "grouped (activation)",
        "elu_alpha",
    ),
    (
        "GELU form",
        "image",
        step("gelu", lambda x: _f().gelu(x, approximate="tanh")),
        "hidden (activation)",
        "gelu",
    ),
    ("no ReLU", "image", step("relu", lambda x: x), "first (activation)", "activation_missing"),
    (
        "sigmoid for tanh",
        "image",
        step("tanh", lambda x: x.sigmoid()),
        "square (activation)",
        "activation",
    ),
    (
        "average for max",
        "image",
        step("pool", lambda x: _f().avg_pool2d(x, 2)),
        "pool",
        "pooling_kind",
    ),
    ("bfloat16 weights", "image", tensor("wide", "weight", _bf16), "wide", "bfloat16_weights"),
    (
        "float16 weights",
        "image",
        tensor("wide", "weight", lambda x: x.half().float()),
        "wide",
        "float16_weights",
    ),
    (
        "another weight",
        "image",
        tensor("head", "weight", lambda x: x * 1.1),
        "head",
        "other_weights",
    ),
    ("no rescaling", "pooled", step("scale", lambda x: x), "scale", "layer_missing"),
    ("RGB for BGR", "pooled", step("scale", lambda x: x.flip(1) * 0.25), "conv", "channel_order"),
    (
        "zeros elsewhere",
        "pooled",
        step("zeros", lambda x: _f().pad(x, (0, 1, 2, 0))),
        "zeros",
        "zero_padding",
    ),
    (
        "pooling count",
        "pooled",
        step("average", lambda x: _f().avg_pool2d(x, 3, 1, 1)),
        "average",
        "pooling_count",
    ),
    (
        "corners aligned",
        "pooled",
        step(
            "up", lambda x: _f().interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        ),
        "up",
        "resize",
    ),
    (
        "nearest for bilinear",
        "pooled",
        step("up", lambda x: _f().interpolate(x, scale_factor=2)),
        "up",
        "resize",
    ),
    (
        "hard swish",
        "pooled",
        step("silu", lambda x: _f().hardswish(x)),
        "conv (activation)",
        "activation",
    ),
    (
        "kernel of the transpose",
        "pooled",
        tensor("grow", "weight", lambda x: x.flip(2, 3)),
        "grow",
        "theano_flip",
    ),
    (
        "transpose cut elsewhere",
        "pooled",
        step("cut", lambda x: x[..., 1:, 1:]),
        "classes",
        "transpose_padding",
    ),
    ("maximum for mean", "pooled", step("mean", lambda x: x.amax((2, 3))), "mean", "pooling_kind"),
    (
        "no softmax",
        "sequence",
        step("softmax", lambda x: x),
        "shares (activation)",
        "softmax_missing",
    ),
    (
        "softmax twice",
        "pooled",
        step("softmax", lambda x: x.softmax(-1).softmax(-1)),
        "classes (activation)",
        "softmax_double",
    ),
    (
        "log softmax",
        "sequence",
        step("softmax", lambda x: x.log_softmax(-1)),
        "shares (activation)",
        "log_softmax",
    ),
    (
        "symmetric max pooling",
        "halves",
        step("pool", lambda x: _f().max_pool2d(x, 3, 2, 1)),
        "pool",
        "pooling_padding",
    ),
    (
        "zeros around max pooling",
        "halves",
        step("pool", lambda x: _f().max_pool2d(_f().pad(x, (1, 1, 0, 1)), 3, 2)),
        "pool",
        "pooling_fill",
    ),
    ("no ReLU6", "halves", step("relu6", lambda x: x), "next (activation)", "activation_missing"),
    ("LayerNorm epsilon", "halves", attribute("norm", eps=1e-5), "norm", "norm_epsilon"),
    (
        "LayerNorm gain and bias",
        "halves",
        swap("norm", "weight", "bias"),
        "norm",
        "gamma_beta_swapped",
    ),
    (
        "Keras 2's hard sigmoid",
        "halves",
        step("sigmoid", lambda x: (0.2 * x + 0.5).clamp(0, 1)),
        "gate (activation)",
        "activation",
    ),
    ("LSTM gates", "lstm", gates(0, 2, 1, 3), "cell", "gate_order"),
    (
        "LSTM kernels",
        "lstm",
        swap("cell", "weight_ih_l0", "weight_hh_l0"),
        "cell",
        "kernels_swapped",
    ),
    ("bias twice", "lstm", _one_bias, "cell", "two_biases"),
    ("GRU gates", "gru", gates(1, 0, 2), "cell", "gate_order"),
    ("ids from one", "lstm", shifted_ids, "table", "embedding_offset"),
    (
        "table off by one",
        "gru",
        tensor("table", "weight", lambda x: x.roll(1, 0)),
        "table",
        "embedding_offset",
    ),
    (
        "epsilon, and a square matrix",
        "image",
        both(attribute("bn", eps=1e-5), tensor("square", "weight", lambda x: x.T)),
        "bn, square",
        "epsilon, square_transpose",
    ),
    (
        "slope, and flatten order",
        "image",
        both(step("leaky", lambda x: _f().leaky_relu(x, 0.2)), tensor("hidden", "weight", hwc)),
        "leaky, hidden",
        "leaky_slope, flatten_order",
    ),
    (
        "pooling count, and softmax twice",
        "pooled",
        both(
            step("average", lambda x: _f().avg_pool2d(x, 3, 1, 1)),
            step("softmax", lambda x: x.softmax(-1).softmax(-1)),
        ),
        "average, classes (activation)",
        "pooling_count, softmax_double",
    ),
)
