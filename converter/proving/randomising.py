"""Random values for every weight of a model, so that no wrong tensor hides behind a zero or a one.

Biases, norms and the statistics of BatchNorm included: a fresh model has them at 0 and 1, and a
mapping that forgets one of them would pass unseen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.tensors.dtype import Array

# Names of scales, which multiply: around one, so that activations keep their size.
_SCALES = ("gamma", "scale", "layer_scale", "lambda")
_VARIANCES = ("variance", "stddev")


def randomise_keras(model: Any, seed: int = 0) -> None:
    """Give every floating variable of a Keras model random values, variances positive.

    The scale shrinks with the number of inputs, so that activations keep their size through any
    depth and no wrong tensor hides behind a vanishing one.

    Args:
        model: A built Keras model.
        seed: The same seed gives the same values.
    """
    random = np.random.default_rng(seed)
    for variable in model.weights:
        if "float" in str(variable.dtype):
            variable.assign(_values(str(variable.path), tuple(variable.shape), random))


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
