"""What PyTorch may compute in the place of a Keras activation or softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from converter.validation.causes.trial import Variant
from converter.validation.keras_trace import Event

_SLOPES = (0.01, 0.1, 0.2, 0.3, 0.05)
_ALPHAS = (1.0, 0.5, 0.1, 0.2, 0.3, 2.0)


def is_activation(event: Event) -> bool:
    """Whether an event is an activation."""
    return event.is_activation or type(event.layer).__name__ in (
        "Activation", "ReLU", "LeakyReLU", "ELU", "Softmax",
    )  # fmt: skip


def variants(event: Event) -> Iterator[Variant]:
    """Yield what PyTorch may have in the place of an activation."""
    name = function_name(event)
    if name == "softmax":
        yield from _softmax(len(event.inputs[0].shape))
        return
    yield Variant("activation_missing", lambda x: x, f"{event.layer.name} ({name})")
    for cause, told, function in _functions():
        family = cause if _family(name) == cause else "activation"
        yield Variant(family, _on_arrays(function), told, name)


def function_name(event: Event) -> str:
    """Return the name of the activation function."""
    if event.is_activation or type(event.layer).__name__ == "Activation":
        function = event.call if event.is_activation else event.layer.activation
        return str(getattr(function, "__name__", type(function).__name__))
    kind = type(event.layer).__name__
    return {"LeakyReLU": "leaky_relu"}.get(kind, kind.lower())


def _family(name: str) -> str:
    return {"gelu": "gelu", "leaky_relu": "leaky_slope", "elu": "elu_alpha"}.get(name, "activation")


def _functions() -> Iterator[tuple[str, str, Callable[[Any], Any]]]:
    import torch
    import torch.nn.functional as F  # noqa: N812 -- the name that everybody knows

    yield "gelu", "the tanh form", lambda x: F.gelu(x, approximate="tanh")
    yield "gelu", "the erf form", F.gelu
    yield "gelu", "x sigmoid(1.702 x)", lambda x: x * torch.sigmoid(1.702 * x)
    for slope in _SLOPES:
        yield "leaky_slope", f"a slope of {slope:g}", partial(F.leaky_relu, negative_slope=slope)
    for alpha in _ALPHAS:
        yield "elu_alpha", f"an alpha of {alpha:g}", partial(F.elu, alpha=alpha)
    yield "activation", "hard_sigmoid clip(0.2 x + 0.5)", lambda x: (0.2 * x + 0.5).clamp(0, 1)
    yield "activation", "hard_sigmoid relu6(x + 3) / 6", F.hardsigmoid
    for name in (
        "relu",
        "relu6",
        "silu",
        "hardswish",
        "tanh",
        "sigmoid",
        "selu",
        "softplus",
        "mish",
    ):
        yield "activation", name, getattr(F, name, None) or getattr(torch, name)


def _on_arrays(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def compute(array: Any) -> Any:
        import torch

        return function(torch.from_numpy(array)).numpy()

    return compute


def _softmax(rank: int) -> Iterator[Variant]:
    import torch

    yield Variant("softmax_missing", lambda x: x)
    yield Variant("softmax_double", _on_arrays(lambda x: x.softmax(-1).softmax(-1)))
    yield Variant("log_softmax", _on_arrays(lambda x: x.log_softmax(-1)))
    for axis in range(rank - 1):
        told = f"PyTorch has axis {axis}"
        yield Variant("softmax_axis", _on_arrays(partial(torch.softmax, dim=axis)), told)
    yield Variant("activation", _on_arrays(torch.sigmoid), "sigmoid", "softmax")
