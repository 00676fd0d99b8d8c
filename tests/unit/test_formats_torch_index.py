"""Shards of PyTorch under an index: read as one checkpoint, and confined to its folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import converter
from converter.errors import CheckpointError, CorruptFileError, UnsafeFileError, UsageError
from converter.formats.registry import sniff

torch = pytest.importorskip("torch")
NAME = "pytorch_model.bin.index.json"
VALUES = {f"module.l{number}.weight": torch.full((2, 3 + number), float(number))
          for number in range(5)}  # fmt: skip


def write_index(folder: Path, weight_map: object) -> Path:
    path = folder / NAME
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return path


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Two shards as transformers writes them, one of them in the format before the zip."""
    names = list(VALUES)
    weight_map = {}
    for number, part in enumerate((names[:2], names[2:]), 1):
        shard = f"pytorch_model-{number:05}-of-00002.bin"
        weight_map |= dict.fromkeys(part, shard)
        state = {name: VALUES[name] for name in part}
        torch.save(state, tmp_path / shard, _use_new_zipfile_serialization=number == 1)
    return write_index(tmp_path, weight_map)


@pytest.mark.parametrize("which", ["index", "folder"])
def test_all_shards_are_one_checkpoint(index, which):
    path = index if which == "index" else index.parent
    with converter.open(path) as found:
        assert found.format == "torch_index"
        # The prefix is on the names of all shards, and goes from all.
        assert list(found.manifest.tensors) == [f"l{number}.weight" for number in range(5)]
        for name, value in VALUES.items():
            array = found.read(name.removeprefix("module."))
            assert array.tobytes() == value.numpy().tobytes()
        assert found.manifest.writer.startswith("PyTorch 2.7 or later")
        assert [path.name for path in found.files] == [
            NAME,
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model-00002-of-00002.bin",
        ]


def test_it_is_converted_like_any_other(index, tmp_path):
    target = tmp_path / "out.safetensors"
    converter.convert(index, target, to="torch")
    assert converter.validate(index, target).passed


def test_a_prefix_that_only_one_shard_has_stays(tmp_path):
    torch.save({"module.a": torch.ones(2)}, tmp_path / "a.bin")
    torch.save({"b": torch.ones(3)}, tmp_path / "b.bin")
    path = write_index(tmp_path, {"module.a": "a.bin", "b": "b.bin"})
    with converter.open(path) as found:
        assert set(found.manifest.tensors) == {"module.a", "b"}


def test_ties_inside_a_shard_are_ties(tmp_path):
    value = torch.ones(2)
    torch.save({"a": value, "b": value}, tmp_path / "a.bin")
    with converter.open(write_index(tmp_path, {"a": "a.bin", "b": "a.bin"})) as found:
        assert found.manifest.ties == {"b": "a"}
        assert found.read("b").tolist() == [1, 1]


def test_a_folder_with_one_file_of_the_usual_name(tmp_path):
    torch.save(VALUES, tmp_path / "pytorch_model.bin")
    with converter.open(tmp_path) as found:
        assert len(found.manifest) == 5


@pytest.mark.parametrize(
    ("shard", "error", "why"),
    [
        ("../outside.bin", UnsafeFileError, "names a file outside its own folder"),
        ("/etc/hostname.bin", UnsafeFileError, "names a file outside its own folder"),
        ("link.bin", UnsafeFileError, "it is a link"),
        ("missing.bin", CheckpointError, "cannot read 'missing.bin'"),
        ("array.bin", UnsafeFileError, "it is a shard and no checkpoint of PyTorch"),
        ("itself.bin", UnsafeFileError, "it is a shard and no checkpoint of PyTorch"),
        ("pipe.bin", CheckpointError, "not a regular file"),
    ],
)
def test_an_index_cannot_lead_elsewhere(tmp_path, shard, error, why):
    folder = tmp_path / "in"
    folder.mkdir()
    torch.save({"a": torch.ones(2)}, tmp_path / "outside.bin")
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    with (folder / "array.bin").open("wb") as file:
        np.save(file, np.ones(3))
    os.mkfifo(folder / "pipe.bin")
    path = write_index(folder, {"a": shard})
    (folder / "itself.bin").write_bytes(path.read_bytes())  # an index that names an index
    with pytest.raises(error, match=why):
        converter.open(path)


def test_shards_hold_what_the_index_says(index):
    document = json.loads(index.read_text())
    names = list(document["weight_map"])
    document["weight_map"]["more"] = document["weight_map"].pop(names[0])
    index.write_text(json.dumps(document))
    with pytest.raises(CorruptFileError) as error:
        converter.open(index)
    assert "its tensors are not those that the index says" in error.value.summary
    assert error.value.facts == (("missing", "'more'"), ("unexpected", f"'{names[0]}'"))


def test_two_names_of_one_shard_are_refused(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.bin")
    (tmp_path / "b.bin").hardlink_to(tmp_path / "a.bin")
    path = write_index(tmp_path, {"a": "a.bin", "b": "b.bin"})
    with pytest.raises(CorruptFileError, match="are not those that the index says"):
        converter.open(path)


def test_shards_of_two_formats_are_no_index(tmp_path):
    path = write_index(tmp_path, {"a": "a.bin", "b": "b.safetensors"})
    assert sniff(path).id == "safetensors_index"
    with pytest.raises(UnsafeFileError, match="it names a shard that is no safetensors file"):
        converter.open(path)


def test_nothing_can_be_selected(index):
    with pytest.raises(UsageError, match="cannot select 'ema'"):
        converter.open(index, select="ema")
