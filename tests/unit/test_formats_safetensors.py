"""Safetensors: the reference library as oracle, and every way in which a header can lie."""

import json
import struct

import numpy as np
import pytest
from support.tensor_files import (
    assert_holds,
    random_values,
    small_manifest,
    specs_of_every_type,
    write_file,
)

from converter.errors import CheckpointError, CorruptFileError, UsageError, WriteError
from converter.formats.registry import create_writer, open_checkpoint
from converter.formats.safetensors_reader import SafetensorsCheckpoint, SafetensorsIndex
from converter.tensors.dtype import get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec


def raw_file(header: object, data: bytes = b"", *, text: bytes | None = None) -> bytes:
    encoded = json.dumps(header).encode() if text is None else text
    return struct.pack("<Q", len(encoded)) + encoded + data


def entry(dtype="F32", shape=(2,), begin=0, end=8) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


LIES = {
    "a hole before the first tensor": raw_file({"a": entry(begin=4, end=12)}, bytes(12)),
    "a hole": raw_file({"a": entry(), "b": entry(begin=12, end=20)}, bytes(20)),
    "an overlap": raw_file({"a": entry(), "b": entry(begin=4, end=12)}, bytes(12)),
    "the same place twice": raw_file({"a": entry(), "b": entry()}, bytes(8)),
    "bytes behind the last tensor": raw_file({"a": entry()}, bytes(9)),
    "too few bytes": raw_file({"a": entry()}, bytes(7)),
    "an end before the start": raw_file({"a": entry(begin=8, end=0)}, bytes(8)),
    "a size that does not fit": raw_file({"a": entry(shape=(3,))}, bytes(8)),
    "an overflow": raw_file({"a": entry(shape=(2**32, 2**32), end=0)}),
    "an overflow hidden by a zero": raw_file({"a": entry(shape=(0, 2**62, 2**62), end=0)}),
    "a negative size": raw_file({"a": entry(shape=(-2, -1))}, bytes(8)),
    "a size that is a float": raw_file({"a": entry(shape=(2.0,))}, bytes(8)),
    "a size that is a truth value": raw_file({"a": entry(shape=(True, 2))}, bytes(8)),
    "a rank over 64": raw_file({"a": entry(shape=(1,) * 64 + (2,))}, bytes(8)),
    "half a byte": raw_file({"a": entry("F4", (3,), end=2)}, bytes(2)),
    "an unknown type": raw_file({"a": entry("F128")}, bytes(8)),
    "a type that is no text": raw_file({"a": entry(["F32"])}, bytes(8)),
    "a key too many": raw_file({"a": {**entry(), "x": 1}}, bytes(8)),
    "a key too few": raw_file({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "three offsets": raw_file({"a": {**entry(), "data_offsets": [0, 8, 8]}}, bytes(8)),
    "a list for an object": raw_file({"a": ["F32", [2], [0, 8]]}, bytes(8)),
    "a list for the header": raw_file([], b""),
    "a name twice": raw_file(
        None, bytes(8), text=b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2)
    ),
    "metadata twice": raw_file(None, text=b'{"__metadata__":{},"__metadata__":{}}'),
    "metadata that are no texts": raw_file({"__metadata__": {"a": 1}}),
    "metadata that are no object": raw_file({"__metadata__": "x"}),
    "a NUL in a name": raw_file({"a\0": entry()}, bytes(8)),
    "a NUL behind the header": raw_file({}, text=b"{}\0\0\0\0\0\0"),
    "a header that is longer than the file": struct.pack("<Q", 100) + b"{}",
    "a header of an absurd size": struct.pack("<Q", 2**63) + b"{}",
    "no header": b"\0" * 8,
    "a file of four bytes": b"\0" * 4,
}


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_is_refused(tmp_path, name):
    path = tmp_path / "a.safetensors"
    path.write_bytes(LIES[name])
    with pytest.raises(CheckpointError, match=r"cannot read 'a\.safetensors'"):
        SafetensorsCheckpoint(path)


@pytest.mark.parametrize(
    "data",
    [
        raw_file({"a": entry()}, bytes(8)),
        raw_file(None, bytes(8), text=b"  \n" + json.dumps({"a": entry()}).encode() + b"   "),
        raw_file({"a": entry(), "empty": entry(shape=(0, 3), begin=8)}, bytes(8)),
        raw_file({"empty": entry(shape=(0,), end=0), "a": entry()}, bytes(8)),
    ],
    ids=["plain", "space around the header", "an empty tensor at the end", "and at the start"],
)
def test_a_file_that_is_merely_odd_is_read(tmp_path, data):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.format == "safetensors"
        assert checkpoint.read("a").tolist() == [0, 0]


def test_a_message_says_where_and_what(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw_file({"a": entry()}, bytes(7)))
    with pytest.raises(CorruptFileError) as error:
        SafetensorsCheckpoint(path)
    size = len(LIES["too few bytes"])
    assert str(error.value) == (
        "cannot read 'a.safetensors': its size is not that of its tensors\n"
        f"  expected  {size + 1} bytes  from the header\n"
        f"  found     {size} bytes"
    )


def test_what_is_no_truth_value_is_not_read_as_one(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw_file({"a": entry("BOOL", (3,), end=3)}, b"\0\1\2"))
    with SafetensorsCheckpoint(path) as checkpoint, pytest.raises(CorruptFileError):
        checkpoint.read("a")


@pytest.mark.frameworks
class TestReferenceLibrary:
    def test_it_reads_what_we_write(self, tmp_path):
        from safetensors import safe_open

        specs = [s for s in specs_of_every_type({"complex128"}) if not s.dtype.is_packed]
        values = random_values(specs)
        path = tmp_path / "a.safetensors"
        texts = {"weightferry": "x" * 9000, "name": "\N{GREEK SMALL LETTER ALPHA}"}
        manifest = Manifest.of(specs, family="torch")
        write_file("safetensors", path, manifest, values, metadata=texts)
        import torch

        with safe_open(path, "pt") as file:
            assert file.metadata() == {"format": "pt", **texts}
            assert set(file.keys()) == set(values)
            for spec in specs:
                found = file.get_tensor(spec.name)
                assert (str(found.dtype), tuple(found.shape)) == (
                    f"torch.{spec.dtype}",
                    spec.shape,
                )
                raw = found.reshape(-1).view(torch.uint8).numpy().tobytes()
                assert raw == values[spec.name].tobytes()

    def test_it_reads_our_packed_types(self, tmp_path):
        from safetensors import deserialize

        specs = [s for s in specs_of_every_type() if s.dtype.is_packed]
        values = random_values(specs)
        path = tmp_path / "a.safetensors"
        write_file("safetensors", path, Manifest.of(specs), values)
        found = dict(deserialize(path.read_bytes()))
        for spec in specs:
            assert found[spec.name]["dtype"] == spec.dtype.safetensors
            assert tuple(found[spec.name]["shape"]) == spec.shape
            assert bytes(found[spec.name]["data"]) == values[spec.name].tobytes()

    def test_we_read_what_it_writes(self, tmp_path):
        import torch
        from safetensors.torch import save_file

        path = tmp_path / "a.safetensors"
        torch.manual_seed(3)
        tensors = {
            f"w.{dtype}": torch.randn(3, 5).to(dtype)
            for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn)
        } | {"count": torch.tensor(7), "mask": torch.tensor([True, False]), "no": torch.ones(0, 3)}
        save_file(tensors, path, {"format": "pt", "note": "hello"})
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.manifest.metadata == {"format": "pt", "note": "hello"}
            assert_holds(checkpoint, {k: as_array(v) for k, v in tensors.items()})

    def test_the_values_lie_in_the_same_order(self, tmp_path):
        from safetensors.numpy import save_file

        types = ("float32", "bool", "int64", "uint8", "float16")
        specs = [TensorSpec(f"{n}.{t}", (2, 3), get_dtype(t)) for t in types for n in "cab"]
        values = random_values(specs)
        save_file(values, tmp_path / "theirs.safetensors")
        write_file("safetensors", tmp_path / "ours.safetensors", Manifest.of(specs), values)
        with (
            SafetensorsCheckpoint(tmp_path / "theirs.safetensors") as theirs,
            SafetensorsCheckpoint(tmp_path / "ours.safetensors") as ours,
        ):
            assert list(ours.manifest.tensors) == list(theirs.manifest.tensors)

    def test_names_that_save_model_leaves_out_are_ties(self, tmp_path):
        import torch
        from safetensors.torch import save_model

        module = torch.nn.Module()
        module.embed = torch.nn.Embedding(7, 3)
        module.head = torch.nn.Linear(3, 7, bias=False)
        module.head.weight = module.embed.weight
        save_model(module, str(tmp_path / "a.safetensors"))
        with open_checkpoint(tmp_path / "a.safetensors") as checkpoint:
            (kept,) = checkpoint.manifest.tensors
            ((further, of),) = checkpoint.manifest.ties.items()
            assert {kept, further} == {"embed.weight", "head.weight"}
            assert of == kept
            expected = module.embed.weight.detach().numpy()
            assert np.array_equal(checkpoint.read(further), expected)

    def test_ties_are_written_as_save_model_does(self, tmp_path):
        manifest = small_manifest(family="torch", ties={"tied.weight": "head.weight"})
        path = tmp_path / "a.safetensors"
        write_file("safetensors", path, manifest, random_values(manifest))
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.manifest.ties == {"tied.weight": "head.weight"}


def as_array(tensor):
    import torch

    raw = tensor.reshape(-1).contiguous().view(torch.uint8).numpy()
    dtype = get_dtype(str(tensor.dtype).removeprefix("torch.")).numpy
    return raw.view(dtype).reshape(tuple(tensor.shape))


class TestFamily:
    @pytest.mark.parametrize(
        ("metadata", "family"),
        [
            ({}, "torch"),
            ({"format": "pt"}, "torch"),
            ({"format": "keras"}, "keras"),
            ({"format": "mlx"}, "torch"),
            ({"framework": "keras", "format": "x"}, "keras"),
            ({"format": "flax"}, None),
        ],
    )
    def test_metadata_say_whose_names_these_are(self, tmp_path, metadata, family):
        path = tmp_path / "a.safetensors"
        header = {"__metadata__": metadata, "module.a": entry()}
        path.write_bytes(raw_file(header, bytes(8)))
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.manifest.family == family
            assert list(checkpoint.manifest.tensors) == ["a" if family == "torch" else "module.a"]

    def test_a_keras_manifest_is_written_and_read_as_one(self, tmp_path):
        manifest = small_manifest("/", family="keras")
        values = random_values(manifest)
        write_file("safetensors", tmp_path / "a.safetensors", manifest, values)
        with open_checkpoint(tmp_path / "a.safetensors") as checkpoint:
            assert checkpoint.manifest.family == "keras"
            assert_holds(checkpoint, values)


def test_the_header_begins_and_ends_at_multiples_of_eight(tmp_path):
    manifest = small_manifest()
    for length in range(4080, 4110):  # around the room that is left for the record
        path = tmp_path / f"{length}.safetensors"
        values = random_values(manifest)
        write_file("safetensors", path, manifest, values, metadata={"a": "x" * length})
        assert struct.unpack("<Q", path.read_bytes()[:8])[0] % 8 == 0
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.manifest.metadata["a"] == "x" * length
            assert_holds(checkpoint, values)


@pytest.mark.parametrize("name", ["__metadata__", "a\0b", "\ud800"])
def test_a_name_that_the_format_cannot_have_is_refused(tmp_path, name):
    manifest = Manifest.of([TensorSpec(name, (2,), get_dtype("float32"))])
    with pytest.raises(WriteError, match="has no tensor of this name"):
        create_writer("safetensors", tmp_path, "a.safetensors", manifest)


class TestShards:
    def write(self, folder, limit=300):
        manifest = small_manifest(family="torch")
        values = random_values(manifest)
        names = write_file(
            "safetensors", folder / "model.safetensors", manifest, values, max_shard_size=limit
        )
        return names, values

    def test_index_and_shards_are_named_as_hugging_face_does(self, tmp_path):
        names, values = self.write(tmp_path)
        assert names == (
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
        )
        index = json.loads((tmp_path / names[-1]).read_text(encoding="utf-8"))
        assert index["metadata"] == {"total_size": sum(v.nbytes for v in values.values())}
        assert index["weight_map"] == {
            "conv.weight": names[0],
            "conv.bias": names[1],
            "norm.count": names[1],
            "head.weight": names[1],
        }

    def test_what_fits_into_one_file_is_one_file(self, tmp_path):
        names, _ = self.write(tmp_path, limit=10_000)
        assert names == ("model.safetensors",)

    @pytest.mark.parametrize("which", ["index", "folder"])
    def test_the_index_and_its_folder_are_read(self, tmp_path, which):
        names, values = self.write(tmp_path)
        path = tmp_path if which == "folder" else tmp_path / names[-1]
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.format == "safetensors_index"
            assert_holds(checkpoint, values)
            assert {file.name for file in checkpoint.files} == set(names)

    def test_a_folder_with_one_file_is_read(self, tmp_path):
        _, values = self.write(tmp_path, limit=10_000)
        with open_checkpoint(tmp_path) as checkpoint:
            assert_holds(checkpoint, values)

    def change(self, tmp_path, edit):
        names, _ = self.write(tmp_path)
        index = tmp_path / names[-1]
        document = json.loads(index.read_text(encoding="utf-8"))
        edit(document["weight_map"])
        index.write_text(json.dumps(document), encoding="utf-8")
        return index

    @pytest.mark.parametrize(
        "shard",
        ["../x.safetensors", "/x.safetensors", "a\\x.safetensors", "model.pt", 7, ["x"], ""],
    )
    def test_an_index_cannot_lead_elsewhere(self, tmp_path, shard):
        index = self.change(tmp_path, lambda found: found.update({"conv.bias": shard}))
        with pytest.raises(CheckpointError):
            SafetensorsIndex(index)

    def test_shards_hold_what_the_index_says(self, tmp_path):
        index = self.change(tmp_path, lambda found: found.pop("conv.bias"))
        with pytest.raises(CorruptFileError) as error:
            SafetensorsIndex(index)
        assert str(error.value) == (
            "cannot read 'model-00002-of-00002.safetensors': its tensors are not those that the "
            "index says\n"
            "  unexpected  'conv.bias'"
        )

    def test_a_shard_that_is_missing_is_named(self, tmp_path):
        names, _ = self.write(tmp_path)
        (tmp_path / names[0]).unlink()
        with pytest.raises(CheckpointError, match=names[0]):
            SafetensorsIndex(tmp_path / names[-1])

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_shard_holds_something(self, tmp_path, limit):
        with pytest.raises(UsageError, match="the size must be positive"):
            self.write(tmp_path, limit=limit)

    @pytest.mark.frameworks
    def test_each_shard_is_read_by_the_reference_library(self, tmp_path):
        from safetensors.numpy import load_file

        names, values = self.write(tmp_path)
        found = {}
        for name in names[:-1]:
            found |= load_file(tmp_path / name)
        assert {k: v.tobytes() for k, v in found.items()} == {
            k: v.tobytes() for k, v in values.items()
        }


def test_a_selection_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw_file({"a": entry()}, bytes(8)))
    with pytest.raises(UsageError, match="it holds one set of tensors"):
        open_checkpoint(path, select="ema")
