"""The tests of layer kinds can fail: every classic mistake gives clearly different outputs.

All sizes are equal here on purpose, so that each mistake loads without an error.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from keras import layers
from support.layer_kinds import BOUND, WRONG, Case, difference, run_keras, run_torch, to_torch
from torch import nn

from converter.mapping.catalogue import load_catalogue
from converter.mapping.rules import Kind

pytestmark = pytest.mark.frameworks


def channels_first(module: nn.Module, image: torch.Tensor) -> torch.Tensor:
    return module(image.movedim(-1, 1)).movedim(1, -1)


def first(module: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    return module(*inputs)[0]


def projected(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return module(x).unflatten(-1, (3, 3))


IMAGE = [(3, 7, 7, 4)]
DENSE = Case("dense", "dense", lambda: layers.Dense(5), lambda: nn.Linear(5, 5), [(3, 5)],
             lambda m, x: m(x))  # fmt: skip
FLATTEN = Case("flatten", "dense_after_flatten", lambda: layers.Dense(8), lambda: nn.Linear(64, 8),
               [(3, 4, 4, 4)], lambda m, x: m(x.movedim(-1, 1).flatten(1)),
               call=lambda layer, x: layer(x.reshape(len(x), -1)), sizes={"c": 4},
               automatic=False)  # fmt: skip
CONV = Case("conv", "conv2d", lambda: layers.Conv2D(4, 4), lambda: nn.Conv2d(4, 4, 4), IMAGE,
            channels_first)  # fmt: skip
TRANSPOSE = Case("transpose", "conv2d_transpose", lambda: layers.Conv2DTranspose(4, 4),
                 lambda: nn.ConvTranspose2d(4, 4, 4), IMAGE, channels_first)  # fmt: skip
DEPTHWISE = Case("depthwise", "depthwise_conv2d",
                 lambda: layers.DepthwiseConv2D(4, depth_multiplier=4),
                 lambda: nn.Conv2d(4, 16, 4, groups=4), IMAGE, channels_first)  # fmt: skip
PROJECTION = Case("projection", "attention_projection",
                  lambda: layers.EinsumDense("abc,cde->abde", (None, 3, 3), bias_axes="de"),
                  lambda: nn.Linear(9, 9), [(3, 4, 9)], projected, automatic=False)  # fmt: skip
OUTPUT = Case("output", "attention_output",
              lambda: layers.EinsumDense("abde,dec->abc", (None, 9), bias_axes="c"),
              lambda: nn.Linear(9, 9), [(2, 4, 3, 3)], lambda m, x: m(x.flatten(2)),
              automatic=False)  # fmt: skip
PACKED = Case("packed", "multi_head_attention_packed", lambda: layers.MultiHeadAttention(3, 3),
              lambda: nn.MultiheadAttention(9, 3, batch_first=True), [(3, 5, 9)],
              lambda m, x: m(x, x, x, need_weights=False)[0],
              call=lambda layer, x: layer(x, x), automatic=False)  # fmt: skip
LSTM = Case("lstm", "lstm", lambda: layers.LSTM(5, return_sequences=True),
            lambda: nn.LSTM(5, 5, batch_first=True), [(3, 7, 5)], first)  # fmt: skip
GRU = Case("gru", "gru", lambda: layers.GRU(5, return_sequences=True),
           lambda: nn.GRU(5, 5, batch_first=True), [(3, 7, 5)], first)  # fmt: skip
UNTIED = Case("norm", "batch_norm", lambda: layers.BatchNormalization(epsilon=1e-5),
              lambda: nn.BatchNorm2d(5), [(3, 4, 4, 5)], channels_first)  # fmt: skip

MISTAKES = [
    (DENSE, "weight", "in out -> in out"),
    (FLATTEN, "weight", "(s c) out -> out (s c)"),
    (FLATTEN, "weight", "(c s) out -> out (s c)"),
    (CONV, "weight", "kh kw in out -> kh kw in out"),
    (CONV, "weight", "kh kw in out -> in out kh kw"),
    (CONV, "weight", "kh kw in out -> out in kw kh"),
    (TRANSPOSE, "weight", "kh kw out in -> out in kh kw"),
    (DEPTHWISE, "weight", "kh kw in m -> (m in) 1 kh kw"),
    (PROJECTION, "weight", "e h d -> (d h) e"),
    (PROJECTION, "weight", "e h d -> e (h d)"),
    (PROJECTION, "bias", "h d -> (d h)"),
    (OUTPUT, "weight", "h d e -> e (d h)"),
    (PACKED, "in_proj_weight", "[q k v] e h d -> ([k q v] h d) e"),
    (PACKED, "in_proj_bias", "[q k v] h d -> ([v k q] h d)"),
    (LSTM, "weight_ih_l0", "in ([i f g o] u) -> ([i g f o] u) in"),
    (LSTM, "weight_hh_l0", "v ([i f g o] u) -> ([f i g o] u) v"),
    (GRU, "weight_ih_l0", "in ([z r n] u) -> ([z r n] u) in"),
    (GRU, "bias_ih_l0", "[i h] ([z r n] u) -> [i h] ([z r n] u)"),
    (GRU, "bias_ih_l0", "[i h] ([z r n] u) -> [h i] ([r z n] u)"),
]


def with_pattern(kind: Kind, name: str, pattern: str) -> Kind:
    """Return the kind with the pattern of the slot that writes ``name`` replaced."""
    slots = tuple(
        replace(slot, pattern=pattern) if name in slot.torch else slot for slot in kind.slots
    )
    assert slots != kind.slots
    return replace(kind, slots=slots)


@pytest.mark.parametrize(
    ("case", "name", "pattern"), MISTAKES, ids=lambda value: getattr(value, "id", value)
)
def test_a_wrong_pattern_loads_and_gives_other_outputs(case, name, pattern):
    case = replace(case, square=True)
    ran = run_keras(case)
    right = run_torch(case, ran, to_torch(ran.kind, ran.arrays, case.sizes))
    assert difference(right, ran.keras) <= BOUND
    wrong = to_torch(with_pattern(ran.kind, name, pattern), ran.arrays, case.sizes)
    assert difference(run_torch(case, ran, wrong), ran.keras) > WRONG


@pytest.mark.parametrize(
    ("one", "other"),
    [("weight", "bias"), ("running_mean", "running_var"), ("weight", "running_var")],
)
def test_swapped_batch_norm_vectors_give_other_outputs(one, other):
    ran = run_keras(UNTIED)
    state = to_torch(load_catalogue().kinds["batch_norm"], ran.arrays)
    assert difference(run_torch(UNTIED, ran, state), ran.keras) <= BOUND
    state[one], state[other] = abs(state[other]), abs(state[one])
    assert difference(run_torch(UNTIED, ran, state), ran.keras) > WRONG
