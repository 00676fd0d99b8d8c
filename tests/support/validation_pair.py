"""A Keras model and its right PyTorch twin, names alike, every kind of mistake possible in it.

Both frameworks are imported inside: collecting tests loads neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NETWORK = """
import torch
from torch import nn


class Twin(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, (3, 5))
        self.bn = nn.BatchNorm2d(6, eps=1e-3)
        self.other = nn.Conv2d(6, 6, 1)
        self.hidden = nn.Linear(6 * 5 * 5, 9)
        self.square = nn.Linear(9, 9)
        self.second = nn.Linear(9, 9)
        self.head = nn.Linear(9, 4)

    def forward(self, x):
        x = torch.max_pool2d(self.bn(torch.relu(self.conv(x))), 2)
        x = torch.tanh(self.hidden(torch.relu(self.other(x)).flatten(1)))
        return self.head(torch.tanh(self.second(torch.relu(self.square(x)))))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(17, 6)
        self.gru = nn.GRU(6, 7, batch_first=True)
        self.out = nn.Linear(7, 3)

    def forward(self, ids):
        return self.out(self.gru(self.table(ids))[0])
"""


def randomise(model: Any, seed: int = 7) -> Any:
    """Give every variable random values; variances are positive, gains are not 1."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        value = generator.standard_normal(variable.shape) * 0.4
        if "variance" in variable.path:
            value = np.abs(value) + 0.5
        elif "gamma" in variable.path:
            value = value + 1.3
        variable.assign(value.astype("float32"))
    return model


def keras_network(*, fresh: bool = False) -> Any:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 15, 3), name="image"),
            layers.Conv2D(6, (3, 5), name="conv", activation="relu"),
            layers.BatchNormalization(name="bn", epsilon=1e-3),
            layers.MaxPooling2D(2),
            layers.Conv2D(6, 1, name="other", activation="relu"),
            layers.Flatten(),
            layers.Dense(9, name="hidden", activation="tanh"),
            layers.Dense(9, name="square", activation="relu"),
            layers.Dense(9, name="second", activation="tanh"),
            layers.Dense(4, name="head"),
        ]
    )
    return model if fresh else randomise(model)


def keras_recurrent() -> Any:
    import keras

    layers = keras.layers
    ids = keras.Input((11,), name="ids", dtype="int32")
    x = layers.Embedding(17, 6, name="table")(ids)
    x = layers.GRU(7, return_sequences=True, name="gru")(x)
    return randomise(keras.Model(ids, layers.Dense(3, name="out")(x)))


def twin(model: Any, name: str = "Twin") -> Any:
    """Return the PyTorch twin with the weights of a Keras model."""
    import converter

    space: dict[str, Any] = {}
    exec(NETWORK, space)  # noqa: S102  # the text above
    module = space[name]()
    module.load_state_dict(converter.plan(model).state_dict())
    return module
