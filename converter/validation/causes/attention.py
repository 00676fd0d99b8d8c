"""Why an attention differs: the scale of its scores, its blocks, the order of heads, the mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from converter.validation.causes.trial import Suspect, Trial

_HIDDEN = -1e9  # added to a score it leaves nothing of it; of all scores, it leaves their average


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
    yield Trial("attention_mask", lambda copy: _masked(copy, suspect))


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


def _masked(copy: Any, suspect: Suspect) -> Any:
    """Return what the module gives with the masks of Keras, whatever masks it was given."""
    import torch

    names = ("query", "key", "value")
    tensors = dict(zip(names, suspect.args, strict=False))
    tensors |= {name: suspect.kwargs[name] for name in names if name in suspect.kwargs}
    axis = 1 if copy.batch_first else 0
    batch = tensors["query"].shape[1 - axis]
    shape = (batch, tensors["query"].shape[axis], tensors["key"].shape[axis])
    kept = _keras_mask(suspect, shape)
    hidden = torch.zeros(shape).masked_fill(~kept, _HIDDEN)
    mask = hidden.repeat_interleave(copy.num_heads, dim=0)
    return copy.forward(**tensors, attn_mask=mask, need_weights=False)


def _keras_mask(suspect: Suspect, shape: tuple[int, ...]) -> Any:
    """Return which keys each query attends to, shape ``(batch, queries, keys)``.

    Source: Keras 3.15.1, layers/attention/multi_head_attention.py, ``_compute_attention_mask``.
    """
    import torch

    from converter.live.torch_module import from_array
    from converter.validation.keras_trace import as_array

    given = suspect.event.kwargs
    kept = torch.ones(shape, dtype=torch.bool)
    for name, axis in (("query", 2), ("value", 1), ("key", 1), ("attention", None)):
        mask = given.get(f"{name}_mask")
        if mask is None:
            continue
        known = from_array(as_array(mask)).bool()
        kept &= known if axis is None else known.unsqueeze(axis)
    return kept.tril() if given.get("use_causal_mask") else kept
