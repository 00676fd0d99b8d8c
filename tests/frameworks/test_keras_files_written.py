"""Files that we write are loaded by Keras itself, and every bit is where it belongs."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:.*legacy:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*np.object.*:FutureWarning"),
]

keras = pytest.importorskip("keras")

from support.keras_models import CUSTOM, FUNCTIONAL, randomised  # noqa: E402  # after the skip

from converter.errors import UsageError  # noqa: E402  # after the skip
from converter.formats.base import Checkpoint  # noqa: E402  # after the skip
from converter.formats.keras_writer import KerasWriter  # noqa: E402  # after the skip
from converter.formats.registry import open_checkpoint  # noqa: E402  # after the skip
from converter.live.keras_model import KerasModelCheckpoint  # noqa: E402  # after the skip

BLOCK = 7  # elements; so that blocks begin and end inside of rows


def written(source: Checkpoint, path: Path, format_id: str) -> Path:
    """Write a checkpoint after its own structure, in blocks, tensors backwards."""
    writer = KerasWriter(
        path.parent,
        path.name,
        source.manifest,
        format_id=format_id,
        structure=source.structure,
    )
    for name in reversed(source.manifest.tensors):
        values = np.array(source.read(name), order="C").reshape(-1)
        for start in reversed(range(0, values.size, BLOCK)):
            writer.write(name, start, values[start : start + BLOCK])
    assert writer.finish({"weightferry": '{"tool": 1}'}) == (path.name,)
    return path


def same_weights(model: Any, other: Any) -> None:
    assert len(model.weights) == len(other.weights)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        assert one.dtype == two.dtype
        assert one.tobytes() == two.tobytes()


@pytest.fixture(params=[*FUNCTIONAL, *CUSTOM])
def build(request: pytest.FixtureRequest) -> Any:
    return {**FUNCTIONAL, **CUSTOM}[request.param]


def test_keras_loads_weights_written_after_a_live_model(build: Any, tmp_path: Path) -> None:
    model, fresh = randomised(build(), 1), randomised(build(), 2)
    path = written(KerasModelCheckpoint(model), tmp_path / "a.weights.h5", "keras_weights")
    fresh.load_weights(path)
    same_weights(fresh, model)


def test_keras_loads_weights_written_after_a_file(build: Any, tmp_path: Path) -> None:
    model, fresh = randomised(build(), 1), randomised(build(), 2)
    model.save_weights(tmp_path / "by_keras.weights.h5")
    with open_checkpoint(tmp_path / "by_keras.weights.h5") as source:
        path = written(source, tmp_path / "a.weights.h5", "keras_weights")
    fresh.load_weights(path)
    same_weights(fresh, model)


@pytest.mark.parametrize("live", [True, False])
def test_keras_loads_an_archive(build: Any, live: bool, tmp_path: Path) -> None:
    model = randomised(build(), 1)
    model.save(tmp_path / "by_keras.keras")
    source = KerasModelCheckpoint(model) if live else open_checkpoint(tmp_path / "by_keras.keras")
    with source:
        path = written(source, tmp_path / "a.keras", "keras")
    same_weights(keras.saving.load_model(path), model)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    with open_checkpoint(path) as found:
        assert found.manifest.metadata["weightferry"] == '{"tool": 1}'
        assert found.manifest.metadata["keras_version"] == keras.__version__


@pytest.mark.parametrize("name", FUNCTIONAL)
@pytest.mark.parametrize("live", [True, False])
def test_keras_loads_a_legacy_model(name: str, live: bool, tmp_path: Path) -> None:
    model, fresh = randomised(FUNCTIONAL[name](), 1), randomised(FUNCTIONAL[name](), 2)
    model.save(tmp_path / "by_keras.h5")
    source = KerasModelCheckpoint(model) if live else open_checkpoint(tmp_path / "by_keras.h5")
    with source:
        path = written(source, tmp_path / "a.h5", "keras_legacy")
    fresh.load_weights(path)
    same_weights(fresh, model)
    if name != "attention":  # y + 1.0: Keras cannot load its own legacy file either
        same_weights(keras.saving.load_model(path), model)
    with open_checkpoint(path) as found:
        assert found.manifest.metadata["weightferry"] == '{"tool": 1}'


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_keras_loads_weights_written_after_a_legacy_file(name: str, tmp_path: Path) -> None:
    model, fresh = randomised(FUNCTIONAL[name](), 1), randomised(FUNCTIONAL[name](), 2)
    model.save(tmp_path / "by_keras.h5")
    model.save_weights(tmp_path / "by_keras.weights.h5")
    with open_checkpoint(tmp_path / "by_keras.h5") as source:
        path = written(source, tmp_path / "a.weights.h5", "keras_weights")
        with open_checkpoint(tmp_path / "by_keras.weights.h5") as like:
            assert set(source.structure.store.values()) == set(like.structure.store.values())
    fresh.load_weights(path)
    same_weights(fresh, model)


def test_files_written_are_read_like_the_original(build: Any, tmp_path: Path) -> None:
    model = randomised(build(), 1)
    model.save_weights(tmp_path / "by_keras.weights.h5")
    with open_checkpoint(tmp_path / "by_keras.weights.h5") as source:
        written(source, tmp_path / "a.weights.h5", "keras_weights")
        with open_checkpoint(tmp_path / "a.weights.h5") as found:
            assert found.manifest.tensors == source.manifest.tensors
            assert found.manifest.layers == source.manifest.layers
            assert found.structure == source.structure


def test_bfloat16_arrives_bit_by_bit(tmp_path: Path) -> None:
    def build() -> Any:
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, dtype="bfloat16")])

    model, fresh = randomised(build(), 1), randomised(build(), 2)
    with KerasModelCheckpoint(model) as source:
        assert {spec.dtype.name for spec in source.manifest} == {"bfloat16"}
        path = written(source, tmp_path / "a.weights.h5", "keras_weights")
        legacy = written(source, tmp_path / "a.h5", "keras_legacy")
    fresh.load_weights(path)
    same_weights(fresh, model)
    # Keras cannot read bfloat16 from legacy HDF5, whoever wrote it; we can.
    for ours in (path, legacy):
        with open_checkpoint(ours) as found:
            arrays = [found.read(name) for name in found.manifest.tensors]
        for array, expected in zip(arrays, model.get_weights(), strict=True):
            assert array.dtype == expected.dtype
            assert array.tobytes() == expected.tobytes()


def test_state_of_the_optimizer_is_left_out_and_keras_loads_the_rest(tmp_path: Path) -> None:
    model = randomised(FUNCTIONAL["sequential"](), 1)
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((4, 9, 8, 3)), np.ones((4, 3)), verbose=0)
    model.save(tmp_path / "by_keras.keras")
    with open_checkpoint(tmp_path / "by_keras.keras") as source:
        assert len(source.manifest) == len(model.weights)
        assert len(source.manifest.notices) == 1
        assert source.manifest.notices[0].endswith("are no weights and left out")
        path = written(source, tmp_path / "a.keras", "keras")
    same_weights(keras.saving.load_model(path, compile=False), model)


def test_a_structure_of_another_model_is_refused(tmp_path: Path) -> None:
    one, other = FUNCTIONAL["sequential"](), FUNCTIONAL["nested"]()
    source, like = KerasModelCheckpoint(one), KerasModelCheckpoint(other)
    with pytest.raises(UsageError) as refused:
        KerasWriter(tmp_path, "a.weights.h5", source.manifest, structure=like.structure)
    assert "cannot write 'a.weights.h5': the tensors are not those of the model given" in str(
        refused.value
    )
    assert list(tmp_path.iterdir()) == []
