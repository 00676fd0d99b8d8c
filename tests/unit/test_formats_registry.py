"""Content decides which format a file is of, and its name is only what it claims."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file
from support.tensor_files import SHARED, random_values, small_manifest, write_file

import converter
from converter.errors import CheckpointError, UnknownFormatError, UnsupportedFileError, UsageError
from converter.formats.registry import (
    FORMATS,
    create_writer,
    find_suffix,
    open_checkpoint,
    sniff,
    target_format,
)


def test_identifiers_and_endings_are_unique():
    assert len({one.id for one in FORMATS}) == len(FORMATS)
    endings = [suffix for one in FORMATS for suffix in one.suffixes]
    assert len(set(endings)) == len(endings)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.safetensors", "safetensors"),
        ("A.SAFETENSORS", "safetensors"),
        ("a.safetensors.index.json", "safetensors_index"),
        ("a.keras", "keras"),
        ("a.weights.h5", "keras_weights"),
        ("a.h5", "keras_legacy"),
        ("a.hdf5", "keras_legacy"),
        ("a.pt", "torch"),
        ("a.pth", "torch"),
        ("pytorch_model.bin", "torch"),
        ("a.npz", "npz"),
        ("a.onnx", "onnx"),
    ],
)
def test_the_ending_chooses_the_target(name, expected):
    assert target_format(Path(name)).id == expected
    assert target_format(Path("x"), expected).id == expected


@pytest.mark.parametrize("name", ["a.txt", "a", "safetensors", "a.json"])
def test_an_ending_that_says_nothing_is_refused(name):
    with pytest.raises(UsageError, match="its ending says no format"):
        target_format(Path(name))


@pytest.mark.parametrize("name", ["a.bin.index.json", "a.npy"])
def test_a_format_that_is_not_written_is_refused(name):
    with pytest.raises(UsageError, match="this version does not write the format"):
        target_format(Path(name))


def test_a_format_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="there is no format 'pickle'"):
        target_format(Path("a.pt"), "pickle")


@pytest.mark.parametrize("format_id", ["torch", "npz"])
def test_shards_of_a_format_without_shards_are_refused(tmp_path, format_id):
    with pytest.raises(UsageError, match="is written as one file"):
        create_writer(format_id, tmp_path, "a.x", small_manifest(), max_shard_size=10)


class TestContentDecides:
    @pytest.mark.parametrize("format_id", ["safetensors", "torch", "npz"])
    @pytest.mark.parametrize("name", ["a.bin", "a.keras", "a.safetensors", "a.pt", "a.npz", "a"])
    def test_a_wrong_name_is_a_notice(self, tmp_path, format_id, name):
        manifest = small_manifest()
        path = tmp_path / name
        write_file(format_id, path, manifest, random_values(manifest))
        assert sniff(path).id == format_id
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.format == format_id
            assert checkpoint.files == (path,)
            claimed = find_suffix(path)
            found = next(one for one in FORMATS if one.id == format_id)
            if claimed in (None, found):
                assert checkpoint.manifest.notices == ()
            else:
                assert checkpoint.manifest.notices == (
                    f"The name says {claimed.title}, the content is {found.title}: "
                    "it was read as that.",
                )
            assert len(checkpoint.read("conv.bias")) == 4

    def test_hdf5_is_found_behind_a_user_block(self, tmp_path):
        path = tmp_path / "a.bin"
        with h5py.File(path, "w", userblock_size=1024) as file:
            file.create_group("layers/dense/vars")["0"] = np.ones(3)
        assert sniff(path).id == "keras_weights"

    def test_hdf5_that_keras_did_not_write_is_unknown(self, tmp_path):
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            file["x"] = np.ones(3)
        with pytest.raises(UnknownFormatError, match="holds no Keras model or weights"):
            sniff(path)

    @pytest.mark.parametrize(
        ("weight_map", "expected"),
        [
            ({"a": "x-1.safetensors"}, "safetensors_index"),
            ({"/layers/dense/vars": ["x_00000.weights.h5"]}, "keras_sharded"),
            ({"/layers/dense/vars": "x_00000.weights.h5"}, "keras_sharded"),
        ],
    )
    def test_an_index_is_told_by_its_shards(self, tmp_path, weight_map, expected):
        path = tmp_path / "any.json"
        path.write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
        assert sniff(path).id == expected

    def test_an_index_of_other_files_is_said_so(self, tmp_path):
        path = tmp_path / "pytorch_model.bin.index.json"
        path.write_text('{"weight_map": {"a": "pytorch_model-1.bin"}}', encoding="utf-8")
        assert sniff(path).id == "torch_index"
        path.write_text('{"weight_map": {"a": "model-1.gguf"}}', encoding="utf-8")
        with pytest.raises(UnsupportedFileError, match="its shards are of no known format"):
            sniff(path)

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "the file is empty"),
            (b"hello, world, this is a text", "its content is of no known format"),
            (b'{"class_name": "Sequential"}', "it is JSON without a weight_map"),
            (b"\x80\x02}q\x00.", "its content is of no known format"),
            (b"PK\x03\x04 and then nothing", "the zip archive is damaged"),
            (bytes(100), "its content is of no known format"),
        ],
    )
    def test_what_is_no_checkpoint_is_one_clear_error(self, tmp_path, content, why):
        path = tmp_path / "a.pt"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=why):
            sniff(path)

    def test_the_error_shows_the_first_bytes_and_the_formats(self, tmp_path):
        path = tmp_path / "a.pt"
        path.write_bytes(b"\x04\x22\x4d\x18 and more than sixteen bytes")
        with pytest.raises(UnknownFormatError) as error:
            sniff(path)
        readable = ", ".join(one.title for one in FORMATS if one.can_read)
        assert str(error.value) == (
            "cannot read 'a.pt': its content is of no known format\n"
            "  begins with  04 22 4d 18 20 61 6e 64 20 6d 6f 72 65 20 74 68...  "
            "'\\x04\"M\\x18 and more th'...\n"
            f"  readable     {readable}"
        )

    def test_a_zip_of_something_else_is_unknown(self, tmp_path):
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "readme.txt").write_text("hello", encoding="utf-8")
        shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "in")
        with pytest.raises(UnknownFormatError):
            sniff(tmp_path / "a.zip")

    def test_a_folder_without_an_index_is_said_so(self, tmp_path):
        with pytest.raises(CheckpointError, match="the folder holds no index"):
            open_checkpoint(tmp_path)


SHARED_FORMATS = {
    ".keras": {"keras", "keras_legacy"},
    ".h5": {"keras_legacy"},
    ".hdf5": {"keras_legacy"},
    ".pt": {"torch", "torch_legacy"},
    ".pth": {"torch_legacy"},
    ".th": {"torch_legacy"},
    ".tar": {"torch"},
    ".onnx": {"onnx"},
    ".safetensors": {"safetensors"},
}


@pytest.mark.skipif(not SHARED.exists(), reason="the shared checkpoints are not here")
class TestRealFiles:
    def test_each_is_of_the_format_it_should_be(self):
        for path in sorted(SHARED.iterdir()):
            expected = SHARED_FORMATS.get(path.suffix)
            if expected is not None and "inputs_and_outputs" not in path.name:
                assert sniff(path).id in expected, path.name

    @pytest.mark.frameworks
    @pytest.mark.parametrize(
        ("name", "key"),
        [
            ("ultralight-slim-320.pth", None),
            ("resnet20-cifar10-akamaster.th", "state_dict"),
            ("blazeface.pth", None),
            ("mtcnn-pnet-facenet.pt", None),
            ("burn-mnist.pt", None),
            ("gtcrn-vctk.tar", "model"),
        ],
    )
    def test_pytorch_files_hold_what_torch_loads(self, name, key):
        import torch

        state = torch.load(SHARED / name, weights_only=True, map_location="cpu")
        state = state if key is None else state[key]
        with open_checkpoint(SHARED / name) as checkpoint:
            assert len(checkpoint.manifest) == len(state)
            for expected, (spec, tensor) in zip(
                state, zip(checkpoint.manifest, state.values(), strict=True), strict=True
            ):
                found = checkpoint.read(spec.name)
                assert expected.removeprefix("module.") == spec.name
                assert str(tensor.dtype) == f"torch.{spec.dtype}"
                assert found.shape == tuple(tensor.shape)
                assert found.tobytes() == tensor.contiguous().numpy().tobytes()

    @pytest.mark.frameworks
    @pytest.mark.parametrize("name", ["silero_vad_16k.safetensors", "burn-mnist.safetensors"])
    def test_safetensors_files_hold_what_the_reference_library_loads(self, name):
        from safetensors.numpy import load_file

        expected = load_file(SHARED / name)
        with open_checkpoint(SHARED / name) as checkpoint:
            assert set(checkpoint.manifest.tensors) == set(expected)
            for key, value in expected.items():
                found = checkpoint.read(key)
                assert (found.dtype, found.shape) == (value.dtype, value.shape)
                assert found.tobytes() == value.tobytes()


@pytest.mark.parametrize("to", [None, "torch"])
def test_a_live_target_is_refused_with_the_way_to_fill_it(tmp_path, to):
    """Seen first as a TypeError out of pathlib."""
    save_file({"fc.weight": np.ones((3, 5), "f4")}, tmp_path / "a.safetensors")
    with pytest.raises(UsageError) as error:
        converter.convert(tmp_path / "a.safetensors", np.zeros(3), to=to)
    assert str(error.value).splitlines()[0] == (
        "cannot write into a ndarray: a target is the path of a file"
    )
    assert error.value.hint == "converter.load(model, source) fills a live model"
