"""Run by test_scaffold_nasnet.py, with another Python: a Keras application and its outputs.

Arguments: the constructor, height, width and a folder. The folder gets ``model.keras``,
``inputs.npz`` and ``outputs.npz``. Nothing of this project is imported, so that the interpreter
needs Keras and its backend alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np


def randomise(model: keras.Model) -> None:
    """As tests/oracles.py does, which needs pytest."""
    random = np.random.default_rng(0)
    values = []
    for variable in model.weights:
        shape = tuple(variable.shape)
        if variable.path.endswith(("variance", "gamma")):
            value = random.uniform(0.5, 1.5, shape)
        elif len(shape) < 2:
            value = random.normal(0.0, 0.2, shape)
        else:
            value = random.normal(0.0, 1.0, shape) * np.sqrt(2.0 / np.prod(shape[:-1]))
        values.append(value.astype("float32"))
    model.set_weights(values)


def main(name: str, height: int, width: int, folder: Path) -> None:
    make = getattr(keras.applications, name)
    shape = (height, width, 3)
    model = make(weights=None, input_shape=shape, classes=7, classifier_activation=None)
    randomise(model)
    image = np.random.default_rng(1).normal(0.0, 1.0, (3, *shape)).astype("float32")
    np.savez(folder / "inputs.npz", image=image)
    np.savez(folder / "outputs.npz", logits=np.asarray(model(image, training=False)))
    model.save(folder / "model.keras")
    sys.stdout.write(f"{keras.backend.backend()} {keras.__version__}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
