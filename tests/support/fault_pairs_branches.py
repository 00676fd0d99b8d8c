"""Right pairs whose graph has branches, strides and norms over channels; see ``fault_pairs``."""

from __future__ import annotations

from typing import Any

from support.fault_network import wired


def branches() -> Any:
    """A sum, a product and a concatenation of branches, a LayerNorm over channels, groups."""
    import keras
    import torch
    from keras import layers
    from torch import nn

    image = keras.Input((13, 10, 3), name="image")
    stem = layers.Conv2D(6, 3, name="stem")(image)
    left = layers.Conv2D(6, 1, activation="relu", name="left")(stem)
    right = layers.Conv2D(6, 1, activation="tanh", name="right")(stem)
    total = layers.Add(name="sum")([left, right])
    squash = layers.Conv2D(4, 1, name="squash")(total)
    gate = layers.Conv2D(4, 1, activation="sigmoid", name="gate")(total)
    product = layers.Multiply(name="product")([squash, gate])
    joined = layers.Concatenate(name="joined")([product, left])
    norm = layers.LayerNormalization(name="norm")(joined)
    strided = layers.Conv2D(12, 3, strides=2, name="strided")(norm)
    grouped = layers.GroupNormalization(4, name="grouped")(strided)
    mean = layers.GlobalAveragePooling2D(name="mean")(grouped)
    model = keras.Model(image, layers.Dense(7, name="head")(mean))
    steps = {
        "stem": nn.Conv2d(3, 6, 3),
        "left": nn.Conv2d(6, 6, 1),
        "relu": torch.relu,
        "right": (nn.Conv2d(6, 6, 1), "stem"),
        "tanh": torch.tanh,
        "sum": (lambda x, y: x + y, "relu", "tanh"),
        "squash": nn.Conv2d(6, 4, 1),
        "gate": (nn.Conv2d(6, 4, 1), "sum"),
        "sigmoid": torch.sigmoid,
        "product": (lambda x, y: x * y, "squash", "sigmoid"),
        "joined": (lambda x, y: torch.cat([x, y], 1), "product", "relu"),
        "last": lambda x: x.movedim(1, -1),
        "norm": nn.LayerNorm(10, eps=1e-3),
        "back": lambda x: x.movedim(-1, 1),
        "strided": nn.Conv2d(10, 12, 3, 2),
        "grouped": nn.GroupNorm(4, 12, eps=1e-3),
        "mean": lambda x: x.mean((2, 3)),
        "head": nn.Linear(12, 7),
    }
    return model, wired(steps), (13, 10, 3)


def bottleneck() -> Any:
    """A ResNet's bottleneck: the stride is in its first convolution."""
    import torch
    from keras import layers
    from support.fault_pairs import _model
    from torch import nn

    model = _model(
        (12, 15, 3),
        [
            layers.Conv2D(5, 1, strides=2, activation="relu", name="reduce"),
            layers.Conv2D(6, 3, padding="same", activation="relu", name="wide"),
            layers.Conv2D(9, 1, name="expand"),
            layers.GlobalAveragePooling2D(name="mean"),
            layers.Dense(7, name="head"),
        ],
    )
    steps = {
        "reduce": nn.Conv2d(3, 5, 1, 2),
        "first": torch.relu,
        "wide": nn.Conv2d(5, 6, 3, padding=1),
        "second": torch.relu,
        "expand": nn.Conv2d(6, 9, 1),
        "mean": lambda x: x.mean((2, 3)),
        "head": nn.Linear(9, 7),
    }
    return model, wired(steps), (12, 15, 3)
