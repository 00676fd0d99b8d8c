"""Pairs of models in the style people write them: other names, nesting and order of definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Pair:
    """A Keras model, its PyTorch twin, and which layer is which module."""

    name: str
    keras: Callable[[], Any]
    torch: Callable[[], Any]
    truth: dict[str, str]


def layers() -> Any:
    from keras import layers

    return layers


def inputs(*shape: int, **further: Any) -> Any:
    import keras

    return keras.Input(shape, **further)


def model(inputs: Any, outputs: Any) -> Any:
    import keras

    return keras.Model(inputs, outputs)


# ------------------------------------------------------- three branches of equal shapes, all mixed


def branches() -> Any:
    L = layers()
    x = image = inputs(24, 18, 3)
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="stem")(x)
    a = L.Conv2D(6, 1, activation="relu", name="br_a")(x)
    b = L.Conv2D(6, 1, activation="relu", name="br_b1")(x)
    b = L.Conv2D(6, 3, padding="same", activation="relu", name="br_b2")(b)
    c = L.Conv2D(6, 1, activation="relu", name="br_c1")(x)
    c = L.Conv2D(6, 3, padding="same", activation="relu", name="br_c2")(c)
    c = L.Conv2D(6, 3, padding="same", activation="relu", name="br_c3")(c)
    x = L.GlobalAveragePooling2D()(L.Concatenate()([a, b, c]))
    return model(image, L.Dense(5, name="out")(x))


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.z9 = nn.Linear(18, 5)
        self.q1, self.q2, self.q3 = (nn.Conv2d(6, 6, 3, padding=1) for _ in range(3))
        self.p3, self.p1, self.p2 = (nn.Conv2d(8, 6, 1) for _ in range(3))
        self.w0 = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.w0(x))
        a = F.relu(self.p1(x))
        b = F.relu(self.q3(F.relu(self.p2(x))))
        c = F.relu(self.q1(F.relu(self.q2(F.relu(self.p3(x))))))
        return self.z9(torch.cat([a, b, c], 1).mean((2, 3)))


# -------------------------------------------------------------------- an encoder with attention


def encoder() -> Any:
    L = layers()
    words = inputs(9, dtype="int32")
    x = L.Embedding(23, 12, name="tokens")(words)
    for n in range(3):
        seen = L.MultiHeadAttention(3, 4, name=f"block_{n}_attention")(x, x)
        x = L.LayerNormalization(epsilon=1e-5, name=f"block_{n}_norm1")(x + seen)
        y = L.Dense(20, activation="relu", name=f"block_{n}_up")(x)
        y = L.Dense(12, name=f"block_{n}_down")(y)
        x = L.LayerNormalization(epsilon=1e-5, name=f"block_{n}_norm2")(x + y)
    return model(words, L.Dense(4, name="classifier")(L.GlobalMaxPooling1D()(x)))


class EncoderBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_2, self.ln_1 = nn.LayerNorm(12), nn.LayerNorm(12)
        self.fc2, self.fc1 = nn.Linear(20, 12), nn.Linear(12, 20)
        self.attn = nn.MultiheadAttention(12, 3, batch_first=True)

    def forward(self, x):
        x = self.ln_1(x + self.attn(x, x, x, need_weights=False)[0])
        return self.ln_2(x + self.fc2(F.relu(self.fc1(x))))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(12, 4)
        self.layers = nn.ModuleList(EncoderBlock() for _ in range(3))
        self.emb = nn.Embedding(23, 12)

    def forward(self, x):
        x = self.emb(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.amax(1))


# ------------------------------------------------------------------------- recurrent, and flatten


def recurrent() -> Any:
    L = layers()
    x = steps = inputs(7, 5)
    x = L.LSTM(6, return_sequences=True, name="first")(x)
    x = L.LSTM(6, return_sequences=True, name="second")(x)
    x = L.Bidirectional(L.GRU(4), name="both")(x)
    return model(steps, L.Dense(3, name="out")(x))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 6, num_layers=2, batch_first=True)
        self.gru = nn.GRU(6, 4, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        x, _ = self.lstm(x)
        x, _ = self.gru(x)
        return self.fc(torch.cat([x[:, -1, :4], x[:, 0, 4:]], -1))


def classic() -> Any:
    L = layers()
    x = image = inputs(14, 10, 1)
    for n, width in enumerate((4, 6), 1):
        x = L.Conv2D(width, 3, padding="same", use_bias=False, name=f"conv{n}")(x)
        x = L.BatchNormalization(epsilon=1e-5, name=f"bn{n}")(x)
        x = L.MaxPooling2D(2)(L.ReLU()(x))
    x = L.Dense(9, activation="relu", name="fc1")(L.Flatten()(x))
    return model(image, L.Dense(9, name="fc2")(x))


class Classic(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
            nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6),
            nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 9), nn.ReLU(),
            nn.Linear(9, 9),
        )  # fmt: skip

    def forward(self, x):
        return self.net(x)


def classic_with_another_head() -> nn.Module:
    module = Classic()
    module.net[11] = nn.Linear(9, 8)
    return module


def classic_with_another_activation() -> nn.Module:
    module = Classic()
    module.net[2] = nn.Tanh()
    return module


# --------------------------------------------------------------------- towers of the same shapes


def towers() -> Any:
    L = layers()
    one, two = inputs(6, name="one"), inputs(6, name="two")
    x, y = one, two
    for n in range(3):
        x = L.Dense(6, activation="tanh", name=f"left_{n}")(x)
        y = L.Dense(6, activation="tanh", name=f"right_{n}")(y)
    return model([one, two], L.Dense(2, name="joined")(L.Concatenate()([x, y])))


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.a = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.c = nn.Linear(12, 2)

    def forward(self, one, two):
        for first, second in zip(self.a, self.b, strict=True):
            one, two = torch.tanh(first(one)), torch.tanh(second(two))
        return self.c(torch.cat([one, two], -1))


PAIRS = [
    Pair(
        "branches", branches, Branches,
        {"stem": "w0", "br_a": "p1", "br_b1": "p2", "br_b2": "q3", "br_c1": "p3", "br_c2": "q2",
         "br_c3": "q1", "out": "z9"},
    ),
    Pair(
        "encoder", encoder, Encoder,
        {"tokens": "emb", "classifier": "head"}
        | {f"block_{n}_{keras}": f"layers.{n}.{torch_name}" for n in range(3)
           for keras, torch_name in (("attention", "attn"), ("norm1", "ln_1"), ("norm2", "ln_2"),
                                     ("up", "fc1"), ("down", "fc2"))},
    ),
    Pair(
        "recurrent", recurrent, Recurrent,
        {"first": "lstm", "second": "lstm", "both": "gru", "out": "fc"},
    ),
    Pair(
        "classic", classic, Classic,
        {"conv1": "net.0", "bn1": "net.1", "conv2": "net.4", "bn2": "net.5", "fc1": "net.9",
         "fc2": "net.11"},
    ),
    Pair(
        "towers", towers, Towers,
        {f"left_{n}": f"a.{n}" for n in range(3)} | {f"right_{n}": f"b.{n}" for n in range(3)}
        | {"joined": "c"},
    ),
]  # fmt: skip
