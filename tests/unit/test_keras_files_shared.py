"""Keras files that strangers made: every one opens, and holds what h5py finds in it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from converter.errors import UnsupportedFileError
from converter.formats.keras_archive import KerasArchive
from converter.formats.keras_legacy import KerasLegacy
from converter.formats.keras_sniff import sniff_hdf5

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "checkpoints"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the shared checkpoints are not there")

FILES = sorted(FOLDER.glob("*")) if FOLDER.is_dir() else []
HDF5 = [path for path in FILES if path.is_file() and h5py.is_hdf5(path)]
CUDNN = "textgenrnn-default.weights.legacy.hdf5"  # see test_keras_files_cudnn.py
LEGACY = [
    path for path in HDF5 if not path.stem.endswith("_inputs_and_outputs") and path.name != CUDNN
]
ARCHIVES = [path for path in FILES if path.suffix == ".keras" and path not in HDF5]
# Source: SOURCES.md beside the files, column Keras.
KERAS_1 = {
    "dl4j-batch_to_conv2d_tensorflow_1.h5",
    "dl4j-bidirectional_lstm_no_return_sequences_theano_1.h5",
    "dl4j-embedding_lstm_tensorflow_1.h5",
    "music_compact_cnn-tf.hdf5",
    "music_compact_cnn-theano.hdf5",
    "ncf-ml1m-gmf.weights.legacy.h5",
}
ARCHITECTURES = {
    "dronet.weights.legacy.h5": "dronet-model_struct.json",
    "hls4ml-lstm.weights.legacy.h5": "hls4ml-lstm.json",
    "hls4ml-KERAS_1layer.weights.legacy.h5": "hls4ml-KERAS_1layer.json",
    "hls4ml-KERAS_3layer.weights.legacy.h5": "hls4ml-KERAS_3layer.json",
    "hls4ml-KERAS_3layer_batch_norm.weights.legacy.h5": "hls4ml-KERAS_3layer_batch_norm.json",
}


def names(group: h5py.Group, attribute: str) -> list[str]:
    found = group.attrs.get(attribute, [])
    return [item.decode() if isinstance(item, bytes) else str(item) for item in found]


@pytest.mark.parametrize("path", LEGACY, ids=lambda path: path.name)
def test_legacy_file_holds_what_h5py_finds(path: Path) -> None:
    assert sniff_hdf5(path) == "keras_legacy"
    if path.name in KERAS_1:
        with KerasLegacy(path) as found:
            assert found.manifest.notices[0].startswith("Keras 1 wrote it")
            assert found.manifest.metadata["keras_version"].startswith("1")
        return  # what its arrays become: test_keras_files_keras_1.py
    with KerasLegacy(path) as found, h5py.File(path) as file:
        root = file.get("model_weights", file)
        count = 0
        for layer in names(root, "layer_names"):
            placed = {weight: tensor for tensor, weight in found.structure.legacy[layer]}
            for weight in names(root[layer], "weight_names"):
                expected = root[layer][weight][()]
                array = found.read(placed[weight])
                assert array.tobytes() == expected.tobytes()
                assert array.shape == expected.shape
                # The variable's own name survives: nothing was assigned by position.
                own = weight.rpartition("/")[2].partition(":")[0]
                if layer.startswith("depthwise_conv2d"):  # Keras 3 calls it so
                    own = own.replace("depthwise_kernel", "kernel")
                assert placed[weight].rpartition("/")[2] == own
                count += 1
        assert len(found.manifest) == count > 0
        if "model_config" in file.attrs:
            assert all(layer.class_name for layer in found.manifest.layers)
            assert not any("fit no one layer" in notice for notice in found.manifest.notices)


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.name)
def test_archive_holds_what_h5py_finds(path: Path) -> None:
    with KerasArchive(path) as found, zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
        expected: dict[str, bytes] = {}
        with h5py.File(content) as file:
            file.visititems(
                lambda name, item: (
                    expected.__setitem__(name.replace("\\", "/"), item[()].tobytes())
                    if isinstance(item, h5py.Dataset)
                    else None
                )
            )
        weights = {name: value for name, value in expected.items() if name.startswith("layers/")}
        placed = {
            store: found.read(name).tobytes() for name, store in found.structure.store.items()
        }
        assert placed == weights
        assert all(layer.class_name for layer in found.manifest.layers)
        assert all(
            layer.tensors.keys() & {"kernel", "gamma", "query/kernel"}
            for layer in found.manifest.layers
            if layer.tensors
        )


@pytest.mark.parametrize(("weights", "architecture"), ARCHITECTURES.items())
def test_architecture_in_a_file_of_its_own(weights: str, architecture: str) -> None:
    config = json.loads((FOLDER / architecture).read_text())["config"]["layers"]
    with KerasLegacy(FOLDER / weights, architecture=FOLDER / architecture) as found:
        classes = [layer.class_name for layer in found.manifest.layers if "/" not in layer.path]
        assert classes == [layer["class_name"] for layer in config]
        owned = {name for layer in found.manifest.layers for name in layer.tensors.values()}
        assert owned == set(found.manifest.tensors)
        assert found.manifest.notices == ()


def test_wrong_architecture_is_refused() -> None:
    with pytest.raises(UnsupportedFileError, match="the architecture is not that of the weights"):
        KerasLegacy(
            FOLDER / "hls4ml-KERAS_1layer.weights.legacy.h5",
            architecture=FOLDER / "hls4ml-KERAS_3layer.json",
        )


def test_recorded_inputs_and_outputs_are_no_weights() -> None:
    for path in set(HDF5) - {*LEGACY, FOLDER / CUDNN}:
        assert sniff_hdf5(path) is None


def test_classes_without_architecture_are_assumed_and_said() -> None:
    with KerasLegacy(FOLDER / "packt-vae_cnn_mnist.weights.legacy.h5") as found:
        classes = {layer.path: layer.class_name for layer in found.manifest.layers}
        assert classes["decoder/conv2d_transpose"] == "Conv2DTranspose"
        assert classes["encoder/z_mean"] is None
        assert len(found.manifest.notices) == 1
        assert "conv2d_transpose_1 (Conv2DTranspose)" in found.manifest.notices[0]


def test_contiguous_values_are_maps_of_the_file() -> None:
    with KerasLegacy(FOLDER / "mlperf_tiny-resnet8-cifar10.h5") as found:
        array = found.read("conv2d/kernel")
        assert isinstance(array, np.ndarray)
        assert not array.flags.owndata
