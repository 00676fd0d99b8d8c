"""Weights in shards: Keras loads ours, and ours lie as its own do."""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import h5py
import keras
import numpy as np
import pytest
from support.keras_models import randomised

import converter

pytestmark = pytest.mark.frameworks
LIMIT = 2200  # bytes: the largest kernel has 2,160


def network() -> keras.Model:
    """Return a network with layers without variables, and a model inside it."""
    inner = keras.Sequential(
        [keras.Input((7,)), keras.layers.Dense(9, name="d"), keras.layers.ReLU()], name="inner"
    )
    x = image = keras.Input((6, 5, 3))
    x = keras.layers.Conv2D(7, 3, name="conv")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return randomised(keras.Model(image, keras.layers.Dense(60, name="head")(inner(x))))


def layout(index: Path) -> tuple[dict, dict]:
    """Return the map of an index, and what each shard holds."""
    shards = {}
    document = json.loads(index.read_text())
    for name in sorted({name for names in document["weight_map"].values() for name in names}):
        with h5py.File(index.with_name(name)) as file:
            found: dict[str, object] = {}
            file.visititems(
                lambda path, item, found=found: found.__setitem__(
                    path, item.shape if isinstance(item, h5py.Dataset) else dict(item.attrs)
                )
            )
            # Keras makes the groups of a layer whose variables then go into the next shard.
            shards[name] = {
                path: said for path, said in found.items()
                if not path.endswith("/vars") or any(one.startswith(f"{path}/") for one in found)
            }  # fmt: skip
    return document, shards


def test_keras_loads_what_is_written(tmp_path: Path) -> None:
    model = network()
    model.save(tmp_path / "a.keras")
    index = tmp_path / "b.weights.json"
    written = converter.convert(
        tmp_path / "a.keras", index, like=tmp_path / "a.keras", max_shard_size=LIMIT
    )
    assert [path.name for path in written.files][-1] == "b.weights.json"
    assert len(written.files) > 2
    other = network()
    other.set_weights([np.zeros_like(weight) for weight in other.get_weights()])
    other.load_weights(index)
    for found, expected in zip(other.get_weights(), model.get_weights(), strict=True):
        assert found.tobytes() == expected.tobytes()
    options = {"architecture": tmp_path / "a.keras"}
    with converter.open(index, **options) as again, converter.open(tmp_path / "a.keras") as source:
        assert set(again.manifest.tensors) == set(source.manifest.tensors)
        assert again.manifest.metadata.keys() == {"weightferry"}
        with converter.open(index) as alone:  # 'inner' has no variables of its own, and a name
            assert set(alone.manifest.tensors) == set(source.manifest.tensors)
        assert again.manifest.writer.startswith("Weightferry ")


def test_shards_are_those_of_keras(tmp_path: Path) -> None:
    model = network()
    model.save(tmp_path / "a.keras")
    keras_index, ours = tmp_path / "k" / "b.weights.json", tmp_path / "o" / "b.weights.json"
    for path in (keras_index, ours):
        path.parent.mkdir()
    model.save_weights(keras_index, max_shard_size=LIMIT / 2**30)
    converter.convert(tmp_path / "a.keras", ours, like=tmp_path / "a.keras", max_shard_size=LIMIT)
    expected, expected_shards = layout(keras_index)
    found, found_shards = layout(ours)
    assert found["weight_map"] == expected["weight_map"]
    assert found["metadata"]["total_size"] == expected["metadata"]["total_size"]
    assert found_shards.keys() == expected_shards.keys()
    for name, shard in expected_shards.items():
        assert {path: said for path, said in shard.items() if not isinstance(said, dict)} == {
            path: said for path, said in found_shards[name].items() if not isinstance(said, dict)
        }, name


def test_other_shards_of_an_older_run_go(tmp_path: Path) -> None:
    network().save(tmp_path / "a.keras")
    folder = tmp_path / "out"
    folder.mkdir()
    names = []
    for limit in (LIMIT, None):
        written = converter.convert(
            tmp_path / "a.keras", folder / "b.weights.json", like=tmp_path / "a.keras",
            max_shard_size=limit, force=True,
        )  # fmt: skip
        names.append({path.name for path in written.files})
    assert len(names[0]) > 3
    assert names[1] == {"b_00000.weights.h5", "b.weights.json"}
    assert {path.name for path in folder.iterdir()} == names[1]


def test_other_files_of_keras_are_one_file(tmp_path: Path) -> None:
    network().save(tmp_path / "a.keras")
    with pytest.raises(converter.UsageError) as error:
        converter.convert(
            tmp_path / "a.keras", tmp_path / "b.weights.h5", like=tmp_path / "a.keras",
            max_shard_size=LIMIT,
        )  # fmt: skip
    assert error.value.hint == (
        "leave out the size of shards, or write safetensors or .weights.json"
    )
