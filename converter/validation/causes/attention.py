"""Why an attention differs: the scale of its scores, its blocks, the order of heads, the mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from converter.validation.causes.trial import Suspect, Trial


def trials(suspect: Suspect, module: Any) -> Iterator[Trial]:
    """Yield what may be wrong with an ``nn.MultiheadAttention``."""
    weight = getattr(module, "in_proj_weight", None)
    if weight is None:
        return
    root = math.sqrt(module.head_dim)
    for factor, told in (
        (root, f"sqrt({module.head_dim})"),
        (1 / root, f"1/sqrt({module.head_dim})"),
    ):
        yield Trial("attention_scale", _changed(suspect, _scaled(factor)), told)
    yield Trial("query_key_swapped", _changed(suspect, _query_key))
    yield Trial("head_order", _changed(suspect, _heads))
    yield Trial("attention_mask", lambda copy: _inverted(copy, suspect))


def _changed(suspect: Suspect, change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    def run(copy: Any) -> Any:
        for tensor in (copy.in_proj_weight, copy.in_proj_bias):
            if tensor is not None:
                tensor.data = change(tensor.data, copy)
        return copy.forward(*suspect.args, **suspect.kwargs)

    return run


def _scaled(factor: float) -> Callable[[Any, Any], Any]:
    def change(tensor: Any, module: Any) -> Any:
        scaled = tensor.clone()
        scaled[: module.embed_dim] *= factor
        return scaled

    return change


def _query_key(tensor: Any, module: Any) -> Any:
    import torch

    q, k, v = tensor.split(module.embed_dim)
    return torch.cat([k, q, v])


def _heads(tensor: Any, module: Any) -> Any:
    blocks = tensor.reshape(3, module.head_dim, module.num_heads, -1)
    return blocks.transpose(1, 2).reshape(tensor.shape)


def _inverted(copy: Any, suspect: Suspect) -> Any:
    kwargs = dict(suspect.kwargs)
    for name in ("key_padding_mask", "attn_mask"):
        if kwargs.get(name) is not None:
            kwargs[name] = ~kwargs[name]
    return copy.forward(*suspect.args, **kwargs)
