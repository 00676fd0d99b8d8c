"""Pairs that need a hypothesis of the catalogue: packed, parted, or called by what names mean."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from support.drafting_pairs import Pair, inputs, layers, model
from torch import nn

_HEADS, _DIM, _WIDTH = 2, 5, 10

# -------------------------------------- attention of one's own, packed head by head in PyTorch


def packed_by_head() -> Any:
    import keras

    L = layers()

    class OwnAttention(keras.layers.Layer):
        def __init__(self, **further: Any):
            super().__init__(**further)
            for role in ("query", "key", "value"):
                dense = L.EinsumDense(
                    "abc,cde->abde", (None, _HEADS, _DIM), bias_axes="de", name=f"{role}_dense"
                )
                setattr(self, f"{role}_dense", dense)
            self.output_dense = L.Dense(_WIDTH, name="output_dense")

        def call(self, x: Any) -> Any:
            query, key, value = self.query_dense(x), self.key_dense(x), self.value_dense(x)
            scores = keras.ops.softmax(keras.ops.einsum("bqhd,bkhd->bhqk", query, key))
            mixed = keras.ops.einsum("bhqk,bkhd->bqhd", scores, value)
            return self.output_dense(keras.ops.reshape(mixed, (-1, 7, _HEADS * _DIM)))

    x = sequence = inputs(7, _WIDTH)
    for place in range(2):
        x = OwnAttention(name=f"own_{place}")(x) + x
    return model(sequence, L.Dense(3, name="out")(x))


class PackedByHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.ModuleList(nn.Linear(_WIDTH, 3 * _HEADS * _DIM) for _ in range(2))
        self.mix = nn.ModuleList(nn.Linear(_HEADS * _DIM, _WIDTH) for _ in range(2))
        self.head = nn.Linear(_WIDTH, 3)

    def forward(self, x):
        for qkv, mix in zip(self.qkv, self.mix, strict=True):
            # (batch, steps, heads, [q k v], dim): the three of one head stand together
            query, key, value = qkv(x).unflatten(-1, (_HEADS, 3, _DIM)).unbind(3)
            scores = torch.einsum("bqhd,bkhd->bhqk", query, key).softmax(-1)
            mixed = torch.einsum("bhqk,bkhd->bqhd", scores, value).flatten(2)
            x = mix(mixed) + x
        return self.head(x)


# ------------------------------------------ an embedding that is not tied, and arguments by meaning


def untied() -> Any:
    L = layers()
    segments, words = (inputs(9, dtype="int32", name=name) for name in ("segment_ids", "token_ids"))
    table = L.ReversibleEmbedding(23, 12, tie_weights=False, name="token_embedding")
    x = table(words) + L.Embedding(2, 12, name="segments")(segments)
    x = L.LayerNormalization(epsilon=1e-5, name="norm")(x)
    return model({"segment_ids": segments, "token_ids": words}, table(x, reverse=True))


class Untied(nn.Module):
    def __init__(self):
        super().__init__()
        self.lm_head = nn.Linear(12, 23, bias=False)
        self.ln, self.wte, self.types = nn.LayerNorm(12), nn.Embedding(23, 12), nn.Embedding(2, 12)

    def forward(self, input_ids, token_type_ids=None):
        return self.lm_head(self.ln(self.wte(input_ids) + self.types(token_type_ids)))


# --------------------------------------------------------- separable convolutions over a sequence


def separable_1d() -> Any:
    L = layers()
    x = steps = inputs(20, 5)
    for width, name in ((7, "first"), (11, "second")):
        x = L.SeparableConv1D(width, 3, padding="same", activation="relu", name=name)(x)
    return model(steps, L.Dense(4, name="out")(L.GlobalAveragePooling1D()(x)))


class Separable1d(nn.Module):
    def __init__(self):
        super().__init__()
        self.tail = nn.Linear(11, 4)
        self.dw2, self.pw2 = (
            nn.Conv1d(7, 7, 3, padding=1, groups=7, bias=False),
            nn.Conv1d(7, 11, 1),
        )
        self.dw1, self.pw1 = nn.Conv1d(5, 5, 3, padding=1, groups=5, bias=False), nn.Conv1d(5, 7, 1)

    def forward(self, x):
        x = F.relu(self.pw1(self.dw1(x)))
        return self.tail(F.relu(self.pw2(self.dw2(x))).mean(2))


HYPOTHESES = [
    Pair(
        "packed head by head",
        packed_by_head,
        PackedByHead,
        {f"own_{n}#query_dense+key_dense+value_dense": f"qkv.{n}" for n in range(2)}
        | {f"own_{n}/output_dense": f"mix.{n}" for n in range(2)}
        | {"out": "head"},
    ),
    Pair(
        "an embedding that is not tied",
        untied,
        Untied,
        {"token_embedding#embeddings": "wte", "token_embedding#reverse_embeddings": "lm_head",
         "segments": "types", "norm": "ln"},
    ),
    Pair(
        "separable over a sequence",
        separable_1d,
        Separable1d,
        {"first#depthwise": "dw1", "first#pointwise": "pw1", "second#depthwise": "dw2",
         "second#pointwise": "pw2", "out": "tail"},
    ),
]  # fmt: skip


# ------------------------------------------------- a head that Keras does not have, used and unused


def plain() -> Any:
    L = layers()
    row = inputs(6)
    return model(row, L.Dense(4, name="out")(L.Dense(9, activation="tanh", name="hidden")(row)))


class WithPooler(nn.Module):
    """Gives what the Keras model gives, and a pooled value that nobody else has."""

    def __init__(self, *, is_used: bool = False):
        super().__init__()
        self.hidden, self.out = nn.Linear(6, 9), nn.Linear(9, 4)
        self.pooler = nn.Linear(4, 2)
        self.is_used = is_used

    def forward(self, x):
        x = self.out(self.hidden(x).tanh())
        pooled = self.pooler(x)
        return {"logits": x + pooled.sum() if self.is_used else x, "pooled": pooled}
