"""Attention kinds: both frameworks give the same outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from keras import layers
from support.layer_kinds import Case, check
from torch import nn
from torch.nn import functional

pytestmark = pytest.mark.frameworks

# Twelve is three heads of four; the sequences have five and seven steps.
QUERY, KEY, VALUE = (6, 5, 12), (6, 7, 12), (6, 7, 12)


class Projected(nn.Module):
    """Attention from Linear projections; heads may be fewer for key and value."""

    def __init__(self, names: str, dims: Any, heads: Any, bias: bool = True) -> None:
        super().__init__()
        self.names = names.split()
        self.heads, self.kv_heads, self.size, self.value_size = heads
        query, key, value, out = dims
        shapes = [
            (query, self.heads * self.size),
            (key, self.kv_heads * self.size),
            (value, self.kv_heads * self.value_size),
            (query, self.heads * self.value_size),
        ]
        for name, shape in zip(self.names[:-1], shapes, strict=False):
            self.add_module(name, nn.Linear(*shape, bias=bias))
        last = nn.Linear(self.heads * self.value_size, out, bias=bias)
        self.add_module(self.names[-1], last)

    def forward(self, query: torch.Tensor, value: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        q, k, v, *gate, out = [self.get_submodule(name) for name in self.names]
        heads = q(query).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        keys = k(key).unflatten(-1, (self.kv_heads, -1)).transpose(1, 2)
        values = v(value).unflatten(-1, (self.kv_heads, -1)).transpose(1, 2)
        context = functional.scaled_dot_product_attention(heads, keys, values, enable_gqa=True)
        context = context.transpose(1, 2).flatten(2)
        if gate:
            context = context * torch.sigmoid(gate[0](query))
        return out(context)


def mha(**options: Any) -> Any:
    return lambda: layers.MultiHeadAttention(3, 4, **options)


def attend(layer: Any, query: Any, value: Any, key: Any) -> Any:
    return layer(query, value, key)


def packed(module: Any, query: Any, value: Any, key: Any) -> Any:
    return module(query, key, value, need_weights=False)[0]


class Dot(nn.Module):
    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            self.register_parameter(name, nn.Parameter(torch.empty(())))

    def forward(self, query: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        if hasattr(self, "concat_score_weight"):
            both = query[:, :, None] + value[:, None]
            scale = self.scale if hasattr(self, "scale") else 1
            scores = self.concat_score_weight * torch.tanh(scale * both).sum(-1)
        else:
            scores = self.scale * query @ value.mT
        return scores.softmax(-1) @ value


class Additive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(4))

    def forward(self, query: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        scores = (self.scale * torch.tanh(query[:, :, None] + value[:, None])).sum(-1)
        return scores.softmax(-1) @ value


NAMES = "query key value attention_output"
GATED = "query key value gate attention_output"
LLAMA = "q_proj k_proj v_proj o_proj"
ALL = (12, 12, 12, 12)

CASES = [
    Case("separate projections", "multi_head_attention", mha(),
         lambda: Projected(NAMES, ALL, (3, 3, 4, 4)), [QUERY, VALUE, KEY],
         lambda m, *x: m(*x), call=attend),
    Case("separate projections without bias", "multi_head_attention", mha(use_bias=False),
         lambda: Projected(NAMES, ALL, (3, 3, 4, 4), bias=False), [QUERY, VALUE, KEY],
         lambda m, *x: m(*x), call=attend),
    Case("other sizes of value, key and output", "multi_head_attention",
         mha(value_dim=5, output_shape=8),
         lambda: Projected(NAMES, (12, 10, 11, 8), (3, 3, 4, 5)),
         [QUERY, (6, 7, 11), (6, 7, 10)], lambda m, *x: m(*x), call=attend),
    Case("gate", "multi_head_attention", mha(use_gate=True),
         lambda: Projected(GATED, ALL, (3, 3, 4, 4)), [QUERY, VALUE, KEY],
         lambda m, *x: m(*x), call=attend),
    Case("packed", "multi_head_attention_packed", mha(),
         lambda: nn.MultiheadAttention(12, 3, batch_first=True), [QUERY, VALUE, KEY], packed,
         call=attend, automatic=False),
    Case("packed without bias", "multi_head_attention_packed", mha(use_bias=False),
         lambda: nn.MultiheadAttention(12, 3, bias=False, batch_first=True),
         [QUERY, VALUE, KEY], packed, call=attend, automatic=False),
    Case("kdim and vdim", "multi_head_attention_kdim", mha(),
         lambda: nn.MultiheadAttention(12, 3, kdim=10, vdim=11, batch_first=True),
         [QUERY, (6, 7, 11), (6, 7, 10)], packed, call=attend, automatic=False),
    Case("grouped queries", "group_query_attention",
         lambda: layers.GroupQueryAttention(5, 6, 1),
         lambda: Projected(LLAMA, ALL, (6, 1, 5, 5)), [QUERY, VALUE, KEY],
         lambda m, *x: m(*x), call=attend),
    Case("grouped queries, two groups", "group_query_attention",
         lambda: layers.GroupQueryAttention(5, 6, 2),
         lambda: Projected(LLAMA, ALL, (6, 2, 5, 5)), [QUERY, VALUE, KEY],
         lambda m, *x: m(*x), call=attend),
    Case("grouped queries with gate, without bias", "group_query_attention",
         lambda: layers.GroupQueryAttention(5, 6, 2, use_gate=True, use_bias=False),
         lambda: Projected("q_proj k_proj v_proj gate_proj o_proj", ALL, (6, 2, 5, 5), bias=False),
         [QUERY, VALUE, KEY], lambda m, *x: m(*x), call=attend),
    Case("dot", "attention", lambda: layers.Attention(use_scale=True), lambda: Dot("scale"),
         [(3, 5, 4), (3, 7, 4)], lambda m, *x: m(*x), call=lambda layer, *x: layer(list(x))),
    Case("concat", "attention", lambda: layers.Attention(score_mode="concat"),
         lambda: Dot("concat_score_weight"), [(3, 5, 4), (3, 7, 4)], lambda m, *x: m(*x),
         call=lambda layer, *x: layer(list(x))),
    Case("concat with scale", "attention",
         lambda: layers.Attention(score_mode="concat", use_scale=True),
         lambda: Dot("scale", "concat_score_weight"), [(3, 5, 4), (3, 7, 4)],
         lambda m, *x: m(*x), call=lambda layer, *x: layer(list(x))),
    Case("additive", "additive_attention", layers.AdditiveAttention, Additive,
         [(3, 5, 4), (3, 7, 4)], lambda m, *x: m(*x), call=lambda layer, *x: layer(list(x))),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_module_gives_the_outputs_of_the_layer(case):
    check(case)
