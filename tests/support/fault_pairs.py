"""Right pairs of small models, built so that one step or one module can be made wrong.

Each PyTorch twin is a list of named steps: a module, or a function between two. Both frameworks are
imported inside: collecting tests loads neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from support.validation_pair import randomise


@dataclass(frozen=True)
class Pair:
    """A Keras model, its right twin, and inputs in both layouts."""

    model: Any
    module: Any
    plan: Any
    arrays: dict[str, np.ndarray]
    moved: np.ndarray


def build(name: str) -> Pair:
    """Return a right pair by its name."""
    import converter

    model, steps, shape, *kinds = PAIRS[name]()
    randomise(model)
    module = network(steps) if isinstance(steps, dict) else steps
    if kinds:
        plan = converter.plan(model, like=module, mapping=_mapping(name, kinds[0]))
    else:
        plan = converter.plan(model, to="torch")
    module.load_state_dict(plan.state_dict())
    random = np.random.default_rng(3)
    if shape[0] == "ids":
        array = random.integers(1, 17, (4, *shape[1:])).astype("int32")
        array[1, 3:] = 0
        moved = array.astype("int64")
    else:
        array = random.standard_normal((4, *shape)).astype("float32")
        moved = np.ascontiguousarray(np.moveaxis(array, -1, 1)) if len(shape) == 3 else array
    return Pair(model, module.eval(), plan, {model.inputs[0].name: array}, moved)


def _mapping(name: str, kinds: dict[str, str]) -> Any:
    """Return a mapping of layers and modules of the same names, each of a kind."""
    from converter.mapping.document import parse_mapping

    rules = ",\n".join(f'["{kind}", "{layer}", "{layer}"]' for layer, kind in kinds.items())
    head = f'schema = 1\nname = "{name}"\nkeras = "support"\ntorch = "support"\n'
    return parse_mapping(f"{head}rules = [\n{rules}\n]\n")


def _of(module: str, name: str) -> Callable[[], Any]:
    """Return a builder in another module, which imports from this one."""

    def make() -> Any:
        return getattr(import_module(f"support.{module}"), name)()

    return make


def network(steps: dict[str, Any]) -> Any:
    """Return a module that runs its steps in order."""
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.order = list(steps)
            self.functions = {}
            for name, step in steps.items():
                self.put(name, step)

        def put(self, name: str, step: Any) -> None:
            if isinstance(step, nn.Module):
                setattr(self, name, step)
            else:
                self.functions[name] = step

        def forward(self, x: Any) -> Any:
            for name in self.order:
                step = self.functions.get(name) or getattr(self, name)
                x = step(x)
                x = x[0] if isinstance(x, tuple) else x
            return x

    return Network()


def _model(shape: tuple[int, ...], layers: list[Any], dtype: str = "float32") -> Any:
    import keras

    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers])


def image() -> Any:
    """Convolutions with every kind of padding, a BatchNorm, and a head on flattened features."""
    import torch.nn.functional as F
    from keras import layers
    from torch import nn

    model = _model(
        (14, 19, 3),
        [
            layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="first"),
            layers.BatchNormalization(name="bn"),
            layers.Conv2D(6, 3, padding="same", dilation_rate=2, name="wide"),
            layers.LeakyReLU(0.3, name="leaky"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Conv2D(8, (3, 3), groups=2, activation="elu", name="grouped"),
            layers.Flatten(name="flat"),
            layers.Dense(8, activation="gelu", name="hidden"),
            layers.Dense(8, activation="tanh", name="square"),
            layers.Dense(5, name="head"),
        ],
    )
    steps = {
        "pad": lambda x: F.pad(x, (1, 1, 0, 1)),
        "first": nn.Conv2d(3, 6, 3, 2),
        "relu": F.relu,
        "bn": nn.BatchNorm2d(6, eps=1e-3),
        "wide": nn.Conv2d(6, 6, 3, padding=2, dilation=2),
        "leaky": lambda x: F.leaky_relu(x, 0.3),
        "pool": lambda x: F.max_pool2d(x, 2),
        "grouped": nn.Conv2d(6, 8, 3, groups=2),
        "elu": F.elu,
        "flat": lambda x: x.flatten(1),
        "hidden": nn.Linear(8 * 1 * 3, 8),
        "gelu": F.gelu,
        "square": nn.Linear(8, 8),
        "tanh": lambda x: x.tanh(),
        "head": nn.Linear(8, 5),
    }
    return model, steps, (14, 19, 3)


def pooled() -> Any:
    """Padding, average pooling, resizing, transposed convolution and a softmax."""
    import torch.nn.functional as F
    from keras import layers
    from torch import nn

    model = _model(
        (11, 13, 3),
        [
            layers.Rescaling(0.25, name="scale"),
            layers.ZeroPadding2D(((0, 2), (1, 0)), name="zeros"),
            layers.Conv2D(5, 3, activation="silu", name="conv"),
            layers.AveragePooling2D(3, 1, padding="same", name="average"),
            layers.Conv2D(5, 1, name="after"),
            layers.UpSampling2D(2, interpolation="bilinear", name="up"),
            layers.Conv2D(4, 1, activation="relu", name="mixed"),
            layers.Conv2DTranspose(6, 3, strides=2, padding="same", name="grow"),
            layers.GlobalAveragePooling2D(name="mean"),
            layers.Dense(7, activation="softmax", name="classes"),
        ],
    )
    steps = {
        "scale": lambda x: x * 0.25,
        "zeros": lambda x: F.pad(x, (1, 0, 0, 2)),
        "conv": nn.Conv2d(3, 5, 3),
        "silu": F.silu,
        "average": lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
        "after": nn.Conv2d(5, 5, 1),
        "up": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        "mixed": nn.Conv2d(5, 4, 1),
        "relu": F.relu,
        "grow": nn.ConvTranspose2d(4, 6, 3, 2),
        "cut": lambda x: x[..., :-1, :-1],
        "mean": lambda x: x.mean((2, 3)),
        "classes": nn.Linear(6, 7),
        "softmax": lambda x: x.softmax(-1),
    }
    return model, steps, (11, 13, 3)


def halves() -> Any:
    """Stride-2 max pooling with ``same`` on values of both signs, and a LayerNorm."""
    import torch.nn.functional as F
    from keras import layers
    from torch import nn

    model = _model(
        (12, 15, 4),
        [
            layers.Conv2D(6, 1, name="conv"),
            layers.MaxPooling2D(3, 2, padding="same", name="pool"),
            layers.Conv2D(6, 1, activation="relu6", name="next"),
            layers.GlobalMaxPooling2D(name="most"),
            layers.LayerNormalization(name="norm"),
            layers.Dense(6, activation="hard_sigmoid", name="gate"),
            layers.Dense(5, name="head"),
        ],
    )
    infinite = float("-inf")
    steps = {
        "conv": nn.Conv2d(4, 6, 1),
        "pool": lambda x: F.max_pool2d(F.pad(x, (1, 1, 0, 1), value=infinite), 3, 2),
        "next": nn.Conv2d(6, 6, 1),
        "relu6": F.relu6,
        "most": lambda x: x.amax((2, 3)),
        "norm": nn.LayerNorm(6, eps=1e-3),
        "gate": nn.Linear(6, 6),
        "sigmoid": F.hardsigmoid,
        "head": nn.Linear(6, 5),
    }
    return model, steps, (12, 15, 4)


def words(kind: str = "LSTM", **settings: Any) -> Any:
    """An Embedding, a recurrent layer and a head."""
    from keras import layers
    from torch import nn

    model = _model(
        (7,),
        [
            layers.Embedding(17, 6, name="table"),
            getattr(layers, kind)(6, return_sequences=True, name="cell", **settings),
            layers.Dense(3, name="out"),
        ],
        "int32",
    )
    steps = {
        "table": nn.Embedding(17, 6),
        "cell": getattr(nn, kind)(6, 6, batch_first=True),
        "out": nn.Linear(6, 3),
    }
    return model, steps, ("ids", 7)


PAIRS: dict[str, Callable[[], Any]] = {
    "image": image,
    "pooled": pooled,
    "halves": halves,
    "lstm": words,
    "gru": lambda: words("GRU"),
    "branches": _of("fault_pairs_branches", "branches"),
    "bottleneck": _of("fault_pairs_branches", "bottleneck"),
    "sequence": _of("fault_pairs_sequences", "sequence"),
    "gates": _of("fault_pairs_sequences", "gates"),
    "attention": _of("fault_pairs_sequences", "attention"),
    "masked": _of("fault_pairs_sequences", "masked"),
}
