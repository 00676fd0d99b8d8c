"""Random values for every weight of a model, so that no wrong tensor hides behind a zero or a one.

Biases, norms and the statistics of BatchNorm included: a fresh model has them at 0 and 1, and a
mapping that forgets one of them would pass unseen. What a layer computes from its shape and its
config is no weight: random frequencies of a rotary embedding would make another model.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from converter import api
from converter.algebra.computed import Computed, Count
from converter.algebra.copies import Copies
from converter.live.keras_model import KerasModelCheckpoint
from converter.mapping.rules import Mapping
from converter.tensors.dtype import Array

# Names of scales, which multiply: around one, so that activations keep their size.
_SCALES = ("gamma", "scale", "layer_scale", "lambda")
_VARIANCES = ("variance", "stddev")


def randomise_keras(model: Any, seed: int = 0, but: Collection[Any] = ()) -> None:
    """Give every floating variable of a Keras model random values, variances positive.

    The scale shrinks with the number of inputs, so that activations keep their size through any
    depth and no wrong tensor hides behind a vanishing one.

    Args:
        model: A built Keras model.
        seed: The same seed gives the same values.
        but: Variables that keep their values.
    """
    random = np.random.default_rng(seed)
    for variable in model.weights:
        if "float" in str(variable.dtype) and all(variable is not one for one in but):
            variable.assign(_values(str(variable.path), tuple(variable.shape), random))


def randomise_weights(model: Any, module: Any, mapping: Mapping | None, seed: int = 0) -> None:
    """Randomise what are weights of a Keras model, and let it count what it counts.

    Args:
        model: A built Keras model.
        module: Its twin.
        mapping: The mapping between them, or ``None`` for the one that is found.
        seed: The same seed gives the same values.
    """
    steps = api.plan(module, like=model, mapping=mapping).plan.steps
    made = [one for one in steps if isinstance(one.operation, Computed | Copies)]
    if not made:
        randomise_keras(model, seed)
        return
    variables = KerasModelCheckpoint(model).variables()
    kept = [step.targets[0] for step in made if isinstance(step.operation, Computed)]
    randomise_keras(model, seed, [variables[name] for name in kept])
    for step in made:
        first, *others = (variables[name] for name in step.targets)
        for other in others:  # copies of the first
            other.assign(first)
        if isinstance(step.operation, Count):  # new models of some layers have zeros there
            first.assign(step.operation.apply(())[0])


def _values(path: str, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    name = path.rpartition("/")[2]
    if name.endswith((*_SCALES, *_VARIANCES)) or "layer_scale" in path:
        value = random.uniform(0.5, 1.5, shape)
    elif len(shape) < 2:
        value = random.normal(0.0, 0.2, shape)
    else:
        inputs = shape[:2] if "depthwise" in path and len(shape) == 4 else shape[:-1]
        value = random.normal(0.0, 1.0, shape) * np.sqrt(2.0 / np.prod(inputs))
    return value.astype("float32")
