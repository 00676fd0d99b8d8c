"""Shapes that no array has: too many axes, products that overflow, in every format that has shapes.

A product is taken over the axes that are not empty too: ``(0, 2**62, 2**62)`` holds nothing, and
whoever multiplies in 64 bits is wrong all the same.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from converter.errors import CheckpointError, WriteError
from converter.formats.registry import create_writer, open_checkpoint
from converter.tensors.dtype import get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

HOSTILE = {
    "rank 65": (1,) * 65,
    "a product that overflows": (2**32, 2**32),
    "an overflow beside an empty axis": (0, 2**62, 2**62),
    "one axis of 2**63": (0, 2**63),
    "more bytes than 63 bits count": (0, 2**59, 8),
}
HONEST = {"rank 64": (1,) * 64, "rank 33": (1,) * 33, "an empty axis": (3, 0, 2)}


def npy(shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}"
    header = text.encode() + b"\n"
    values = bytes(4 * int(np.prod(shape))) if max(shape) < 99 else b""
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + values


def number(value: int) -> bytes:
    data = value.to_bytes(9, "little")
    return b"\x8a" + bytes([len(data)]) + data


def torch(shape: tuple[int, ...]) -> bytes:
    """A tensor of one element, or none, in a pickle of protocol 2."""
    sizes = b"(" + b"".join(map(number, shape)) + b"t"
    strides = b"(" + number(0) * len(shape) + b"t"
    return (
        b"\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\n"
        b"FloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\1tQK\0" + sizes + strides
        + b"\x89ccollections\nOrderedDict\n)RtRs."
    )  # fmt: skip


def numpy_pickle(shape: tuple[int, ...]) -> bytes:
    small = pickle.dumps([np.zeros((1, 1), "f4")], protocol=2)
    before = b"K\1K\1K\1\x86"  # version 1, shape (1, 1)
    assert small.count(before) == 1
    return small.replace(before, b"K\1(" + b"".join(map(number, shape)) + b"t")


def write_npy(path: Path, shape: tuple[int, ...]) -> Path:
    path = path / "w.npy"
    path.write_bytes(npy(shape))
    return path


def write_npz(path: Path, shape: tuple[int, ...]) -> Path:
    path = path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", npy(shape))
    return path


def write_torch(path: Path, shape: tuple[int, ...]) -> Path:
    path = path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", torch(shape))
        archive.writestr("a/version", b"3\n")
        archive.writestr("a/data/0", bytes(4))
    return path


def write_pickle(path: Path, shape: tuple[int, ...]) -> Path:
    path = path / "a.pkl"
    path.write_bytes(numpy_pickle(shape))
    return path


def write_hdf5(path: Path, shape: tuple[int, ...]) -> Path:
    path = path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", shape=shape, dtype="f4")
    return path


@pytest.mark.parametrize("shape", [(0, 2**30, 2**30), (0, 2**59, 8), (2**40, 2**20)])
def test_shapes_that_no_array_has_are_refused_in_hdf5(tmp_path, shape):
    path = write_hdf5(tmp_path, shape)
    with pytest.raises(CheckpointError), open_checkpoint(path) as found:
        found.read(next(iter(found.manifest.tensors)))


WRITERS: list[Callable[[Path, tuple[int, ...]], Path]] = [
    write_npy, write_npz, write_torch, write_pickle,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_shapes_that_no_array_has_are_refused(tmp_path, write, name):
    path = write(tmp_path, HOSTILE[name])
    with pytest.raises(CheckpointError), open_checkpoint(path) as found:
        found.read(next(iter(found.manifest.tensors)))


@pytest.mark.parametrize("write", WRITERS[:-1])
@pytest.mark.parametrize("name", HONEST)
def test_shapes_that_numpy_has_are_read(tmp_path, write, name):
    shape = HONEST[name]
    with open_checkpoint(write(tmp_path, shape)) as found:
        (tensor,) = found.manifest.tensors
        assert found.manifest[tensor].shape == shape
        assert found.read(tensor).shape == shape


@pytest.mark.parametrize(
    "name",
    ["a\0b", "../a", "/a", "a//b", "a/./b", "a\\b", "a/../../b", "", "\ud800"],
)
def test_names_that_are_no_names_in_an_archive_are_not_written(tmp_path, name):
    spec = TensorSpec(name, (1,), get_dtype("float32"))
    with pytest.raises(WriteError, match=r"cannot write 'a\.npz'"):
        create_writer("npz", tmp_path, "a.npz", Manifest.of([spec]))
    assert not list(tmp_path.iterdir())


def test_odd_names_are_kept_and_shown_escaped(tmp_path):
    """Line breaks, directions of writing and one name in two cases are data like any other."""
    names = ["a\nb", "a\x1b[2J", "A", "a", "\u202eb", "caf\u00e9", "cafe\u0301", "CON", "x" * 300]
    np.savez(tmp_path / "a.npz", **{name: np.full(1, at) for at, name in enumerate(names)})
    with open_checkpoint(tmp_path / "a.npz") as found:
        assert list(found.manifest.tensors) == names
        for at, name in enumerate(names):
            assert found.read(name).tolist() == [at]
