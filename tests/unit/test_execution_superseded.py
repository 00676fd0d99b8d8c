"""What an older target leaves behind goes with it, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import converter
from converter.errors import TargetExistsError

VALUES = {f"w{number}.weight": np.full((4, 25), number, np.float32) for number in range(6)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    np.savez(tmp_path / "a.npz", **VALUES)
    return tmp_path / "a.npz"


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def index_names(count: int, stem: str = "model") -> set[str]:
    shards = {f"{stem}-{at:05}-of-{count:05}.safetensors" for at in range(1, count + 1)}
    return {*shards, f"{stem}.safetensors.index.json"}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (400, 1200, index_names(2)),
        (1200, 400, index_names(6)),
        (400, None, {"model.safetensors"}),
        (None, 1200, index_names(2)),
    ],
    ids=["fewer", "more", "one file instead", "shards instead of one file"],
)
def test_only_the_new_set_is_there(source, tmp_path, first, second, expected):
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / "model.safetensors"
    for limit in (first, second):
        converter.convert(source, target, to="torch", max_shard_size=limit, force=True)
    assert written(folder) == expected
    with converter.open(folder) as found:
        for name, value in VALUES.items():
            assert found.read(name).tobytes() == value.tobytes()


def test_files_that_the_old_index_does_not_name_stay(source, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / "model.safetensors"
    converter.convert(source, target, to="torch", max_shard_size=400)
    others = {"model-00009-of-00009.safetensors", "other-00001-of-00002.safetensors", "notes.txt"}
    for name in others:
        (folder / name).write_text("mine")
    converter.convert(source, target, to="torch", max_shard_size=1200, force=True)
    assert written(folder) == index_names(2) | others


def test_an_index_that_names_files_of_others_removes_none(source, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    keep = [tmp_path / "outside.safetensors", folder / "notes.txt"]
    for path in keep:
        path.write_text("mine")
    names = '{"a": "../outside.safetensors", "b": "notes.txt", "c": 3, "d": ["notes.txt"]}'
    (folder / "model.safetensors.index.json").write_text(f'{{"weight_map": {names}}}')
    target = folder / "model.safetensors.index.json"
    converter.convert(source, target, to="torch", max_shard_size=1200, force=True)
    assert all(path.read_text() == "mine" for path in keep)
    assert written(folder) == index_names(2) | {"notes.txt"}


@pytest.mark.parametrize("text", ["", "[]", '{"weight_map": []}', "[" * 100_000, "{}"])
def test_an_old_index_that_is_none_is_only_replaced(source, tmp_path, text):
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / "model.safetensors.index.json"
    target.write_text(text)
    converter.convert(source, target, to="torch", max_shard_size=1200, force=True)
    assert written(folder) == index_names(2)


def test_nothing_goes_before_the_new_target_is_complete(source, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / "model.safetensors"
    converter.convert(source, target, to="torch", max_shard_size=400)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TargetExistsError):
        converter.convert(source, target, to="torch", max_shard_size=1200)
    np.savez(tmp_path / "bad.npz", **VALUES)
    data = (tmp_path / "bad.npz").read_bytes().replace(VALUES["w5.weight"].tobytes(), bytes(400))
    (tmp_path / "bad.npz").write_bytes(data)
    with pytest.raises(converter.CorruptFileError):
        converter.convert(tmp_path / "bad.npz", target, to="torch", max_shard_size=1200, force=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_shards_that_are_read_are_kept(source, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    converter.convert(source, folder / "model.safetensors", to="torch", max_shard_size=400)
    # One of the old shards is the source of the new, single target.
    shard = folder / "model-00003-of-00006.safetensors"
    converter.convert(shard, folder / "model.safetensors", to="torch", force=True)
    assert shard.is_file()
    assert written(folder) == {shard.name, "model.safetensors"}
