"""Files as Keras 1 wrote them: nobody can install it any more, so they are made by hand.

Layout and names: keras 1.2.2 ``engine/topology.py``, ``save_weights_to_hdf5_group``.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

LSTM = [f"{letter}_{gate}" for gate in "icfo" for letter in "WUb"]
GRU = [f"{letter}_{gate}" for gate in "zrh" for letter in "WUb"]


def write_keras_1(
    path: Path,
    layers: Mapping[str, Mapping[str, np.ndarray]],
    *,
    config: object = None,
    suffix: str = ":0",
) -> Path:
    """Write layers with their arrays by full name; ``suffix`` is what TensorFlow puts after it."""
    with h5py.File(path, "w") as file:
        root = file
        if config is not None:
            file.attrs["keras_version"] = "1.2.2"
            file.attrs["model_config"] = json.dumps(config)
            root = file.create_group("model_weights")
        root.attrs["layer_names"] = [name.encode() for name in layers]
        for layer, arrays in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [f"{name}{suffix}".encode() for name in arrays]
            for name, array in arrays.items():
                group.create_dataset(f"{name}{suffix}", data=array)
    return path


def sequential(*layers: tuple[str, dict]) -> dict:
    """Return the configuration of a Sequential model."""
    return {
        "class_name": "Sequential",
        "config": [{"class_name": name, "config": config} for name, config in layers],
    }


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def gates(layer: str, names: list[str], inputs: int, units: int) -> dict[str, np.ndarray]:
    """Return the arrays of a recurrent layer, one for each gate."""
    shapes = {"W": (inputs, units), "U": (units, units), "b": (units,)}
    return {
        f"{layer}_{name}": values(*shapes[name[0]], seed=at) for at, name in enumerate(names, 1)
    }
