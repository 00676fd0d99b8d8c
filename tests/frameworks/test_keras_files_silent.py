"""Failures that raise nothing: each case here loads wrongly, or not at all, somewhere else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:.*legacy:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*np.object.*:FutureWarning"),
]

keras = pytest.importorskip("keras")

from keras import layers  # noqa: E402  # after the skip
from support.keras_models import FUNCTIONAL, many_layers, randomised  # noqa: E402  # after the skip

from converter.errors import (  # noqa: E402  # after the skip
    CorruptFileError,
    UnsafeFileError,
    UnsupportedFileError,
)
from converter.formats.keras_legacy import KerasLegacy  # noqa: E402  # after the skip
from converter.formats.keras_sharded import KerasSharded  # noqa: E402  # after the skip
from converter.formats.keras_weights import KerasWeights  # noqa: E402  # after the skip
from converter.formats.registry import open_checkpoint, sniff  # noqa: E402  # after the skip


def square_dense(count: int) -> Any:
    model = keras.Sequential([keras.Input((4,))])
    for index in range(count):
        model.add(layers.Dense(4, name=f"d{index}"))
    return model


def values(checkpoint: Any) -> dict[str, Any]:
    return {name: np.array(checkpoint.read(name)) for name in checkpoint.manifest.tensors}


def test_frozen_layer_in_a_nested_model_of_a_legacy_file(tmp_path: Path) -> None:
    def build() -> Any:
        inner = keras.Sequential(
            [keras.Input((4,)), layers.Dense(4, name="a"), layers.Dense(4, name="b")], name="inner"
        )
        x = keras.Input((4,))
        return keras.Model(x, inner(x))

    model, unfrozen = build(), build()
    model.get_layer("inner").get_layer("a").trainable = False
    randomised(model)
    model.save(tmp_path / "m.h5")
    kernels = {w.path: np.array(w) for w in model.weights}
    # Keras itself swaps the two layers, because their shapes fit.
    unfrozen.load_weights(tmp_path / "m.h5")
    swapped = {w.path: np.array(w) for w in unfrozen.weights}
    assert np.array_equal(swapped["inner/a/kernel"], kernels["inner/b/kernel"])
    with KerasLegacy(tmp_path / "m.h5") as found:
        assert list(found.manifest.tensors) == list(kernels)
        for name, array in kernels.items():
            assert np.array_equal(found.read(name), array)


def test_architecture_with_one_layer_more_is_refused(tmp_path: Path) -> None:
    randomised(square_dense(2)).save_weights(tmp_path / "m.weights.h5")
    larger = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="new")])
    for index in range(2):
        larger.add(layers.Dense(4, name=f"d{index}"))
    (tmp_path / "a.json").write_text(larger.to_json())
    with pytest.raises(UnsupportedFileError) as refused:
        KerasWeights(tmp_path / "m.weights.h5", architecture=tmp_path / "a.json")
    assert refused.value.summary == (
        "cannot read 'm.weights.h5': the architecture is not that of the weights: "
        "the file holds no weights of 'new', a Dense"
    )


def test_architecture_with_one_layer_less_is_refused(tmp_path: Path) -> None:
    randomised(square_dense(3)).save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "a.json").write_text(square_dense(2).to_json())
    with pytest.raises(UnsupportedFileError, match="the file holds 'dense_2', which it does not"):
        KerasWeights(tmp_path / "m.weights.h5", architecture=tmp_path / "a.json")


def test_layers_in_another_order_are_told_by_name(tmp_path: Path) -> None:
    model = randomised(square_dense(2))
    model.save_weights(tmp_path / "m.weights.h5")
    other = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="d1"), layers.Dense(4, name="d0")]
    )
    (tmp_path / "a.json").write_text(other.to_json())
    with KerasWeights(tmp_path / "m.weights.h5", architecture=tmp_path / "a.json") as found:
        for layer in model.layers:
            assert np.array_equal(found.read(f"{layer.name}/kernel"), layer.get_weights()[0])


def test_other_names_in_the_architecture_are_refused(tmp_path: Path) -> None:
    randomised(square_dense(2)).save_weights(tmp_path / "m.weights.h5")
    other = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="p"), layers.Dense(4, name="q")]
    )
    (tmp_path / "a.json").write_text(other.to_json())
    with pytest.raises(UnsupportedFileError, match="'dense' is called 'd0' in the file and 'p'"):
        KerasWeights(tmp_path / "m.weights.h5", architecture=tmp_path / "a.json")


def test_automatic_names_of_another_process_still_fit(tmp_path: Path) -> None:
    def build() -> Any:
        return keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(5)])

    model, later = randomised(build()), build()
    model.save_weights(tmp_path / "m.weights.h5")
    model.save(tmp_path / "m.h5")
    (tmp_path / "a.json").write_text(later.to_json())
    for reader, name in ((KerasWeights, "m.weights.h5"), (KerasLegacy, "m.h5")):
        with reader(tmp_path / name, architecture=tmp_path / "a.json") as found:
            assert list(found.manifest.tensors) == [
                "dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias",
            ]  # fmt: skip
            assert np.array_equal(found.read("dense_1/kernel"), model.layers[1].get_weights()[0])


def test_content_decides_and_not_the_ending(tmp_path: Path) -> None:
    model = randomised(square_dense(2))
    model.save(tmp_path / "m.h5")
    model.save_weights(tmp_path / "m.weights.h5")
    shutil.move(tmp_path / "m.h5", tmp_path / "legacy.weights.h5")
    shutil.move(tmp_path / "m.weights.h5", tmp_path / "new.h5")
    assert sniff(tmp_path / "legacy.weights.h5").id == "keras_legacy"
    assert sniff(tmp_path / "new.h5").id == "keras_weights"
    for name in ("legacy.weights.h5", "new.h5"):
        with open_checkpoint(tmp_path / name) as found:
            assert np.array_equal(found.read("d1/kernel"), model.get_weights()[2])
            assert len(found.manifest) == 4


def test_file_without_names_says_so_and_keeps_numbers_in_order(tmp_path: Path) -> None:
    model = randomised(many_layers())
    path = tmp_path / "m.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "r+") as file:  # as Keras before 3.6 wrote it
        groups: list[Any] = []
        file.visititems(lambda _, item: groups.append(item))
        for group in groups:
            group.attrs.pop("name", None)
        assert list(file["layers"])[:3] == ["dense", "dense_1", "dense_10"]
    with KerasWeights(path) as found:
        assert found.manifest.notices == (
            "the file holds no layer names: layers are called after their place in it",
        )
        kernels = [name for name in found.manifest.tensors if name.endswith("kernel")]
        assert kernels[:3] == ["dense/kernel", "dense_1/kernel", "dense_2/kernel"]
        for name, array in zip(found.manifest.tensors, model.get_weights(), strict=True):
            assert np.array_equal(found.read(name), array)


def test_variables_are_numbered_and_not_sorted_as_texts(tmp_path: Path) -> None:
    class Many(layers.Layer):
        def build(self, shape: Any) -> None:
            for index in range(12):
                self.add_weight(shape=(index + 1,), name=f"w{index}")

    model = keras.Sequential([keras.Input((3,)), Many(name="many")])
    randomised(model).save_weights(tmp_path / "m.weights.h5")
    with KerasWeights(tmp_path / "m.weights.h5") as found:
        assert list(found.manifest.tensors) == [f"many/vars/{index}" for index in range(12)]
        for name, array in zip(found.manifest.tensors, model.get_weights(), strict=True):
            assert np.array_equal(found.read(name), array)


def test_lora_is_merged_in_the_file(tmp_path: Path) -> None:
    model = randomised(square_dense(1))
    model.layers[0].enable_lora(2)
    randomised(model, 3)
    model.save_weights(tmp_path / "m.weights.h5")
    with KerasWeights(tmp_path / "m.weights.h5") as found:
        assert list(found.manifest.tensors) == ["d0/kernel", "d0/bias"]
        merged = keras.ops.convert_to_numpy(model.layers[0].kernel)
        assert np.allclose(found.read("d0/kernel"), merged, atol=1e-6)
        assert not np.allclose(found.read("d0/kernel"), model.get_weights()[0], atol=1e-2)


def test_merged_lora_is_said_where_the_architecture_shows_it(tmp_path: Path) -> None:
    model = randomised(square_dense(1))
    model.layers[0].enable_lora(2)
    model.save(tmp_path / "m.keras")
    with open_checkpoint(tmp_path / "m.keras") as found:
        assert list(found.manifest.tensors) == ["d0/kernel", "d0/bias"]
        assert found.manifest.notices == (
            "LoRA was merged into the weights when Keras saved them: 'd0' (rank 2).",
        )


def test_an_unzipped_archive_is_read_like_the_archive(tmp_path: Path) -> None:
    model = randomised(square_dense(2))
    model.save(tmp_path / "m.keras")
    shutil.unpack_archive(tmp_path / "m.keras", tmp_path / "m", "zip")
    with open_checkpoint(tmp_path / "m.keras") as first, open_checkpoint(tmp_path / "m") as second:
        assert first.manifest == second.manifest
        assert second.manifest.metadata["keras_version"] == keras.__version__
        assert second.manifest.layers[-1].config["units"]
        for name in first.manifest.tensors:
            assert np.array_equal(first.read(name), second.read(name))


def test_an_unzipped_archive_whose_architecture_is_a_link_is_refused(tmp_path: Path) -> None:
    randomised(square_dense(1)).save(tmp_path / "m.keras")
    shutil.unpack_archive(tmp_path / "m.keras", tmp_path / "m", "zip")
    (tmp_path / "m" / "config.json").rename(tmp_path / "secret.json")
    (tmp_path / "m" / "config.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(UnsafeFileError, match="it is a link"):
        open_checkpoint(tmp_path / "m")


def test_quantised_dense_is_not_taken_for_kernel_and_bias(tmp_path: Path) -> None:
    model = randomised(square_dense(1))
    model.layers[0].quantize("int8")
    model.save(tmp_path / "m.keras")
    with open_checkpoint(tmp_path / "m.keras") as found:
        assert list(found.manifest.tensors) == ["d0/bias", "d0/kernel", "d0/kernel_scale"]
        assert found.manifest["d0/kernel"].dtype.name == "int8"


def test_shard_of_another_saving_is_refused(tmp_path: Path) -> None:
    model = randomised(FUNCTIONAL["sequential"]())
    limit = (max(a.nbytes for a in model.get_weights()) + 8) / 2**30
    model.save_weights(tmp_path / "m.weights.json", max_shard_size=limit)
    index = json.loads((tmp_path / "m.weights.json").read_text())
    shards = sorted(tmp_path.glob("*.h5"))
    shutil.copy(shards[0], shards[1])
    with pytest.raises(CorruptFileError, match="does not hold"):
        KerasSharded(tmp_path / "m.weights.json")
    assert any(isinstance(value, list) for value in index["weight_map"].values())


def test_shard_outside_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    randomised(square_dense(1)).save_weights(tmp_path / "secret.weights.h5")
    index = {"metadata": {}, "weight_map": {"/layers/dense/vars": "../secret.weights.h5"}}
    (folder / "m.weights.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="names a file outside its own folder"):
        KerasSharded(folder / "m.weights.json")
