"""Why a normalisation differs: epsilon, exchanged tensors, statistics of the batch, the axis."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from converter.validation.causes.trial import Suspect, Trial


def trials(suspect: Suspect, module: Any) -> Iterator[Trial]:
    """Yield what may be wrong with a BatchNorm, LayerNorm, GroupNorm or RMSNorm."""
    epsilon = getattr(suspect.layer, "epsilon", None)
    is_batch = hasattr(module, "running_mean")
    own = getattr(module, "eps", None)
    if epsilon is not None and own != epsilon:
        told = f"{own:g} in PyTorch, {epsilon:g} in Keras" if own is not None else f"{epsilon:g}"

        def with_epsilon(copy: Any) -> Any:
            copy.eps = epsilon
            return copy.forward(*suspect.args)

        yield Trial("epsilon" if is_batch else "norm_epsilon", with_epsilon, told)
    if is_batch:
        yield from _batch(suspect, module)
    if getattr(module, "weight", None) is not None and getattr(module, "bias", None) is not None:
        yield Trial("gamma_beta_swapped", lambda copy: _swapped(copy, suspect, "weight", "bias"))
    groups = getattr(suspect.layer, "groups", None)
    if hasattr(module, "num_groups") and groups not in (None, module.num_groups):

        def with_groups(copy: Any) -> Any:
            copy.num_groups = groups
            return copy.forward(*suspect.args)

        yield Trial("groups", with_groups, f"num_groups={groups}")
    if type(module).__name__ in ("LayerNorm", "GroupNorm"):
        value = suspect.args[0]
        for axis in [n for n in range(1, value.ndim) if value.shape[n] == module.weight.numel()]:
            yield Trial("norm_axis", partial(_over_channels, suspect=suspect, axis=axis))


def _batch(suspect: Suspect, module: Any) -> Iterator[Trial]:
    if module.running_mean is None:

        def planned(copy: Any) -> Any:
            import torch

            mean, variance = (
                torch.from_numpy(one.numpy() if hasattr(one, "numpy") else one)
                for one in _statistics(suspect.layer)
            )
            return _inference(copy, suspect, mean, variance)

        yield Trial("train_mode", planned)
        return
    yield Trial(
        "train_mode",
        lambda copy: _inference(copy, suspect, copy.running_mean, copy.running_var),
    )
    yield Trial(
        "mean_variance_swapped", lambda copy: _swapped(copy, suspect, "running_mean", "running_var")
    )

    def squared(copy: Any) -> Any:
        copy.running_var.data = copy.running_var.data**2
        return copy.forward(*suspect.args)

    def rooted(copy: Any) -> Any:
        copy.running_var.data = copy.running_var.data.sqrt()
        return copy.forward(*suspect.args)

    yield Trial("deviation_for_variance", squared)
    yield Trial("variance_for_deviation", rooted)


def _statistics(layer: Any) -> tuple[Any, Any]:
    from converter.validation.keras_trace import as_array

    return as_array(layer.moving_mean.value), as_array(layer.moving_variance.value)


def _inference(copy: Any, suspect: Suspect, mean: Any, variance: Any) -> Any:
    import torch.nn.functional as F  # noqa: N812 -- the name that everybody knows

    return F.batch_norm(
        suspect.args[0], mean, variance, copy.weight, copy.bias, training=False, eps=copy.eps
    )


def _swapped(copy: Any, suspect: Suspect, one: str, other: str) -> Any:
    first, second = getattr(copy, one), getattr(copy, other)
    first.data, second.data = second.data.clone(), first.data.clone()
    return copy.forward(*suspect.args)


def _over_channels(copy: Any, suspect: Suspect, axis: int) -> Any:
    import torch.nn.functional as F  # noqa: N812 -- the name that everybody knows

    moved = suspect.args[0].movedim(axis, -1)
    size = (copy.weight.numel(),)
    made = F.layer_norm(moved, size, copy.weight.flatten(), copy.bias.flatten(), copy.eps)
    return made.movedim(-1, axis)
