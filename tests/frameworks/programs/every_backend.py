"""Run by test_backends.py, in a process of its own, under one Keras backend."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

import converter


def same(first: keras.Model, second: keras.Model) -> bool:
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return all(np.asarray(one).tobytes() == np.asarray(two).tobytes() for one, two in pairs)


def build() -> keras.Model:
    x = given = keras.Input((9, 9, 3))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(5, 3, name="conv")(x))
    x = layers.Dense(4, name="head", dtype="bfloat16")(layers.Flatten()(x))
    return keras.Model(given, x)


def main(folder: Path) -> None:
    generator = np.random.default_rng(0)
    model, other = build(), build()
    for variable in model.weights:
        variable.assign(generator.uniform(0.1, 1, variable.shape).astype("float32"))
    state = converter.plan(model).state_dict("numpy")
    assert state["head.weight"].shape == (4, 245)
    assert str(state["head.weight"].dtype) == "bfloat16"
    other.set_weights(converter.plan(state, like=model).get_weights())
    assert same(model, other), "set_weights"
    model.save(folder / "theirs.keras")
    live, file = converter.open(model).manifest, converter.open(folder / "theirs.keras").manifest
    assert list(live.tensors) == list(file.tensors)
    converter.convert(model, folder / "ours.keras", to="keras")
    assert same(model, keras.models.load_model(folder / "ours.keras")), "load_model"
    converter.convert(model, folder / "ours.weights.h5", to="keras")
    fresh = build()
    fresh.load_weights(folder / "ours.weights.h5")
    assert same(model, fresh), "load_weights"
    sys.stdout.write(f"ran on {keras.backend.backend()}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
