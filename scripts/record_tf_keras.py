"""Record models that tf_keras, which is Keras 2, saved and ran: what upgraded files must reproduce.

    python scripts/record_tf_keras.py tests/fixtures/tf_keras

Needs TensorFlow and tf_keras, which the tests do not: they read what is written here. For each
model of ``tf_keras_models`` a file that Keras 2 saved, and a ``.npz`` of inputs and outputs.
Weights and inputs are large enough for a hard_sigmoid to reach both ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

BATCH = 3


def randomised(model: Any, seed: int) -> Any:
    """Give every weight of a model a random value, variances positive."""
    random = np.random.default_rng(seed)
    values = []
    for weight in model.weights:
        shape = tuple(weight.shape)
        if "variance" in weight.name or "gamma" in weight.name:
            value = random.uniform(0.5, 1.5, shape)
        elif len(shape) < 2:
            value = random.normal(0.0, 0.5, shape)
        else:
            value = random.normal(0.0, 1.0, shape) * np.sqrt(4.0 / np.prod(shape[:-1]))
        values.append(value.astype("float32"))
    model.set_weights(values)
    return model


def inputs_of(model: Any, seed: int) -> list[Any]:
    """Return values for each input, whole numbers where it takes those."""
    random = np.random.default_rng(seed)
    made = []
    for one in model.inputs:
        shape = (BATCH, *one.shape[1:])
        if one.dtype.is_integer:
            made.append(random.integers(0, 5, shape).astype("int32"))
        else:
            made.append(random.normal(0.0, 1.5, shape).astype("float32"))
    return made


def record(folder: Path, name: str, model: Any, *, runs: Any = None, suffix: str = ".h5") -> None:
    """Save a model as Keras 2 does, and what it gives.

    Args:
        folder: Where to.
        name: Of the two files.
        model: The model.
        runs: Another one of the same outputs, where this one needs a device that is not there.
        suffix: ``.h5`` or ``.keras``.
    """
    inputs = inputs_of(model, 1)
    made = (runs or model)(inputs if len(inputs) > 1 else inputs[0], training=False)
    outputs = [np.asarray(one) for one in (made if isinstance(made, list | tuple) else [made])]
    model.save(folder / f"{name}{suffix}")
    arrays = {f"input_{place}": one for place, one in enumerate(inputs)}
    arrays |= {f"output_{place}": one for place, one in enumerate(outputs)}
    np.savez_compressed(folder / f"{name}.npz", **arrays)


def main() -> None:
    """Write everything anew."""
    import tf_keras_models

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for place, (name, build) in enumerate(tf_keras_models.MODELS.items()):
        suffix = ".keras" if name.endswith("_archive") else ".h5"
        record(folder, name, randomised(build(), place), suffix=suffix)
    for name, (build, run) in tf_keras_models.CUDNN.items():
        model = randomised(build(), len(name))
        weights = folder / f"{name}_weights.h5"
        model.save_weights(weights)
        runs = run()
        runs.load_weights(weights)  # which translates those of CuDNN
        weights.unlink()
        record(folder, name, model, runs=runs)


if __name__ == "__main__":
    main()
