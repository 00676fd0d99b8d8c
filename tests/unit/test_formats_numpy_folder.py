"""Folders of ``.npy`` files: names, order, and files that are not what they seem."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converter.errors import (
    CheckpointError,
    CorruptFileError,
    UnsafeFileError,
    UnsupportedFileError,
    UsageError,
)
from converter.formats import numpy_files, numpy_folder
from converter.formats.registry import open_checkpoint, sniff


def write(folder, **arrays):
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def random_arrays():
    random = np.random.default_rng(1)
    base = random.normal(size=(3, 5, 7))
    return {
        "plain": base.astype("f4"),
        "fortran": np.asfortranarray(base),
        "big": base.astype(">f4"),
        "scalar": np.array(3, "i8"),
        "empty": np.zeros((0, 4), "f2"),
        "flags": np.array([True, False]),
    }


def test_every_array_is_what_numpy_saved(tmp_path):
    arrays = random_arrays()
    write(tmp_path, **arrays)
    assert sniff(tmp_path).id == "npy"
    with open_checkpoint(tmp_path) as checkpoint:
        assert list(checkpoint.manifest.tensors) == sorted(arrays)
        assert {file.name for file in checkpoint.files} == {f"{name}.npy" for name in arrays}
        for name, array in arrays.items():
            found = checkpoint.read(name)
            assert found.dtype.isnative
            assert not found.flags.writeable
            assert np.array_equal(found, array)
            checkpoint.release(name)
            assert np.array_equal(found, array)


def test_one_file_is_one_tensor(tmp_path):
    write(tmp_path, kernel=np.arange(6).reshape(2, 3))
    with open_checkpoint(tmp_path / "kernel.npy") as checkpoint:
        assert checkpoint.read("kernel").tolist() == [[0, 1, 2], [3, 4, 5]]
        assert checkpoint.manifest.notices == ()


def test_folders_are_parts_of_names_and_numbers_are_in_order(tmp_path):
    names = ["conv1/kernel", "conv1/bias:0", "conv10/kernel", "conv2/kernel", "conv2/cell/kernel"]
    write(tmp_path, **dict.fromkeys(names, np.ones(2)))
    with open_checkpoint(tmp_path) as checkpoint:
        assert list(checkpoint.manifest.tensors) == [
            "conv1/bias:0",
            "conv1/kernel",
            "conv2/cell/kernel",
            "conv2/kernel",
            "conv10/kernel",
        ]
        assert checkpoint.manifest.family == "keras"


def test_what_is_no_array_is_left_out_and_said(tmp_path):
    write(tmp_path, a=np.ones(2))
    (tmp_path / "README.txt").write_text("x", encoding="utf-8")
    (tmp_path / ".npy").write_text("x", encoding="utf-8")
    with open_checkpoint(tmp_path) as checkpoint:
        assert list(checkpoint.manifest.tensors) == ["a"]
        assert checkpoint.manifest.notices == (
            "Left out, since they are no arrays: '.npy', 'README.txt'.",
        )


def test_more_arrays_than_files_can_be_open(tmp_path):
    count = 3 * numpy_files.MAX_OPEN
    write(tmp_path, **{str(number): np.full(3, number) for number in range(count)})
    before = open_files()
    with open_checkpoint(tmp_path) as checkpoint:
        for number in range(count):
            assert checkpoint.read(str(number)).tolist() == [number] * 3
            assert open_files() <= before + 2 * numpy_files.MAX_OPEN + 2  # a map has one of its own
        held = checkpoint.read("0")
    assert held.tolist() == [0, 0, 0]
    del held
    assert open_files() == before


class TestRefusals:
    def test_objects_are_not_unpickled(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
        for path in (tmp_path, tmp_path / "a.npy"):
            with pytest.raises(UnsupportedFileError) as error:
                open_checkpoint(path)
            assert str(error.value) == (
                "cannot read 'a.npy': the array does not hold plain numbers\n"
                "  found  NumPy type '|O'"
            )

    @pytest.mark.parametrize(
        "change",
        [lambda d: d[:-1], lambda d: d + b"x", lambda d: d[:20]],
        ids=["shorter", "longer", "cut off"],
    )
    def test_a_file_of_another_size(self, tmp_path, change):
        write(tmp_path, a=np.ones(3))
        data = (tmp_path / "a.npy").read_bytes()
        (tmp_path / "a.npy").write_bytes(change(data))
        with pytest.raises(CorruptFileError, match="the array is damaged"):
            open_checkpoint(tmp_path)

    @pytest.mark.parametrize("to_folder", [False, True])
    def test_a_link(self, tmp_path, to_folder):
        outside = tmp_path / "outside"
        write(outside, a=np.ones(3))
        inside = tmp_path / "inside"
        write(inside, b=np.ones(3))
        if to_folder:
            (inside / "more").symlink_to(outside)
        else:
            (inside / "a.npy").symlink_to(outside / "a.npy")
        with pytest.raises(UnsafeFileError, match="it holds a link, and only files are read"):
            open_checkpoint(inside)

    def test_what_the_user_names_may_be_a_link(self, tmp_path):
        write(tmp_path / "real", a=np.ones(3))
        (tmp_path / "file.npy").symlink_to(tmp_path / "real" / "a.npy")
        (tmp_path / "folder").symlink_to(tmp_path / "real")
        for path in (tmp_path / "file.npy", tmp_path / "folder"):
            with open_checkpoint(path) as checkpoint:
                (spec,) = checkpoint.manifest
                assert checkpoint.read(spec.name).tolist() == [1, 1, 1]

    def test_a_pipe_does_not_block(self, tmp_path):
        os.mkfifo(tmp_path / "a.npy")
        with pytest.raises(UnsafeFileError, match="it is not a regular file"):
            open_checkpoint(tmp_path)

    def test_a_file_that_was_replaced(self, tmp_path):
        write(tmp_path, a=np.ones(3))
        with open_checkpoint(tmp_path) as checkpoint:
            (tmp_path / "a.npy").rename(tmp_path / "old")
            write(tmp_path, a=np.zeros(3))
            with pytest.raises(CorruptFileError, match="was replaced while it was read"):
                checkpoint.read("a")

    def test_a_part_cannot_be_selected(self, tmp_path):
        write(tmp_path, a=np.ones(3))
        with pytest.raises(UsageError, match="cannot select 'x'"):
            open_checkpoint(tmp_path, select="x")

    def test_absurdly_many_files(self, tmp_path, monkeypatch):
        monkeypatch.setattr(numpy_folder, "MAX_FILES", 3)
        write(tmp_path, **{str(number): np.ones(1) for number in range(4)})
        with pytest.raises(UnsafeFileError, match="more than 3 arrays"):
            open_checkpoint(tmp_path)

    def test_folders_in_folders(self, tmp_path):
        write(tmp_path, a=np.ones(1), **{"/".join("abcdefghijklmnopqr"): np.ones(1)})
        with pytest.raises(UnsafeFileError, match="nested too deeply"):
            open_checkpoint(tmp_path)

    def test_a_name_that_is_no_text(self, tmp_path):
        program = "import os, sys; open(os.path.join(os.fsencode(sys.argv[1]), b'\\xff.npy'), 'w')"
        write(tmp_path, a=np.ones(1))
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
        with pytest.raises(CheckpointError, match="is not UTF-8"):
            open_checkpoint(tmp_path)

    def test_an_index_of_shards_is_looked_for_first(self, tmp_path):
        write(tmp_path, a=np.ones(1))
        (tmp_path / "x.safetensors.index.json").write_text('{"weight_map": {}}', encoding="utf-8")
        assert sniff(tmp_path).id == "safetensors_index"
