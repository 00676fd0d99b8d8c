"""Small files that Keras itself writes, with random weights and no two axes of one size."""

import os
from pathlib import Path

import numpy as np


def small_network():
    """Return a convolution, a normalisation and a dense layer, every value random."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    keras.backend.clear_session()
    model = keras.Sequential(
        [
            keras.Input((6, 5, 3)),
            keras.layers.Conv2D(7, (2, 4), activation="relu", name="stem"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(11, name="head"),
        ],
        name="small",
    )
    random = np.random.default_rng(5)
    model.set_weights(
        [random.uniform(0.5, 1.5, weight.shape).astype(np.float32) for weight in model.weights]
    )
    return model


def save_small_network(path: Path) -> Path:
    """Write the small network as Keras does, and return the path."""
    small_network().save(path)
    return path
