"""Layers are stored in the order in which Keras has them, not in that of their description.

A weights file calls them ``dense``, ``dense_1`` in that order: of two layers of one shape, a file
written in the order of the description would give each the weights of the other, silently.
"""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path

import numpy as np
import oracles
import pytest
from support.upgraded import config_of, opened, upgraded

from converter.graph.reading import read_graph_text
from converter.upgrading.model_text import write_model
from converter.upgrading.order import in_keras_order

pytestmark = pytest.mark.frameworks


def _reordered(source: Path, target: Path, order) -> Path:
    """Copy a ``.keras`` file with the layers of its description in another order."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                config["config"]["layers"] = order(config["config"]["layers"])
                data = json.dumps(config).encode()
            new.writestr(name, data)
    return target


def _two_of_one_shape():
    import keras

    rows = keras.Input((5,), name="rows")
    near = keras.layers.Dense(5, name="near")
    far = keras.layers.Dense(5, name="far")
    return keras.Model(rows, near(far(rows)))


def test_two_layers_of_one_shape_keep_their_weights_when_listed_out_of_order(tmp_path):
    model = _two_of_one_shape()
    oracles.randomise_keras(model)
    model.save(tmp_path / "a.keras")
    source = _reordered(tmp_path / "a.keras", tmp_path / "b.keras", lambda found: found[::-1])
    assert [one["name"] for one in config_of(source)["config"]["layers"]] == ["near", "far", "rows"]
    upgraded(source, tmp_path / "c.keras")
    made = opened(tmp_path / "c.keras")
    for name in ("near", "far"):
        for new, old in zip(
            made.get_layer(name).get_weights(), model.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(new, old)
    rows = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    wanted = oracles.run_keras(model, rows)
    assert np.abs(oracles.run_keras(made, rows) - wanted).max() == 0
    # The test can fail: with the two exchanged the outputs differ by more than any rounding.
    made.get_layer("near").set_weights(model.get_layer("far").get_weights())
    made.get_layer("far").set_weights(model.get_layer("near").get_weights())
    assert np.abs(oracles.run_keras(made, rows) - wanted).max() > 0.1


def test_places_follow_the_order_of_keras(tmp_path):
    text = json.dumps(_listed_backwards(_two_of_one_shape()))
    placed = {one.path: one.place for one in write_model(read_graph_text(text)).placed}
    assert placed["far"] == "layers/dense"
    assert placed["near"] == "layers/dense_1"


def _listed_backwards(model):
    import keras

    described = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    described["config"]["layers"].reverse()
    return described


def _random_model(seed: int):
    """Return a model of layers that are called once, twice or in vain, in an odd order."""
    import keras

    chosen = random.Random(seed)  # noqa: S311  # a network, not a secret
    values = [keras.Input((4,), name=f"in_{place}") for place in range(chosen.randint(1, 3))]
    inputs = list(values)
    shared = [keras.layers.Dense(4, name=f"shared_{place}") for place in range(2)]
    for place in range(chosen.randint(4, 14)):
        kind = chosen.choice(["dense", "add", "shared", "operation"])
        one, other = chosen.choice(values), chosen.choice(values)
        if kind == "dense":
            values.append(keras.layers.Dense(4, name=f"own_{place}")(one))
        elif kind == "add":
            values.append(keras.layers.Add(name=f"sum_{place}")([one, other]))
        elif kind == "shared":
            values.append(chosen.choice(shared)(one))
        else:
            values.append(keras.ops.multiply(one, other))
    made = values[len(inputs) :]
    return keras.Model(inputs, chosen.sample(made, min(len(made), 3)))


@pytest.mark.parametrize("seed", range(40))
def test_the_order_is_that_of_keras_for_any_network(seed):
    model = _random_model(seed)
    described = _listed_backwards(model)
    random.Random(seed).shuffle(described["config"]["layers"])  # noqa: S311  # as above
    graph = in_keras_order(read_graph_text(json.dumps(described)))
    names = [layer.path for layer in graph.layers]
    expected = [one.name for one in model.operations]
    numbered = dict(zip(names, expected, strict=True))
    # Operations are numbered afresh in a graph; layers have names of their own here.
    assert all(name == numbered[name] for name in names if name.startswith(("in_", "own_", "sha")))
    assert len({*numbered.values()}) == len(expected)
