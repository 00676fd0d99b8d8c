"""Every format that is written passes the contract; and none escapes it."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.format_contract import FormatContract
from support.onnx_files import template

from converter.errors import CheckpointError
from converter.formats.onnx_reader import OnnxCheckpoint
from converter.formats.registry import FORMATS, open_checkpoint
from converter.tensors.dtype import DTYPES
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec
from converter.tensors.structure import KerasStructure

PACKED = {dtype.name for dtype in DTYPES if dtype.is_packed}
FLOAT8 = {dtype.name for dtype in DTYPES if dtype.name.startswith("float8")}
ML_TYPES = FLOAT8 | {"bfloat16"}


class TestSafetensors(FormatContract):
    format_id = "safetensors"
    file_name = "model.safetensors"
    refused = frozenset({"complex128"})


class TestSafetensorsIndex(FormatContract):
    format_id = "safetensors_index"
    file_name = "model.safetensors"
    refused = frozenset({"complex128"})

    def options_for(self, manifest: Manifest) -> dict:
        return {"max_shard_size": 300}

    def result(self) -> str:
        return "model.safetensors.index.json"

    def small_file(self, folder: Path) -> tuple[Path, bytes]:
        path, data = super().small_file(folder)
        return path, data.rstrip(b"\n")  # without the last line break it is the same document

    def test_a_truncated_shard_is_an_error_that_names_it(self, tmp_path):
        path, _ = super().small_file(tmp_path)
        shard = tmp_path / "model-00002-of-00002.safetensors"
        shard.write_bytes(shard.read_bytes()[:-1])
        with pytest.raises(CheckpointError, match=shard.name):
            open_checkpoint(path)


class TestTorch(FormatContract):
    format_id = "torch"
    file_name = "model.pt"
    refused = frozenset(PACKED)


class TestNpz(FormatContract):
    format_id = "npz"
    file_name = "model.npz"
    refused = frozenset(PACKED | ML_TYPES)


class TestOnnx(FormatContract):
    """Tensors under their own names, written after a file that holds zeros."""

    format_id = "onnx"
    file_name = "model.onnx"
    refused = frozenset(PACKED)

    @pytest.fixture(autouse=True)
    def _templates(self, tmp_path_factory):
        self.folder = tmp_path_factory.mktemp("templates")

    def options_for(self, manifest: Manifest) -> dict:
        path = template(self.folder / f"{len(list(self.folder.iterdir()))}.onnx", manifest)
        with OnnxCheckpoint(path) as like:
            return {"like": like}

    def test_an_empty_manifest_is_a_file(self, tmp_path):
        path = template(tmp_path / "empty.onnx", [])
        with pytest.raises(CheckpointError, match="it is an ONNX model without weights"):
            open_checkpoint(path)


class KerasContract(FormatContract):
    """Every tensor is the kernel of a layer of its own."""

    refused = frozenset(PACKED | FLOAT8)
    truncation_step = 97
    flipped_bytes = 500  # one in fifty is left to HDF5, in a process of its own

    def manifest(self, specs: Iterable[TensorSpec]) -> Manifest:
        return Manifest.of(
            [TensorSpec(f"{layer_name(spec)}/kernel", spec.shape, spec.dtype) for spec in specs],
            family="keras",
        )


class TestKerasWeights(KerasContract):
    format_id = "keras_weights"
    file_name = "model.weights.h5"

    def options_for(self, manifest: Manifest) -> dict:
        return {"structure": structure_of(manifest)}


class TestKerasSharded(KerasContract):
    format_id = "keras_sharded"
    file_name = "model.weights.json"

    def options_for(self, manifest: Manifest) -> dict:
        return {"structure": structure_of(manifest), "max_shard_size": 300}


class TestKeras(KerasContract):
    format_id = "keras"
    file_name = "model.keras"

    def options_for(self, manifest: Manifest) -> dict:
        return {"structure": structure_of(manifest, config=config_of(manifest))}


class TestKerasLegacy(KerasContract):
    format_id = "keras_legacy"
    file_name = "model.h5"

    def options_for(self, manifest: Manifest) -> dict:
        legacy = {name.split("/")[0]: ((name, name),) for name in manifest.tensors}
        return {"structure": KerasStructure(legacy=legacy)}


def layer_name(spec: TensorSpec) -> str:
    return "at_" + spec.name.replace(".", "_")


def structure_of(manifest: Manifest, config: str | None = None) -> KerasStructure:
    groups = {
        name: f"layers/dense{f'_{number}' if number else ''}/vars"
        for number, name in enumerate(manifest.tensors)
    }
    return KerasStructure(
        store={name: f"{group}/0" for name, group in groups.items()},
        groups={"vars": None} | {group: name.split("/")[0] for name, group in groups.items()},
        config=config,
    )


def config_of(manifest: Manifest) -> str:
    """Return the architecture of a Sequential model of Dense layers without bias."""
    layers = [
        {
            "module": "keras.layers",
            "class_name": "Dense",
            "config": {"name": name.split("/")[0], "units": 1, "use_bias": False},
        }
        for name in manifest.tensors
    ]
    config = {"name": "model", "layers": layers}
    return json.dumps({"module": "keras", "class_name": "Sequential", "config": config})


def test_every_format_that_is_written_has_a_contract():
    contracts = [one for one in globals().values() if isinstance(one, type)]
    covered = {one.format_id for one in contracts if hasattr(one, "format_id")}
    assert covered == {one.id for one in FORMATS if one.can_write}
