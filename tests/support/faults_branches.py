"""Faults of branches, geometry and precision; see ``faults``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.faults import Fault, attribute, both, step


def first(function: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Something done to the input before anything else."""

    def change(net: Any) -> None:
        net.order.insert(0, "before")
        net.put("before", function)

    return change


def other_order(one: Any, other: Any) -> Any:
    import torch

    return torch.cat([other, one], 1)


def over_all(net: Any) -> None:
    """A GroupNorm of one group in the place of a LayerNorm over channels."""
    from torch import nn

    norm = nn.GroupNorm(1, 10, eps=1e-3)
    norm.load_state_dict(net.norm.state_dict())
    net.put("norm", norm.eval())
    net.put("last", lambda x: x)
    net.put("back", lambda x: x)


def moved_stride(net: Any) -> None:
    net.reduce.stride, net.wide.stride = (1, 1), (2, 2)


def shifted(x: Any) -> Any:
    import torch.nn.functional as F

    return F.pad(x, (1, 0, 1, 0))[..., :-1, :-1]


def under(name: str, context: Callable[[], Any]) -> Callable[[Any], None]:
    """Let one module run under a context that changes how it computes."""

    def change(net: Any) -> None:
        module = getattr(net, name)
        known = type(module)

        class Within(known):
            def forward(self, x: Any) -> Any:
                with context():
                    return super().forward(x)

        module.__class__ = Within

    return change


def autocast() -> Any:
    import torch

    return torch.autocast("cpu", dtype=torch.bfloat16)


def autocast_whole(net: Any) -> None:
    inner = type(net).forward

    class Within(type(net)):
        def forward(self, x: Any) -> Any:
            with autocast():
                return inner(self, x)

    net.__class__ = Within


def halved(net: Any) -> None:
    """One module in float16, with casts around it."""
    net.order.insert(net.order.index("squash"), "low")
    net.put("low", lambda x: x.half())
    net.put("squash", net.squash.half(), "low")
    net.put("product", lambda x, y: x.float() * y)


def tensor_cores() -> Any:
    """Emulate TF32: the factors of products have 10 bits after the point, sums are in float32.

    Source: NVIDIA A100 white paper: TF32 has the exponent of float32 and the mantissa of float16.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    products = {torch.nn.functional.linear, torch.conv2d, torch.matmul, torch.conv1d}

    def rounded(one: Any) -> Any:
        if not isinstance(one, torch.Tensor) or one.dtype != torch.float32:
            return one
        bits = one.contiguous().view(torch.int32)
        bits = (bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF
        return bits.view(torch.float32)

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func in products:
                args = (*(rounded(one) for one in args[:2]), *args[2:])
            return func(*args, **(kwargs or {}))

    return Mode()


BRANCH_FAULTS: tuple[Fault, ...] = (
    ("no skip connection", "branches", step("sum", lambda _, y: y), "sum", "branch_missing"),
    ("a sum for a product", "branches", step("product", lambda x, y: x + y), "product", "merge"),
    (
        "branches in another order",
        "branches",
        step("joined", other_order),
        "joined",
        "concat_order",
    ),
    ("one group over all", "branches", over_all, "norm", "norm_axis"),
    ("two groups", "branches", attribute("grouped", num_groups=2), "grouped", "groups"),
    ("no stride", "branches", attribute("strided", stride=(1, 1)), "strided", "stride"),
    ("stride along rows", "branches", attribute("strided", stride=(2, 1)), "strided", "stride"),
    ("the stride one layer on", "bottleneck", moved_stride, "reduce, wide", "stride, stride"),
    ("width and height", "branches", first(lambda x: x.mT), "stem", "axes_swapped"),
    ("one pixel on", "branches", first(shifted), "stem", "shifted"),
    ("a layer under autocast", "branches", under("squash", autocast), "squash", "bfloat16_compute"),
    ("a layer in float16", "branches", halved, "squash", "float16_compute"),
    ("tensor cores", "branches", under("stem", tensor_cores), "stem", "tf32"),
    ("tensor cores in a Linear", "branches", under("head", tensor_cores), "head", "tf32"),
    (
        "no skip connection, two groups",
        "branches",
        both(step("sum", lambda _, y: y), attribute("grouped", num_groups=2)),
        "sum, grouped",
        "branch_missing, groups",
    ),
)
