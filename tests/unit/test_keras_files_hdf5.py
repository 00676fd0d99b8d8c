"""HDF5 files, sound ones against h5py, and hostile ones that must be refused by name."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from converter.errors import CheckpointError, CorruptFileError, UnsafeFileError
from converter.formats.hdf5_direct import DirectFile, NotPlainError
from converter.formats.hdf5_probe import probe
from converter.formats.hdf5_skeleton import SkeletonBuilder
from converter.formats.hdf5_tree import Hdf5Tree
from converter.formats.hdf5_walk import Walk, open_hdf5
from converter.formats.source_file import SourceFile
from converter.tensors.dtype import DTYPES, get_dtype

RNG = np.random.default_rng(3)


def opened(path: Path) -> Hdf5Tree:
    return Hdf5Tree(SourceFile(path))


def test_values_are_those_of_h5py(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    stored: dict[str, Any] = {
        "scalar": np.float32(2.5),
        "empty": np.zeros((0, 3), np.float32),
        "big_endian": RNG.normal(size=(3, 5)).astype(">f8"),
        "big_integers": RNG.integers(0, 2**40, (4,)).astype(">i8"),
        "bool": np.array([True, False, True]),
        "complex": RNG.normal(size=(2, 3)).astype(np.complex64),
        **{
            dtype.name: RNG.integers(0, 99, (2, 7)).astype(dtype.numpy)
            for dtype in DTYPES
            if dtype.numpy.isbuiltin == 1 and not dtype.is_packed
        },
    }
    with h5py.File(path, "w") as file:
        for name, array in stored.items():
            file[f"group/{name}"] = array
        file.create_dataset("chunked", data=RNG.normal(size=(30, 20)), chunks=(7, 11))
        file.create_dataset(
            "packed", data=RNG.normal(size=(30, 20)), compression="gzip", shuffle=True
        )
    tree = opened(path)
    with h5py.File(path) as file:
        for name, dataset in tree.datasets.items():
            array = tree.read(name)
            expected = file[name][()]
            assert array.shape == expected.shape
            assert array.dtype.isnative
            assert np.array_equal(array, expected)
            assert array.dtype == expected.dtype.newbyteorder("=")
            assert not array.flags.writeable
            assert dataset.element.dtype is not None
    assert tree.datasets["group/float32"].offset is not None
    assert tree.datasets["chunked"].offset is None
    tree.release("group/float32")
    tree.close()


def test_compact_dataset(tmp_path: Path) -> None:
    from h5py import h5d, h5p, h5s, h5t

    path = tmp_path / "a.h5"
    values = RNG.normal(size=(3, 4)).astype(np.float32)
    with h5py.File(path, "w") as file:
        creation = h5p.create(h5p.DATASET_CREATE)
        creation.set_layout(h5d.COMPACT)
        made = h5d.create(file.id, b"c", h5t.IEEE_F32LE, h5s.create_simple((3, 4)), creation)
        made.write(h5s.ALL, h5s.ALL, values)
    assert np.array_equal(opened(path).read("c"), values)


def test_opaque_bytes_are_bfloat16_with_and_without_the_attribute(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    values = RNG.normal(size=(3, 4)).astype(ml_dtypes.bfloat16)
    with h5py.File(path, "w") as file:
        file.create_dataset("bare", data=values)
        file.create_dataset("told", data=values).attrs["dtype"] = "bfloat16"
    tree = opened(path)
    for name in ("bare", "told"):
        assert tree.read(name).dtype == ml_dtypes.bfloat16
        assert tree.read(name).tobytes() == values.tobytes()


def test_hdf5_inside_another_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    values = RNG.normal(size=(3, 4)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file["w"] = values
    content = path.read_bytes()
    (tmp_path / "around").write_bytes(b"x" * 77 + content + b"y" * 55)
    tree = Hdf5Tree(SourceFile(tmp_path / "around"), offset=77, length=len(content))
    assert np.array_equal(tree.read("w"), values)


def test_attributes_are_texts_and_lists_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["text"] = "a"
        file.attrs["bytes"] = b"b"
        file.attrs["fixed"] = np.bytes_("c")
        file.attrs["list"] = [b"d", b"e"]
        file.attrs["texts"] = ["f", "g"]
        file.attrs["number"] = 3
    assert opened(path).groups[""] == {
        "text": "a", "bytes": "b", "fixed": "c", "list": ["d", "e"], "texts": ["f", "g"],
    }  # fmt: skip


def soft_link(file: h5py.File, _: Path) -> None:
    file["w"] = np.ones(3)
    file["evil"] = h5py.SoftLink("/w")


def external_link(file: h5py.File, folder: Path) -> None:
    file["evil"] = h5py.ExternalLink(str(folder / "other.h5"), "/w")


def external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "secret").write_bytes(bytes(range(64)))
    file.create_dataset("evil", (16,), "f4", external=[(str(folder / "secret"), 0, 64)])


def virtual_dataset(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["w"] = np.ones((4,), "f4")
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "w", (4,))
    file.create_virtual_dataset("evil", layout)


def cycle(file: h5py.File, _: Path) -> None:
    inner = file.create_group("a/b")
    inner["evil"] = file["a"]


def second_name(file: h5py.File, _: Path) -> None:
    file["a"] = np.ones(3)
    file["evil"] = file["a"]


def shape_bomb(file: h5py.File, _: Path) -> None:
    file.create_dataset("evil", (2**20, 2**10), "f4", chunks=(2**10, 2**10), compression="gzip")


def missing_chunks(file: h5py.File, _: Path) -> None:
    file.create_dataset("evil", (30,), "f4", chunks=(10,))[:5] = 1.0


def huge_chunk(file: h5py.File, _: Path) -> None:
    file.create_dataset("evil", (3,), "f4", chunks=(2**27,), maxshape=(None,))[:] = 1.0


def named_type(file: h5py.File, _: Path) -> None:
    file["evil"] = np.dtype("f4")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (soft_link, "'evil' is a soft link; weights files have none"),
        (external_link, "'evil' is an external link; weights files have none"),
        (external_storage, "'evil' keeps its values in another file"),
        (virtual_dataset, "'evil' is a virtual dataset: its values are in other datasets"),
        (cycle, "'a/b/evil' is a second name of an object met before"),
        (second_name, "'evil' is a second name of an object met before"),
        (shape_bomb, "'evil' claims 4,294,967,296 bytes and stores 0 bytes"),
        (missing_chunks, "'evil' stores 1 of 3 chunks"),
        (huge_chunk, "'evil' has chunks of 536,870,912 bytes for 12 bytes"),
        (named_type, "'evil' is neither a group nor a dataset"),
    ],
)
def test_hostile_files_are_refused(
    spoil: Callable[[h5py.File, Path], None], why: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        spoil(file, tmp_path)
    with pytest.raises(UnsafeFileError) as refused:
        opened(path)
    assert refused.value.summary == f"cannot read 'a.h5': {why}"


def test_values_never_written_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (5,), "f4")
    with pytest.raises(CorruptFileError, match="the values of 'w' were never written"):
        opened(path)


def test_texts_are_named_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["words"] = ["a", "b"]
        file["nothing"] = h5py.Empty("f4")
    tree = opened(path)
    assert tree.datasets["words"].element.dtype is None
    assert tree.datasets["words"].element.text == "texts"
    assert tree.datasets["nothing"].element.dtype is None
    with pytest.raises(KeyError):
        tree.read("words")


def test_damaged_files_are_one_error(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for index in range(20):
            file[f"group{index}/w"] = RNG.normal(size=(3, 4)).astype(np.float32)
    content = path.read_bytes()
    for length in (0, 8, 100, 1000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            opened(path)


def test_flipped_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"a", b"b"]
        for index in range(3):
            file[f"group{index}/w"] = RNG.normal(size=(3, 4)).astype(np.float32)
    content = path.read_bytes()
    for position in RNG.integers(0, len(content), 150):
        spoiled = bytearray(content)
        spoiled[position] ^= 1 << int(RNG.integers(0, 8))
        path.write_bytes(spoiled)
        try:
            tree = opened(path)
            for name, dataset in tree.datasets.items():
                if dataset.element.dtype is not None:
                    tree.read(name)
        except CheckpointError:
            continue


def walked(path: Path) -> Walk:
    with SourceFile(path) as source, open_hdf5(source) as file:
        walk = Walk(path, source.size, file)
        walk.run()
        return walk


def parsed(path: Path) -> DirectFile:
    with SourceFile(path) as source:
        return DirectFile(source.view(0, source.size), path)


def test_direct_reading_sees_what_hdf5_sees(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["texts"] = ["a" * 3000, "", "b"]
        file.attrs["layer_names"] = [f"layer_{index}".encode() for index in range(500)]
        file.attrs["fixed"] = np.array([b"x", b"yyy"])
        file.attrs["number"] = 3.5
        for index in range(3000):  # more than one level of B-tree
            file[f"many/g{index}"] = np.full((index % 7,), index, ">i4" if index % 2 else "<u2")
        for index in range(40):  # an object header that goes on elsewhere
            file["many"].attrs[f"attribute_{index}"] = "text" * 30
        file["scalar"] = np.float64(2.5)
        file.create_group("empty")
        file["half"] = RNG.normal(size=(3, 5)).astype(ml_dtypes.bfloat16)
    direct, walk = parsed(path), walked(path)
    assert direct.datasets == walk.datasets
    assert direct.groups == walk.groups
    assert list(direct.datasets) == list(walk.datasets)
    assert list(direct.groups) == list(walk.groups)


def test_what_is_not_plain_is_left_to_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["w"] = np.arange(6.0).reshape(2, 3)
    with pytest.raises(NotPlainError):
        parsed(path)
    assert np.array_equal(opened(path).read("w"), np.arange(6.0).reshape(2, 3))


def test_damage_is_never_read_differently_from_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["a", "b"]
        for index in range(3):
            file[f"group{index}/w"] = RNG.normal(size=(3, 4)).astype(np.float32)
    content = path.read_bytes()
    accepted = 0
    for position in RNG.integers(0, len(content), 300):
        spoiled = bytearray(content)
        spoiled[position] ^= 1 << int(RNG.integers(0, 8))
        path.write_bytes(spoiled)
        try:
            direct = parsed(path)
            walk = walked(path)
        except (NotPlainError, CheckpointError, OSError, RuntimeError, LookupError, ValueError):
            continue
        # Damage is also refused here that HDF5 does not notice, never the other way round.
        accepted += 1
        assert direct.datasets == walk.datasets
        assert direct.groups == walk.groups
    assert accepted > 50


def test_a_text_repeated_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    long = "x" * 100_000
    with h5py.File(path, "w") as file:
        file.attrs["a"] = long
        file.attrs["b"] = ["y" for _ in range(3000)]
    content = bytearray(path.read_bytes())
    # Point every text of b at the long one: each is length, address of a heap, index in it.
    at = content.index(struct.pack("<I", len(long)))
    reference = bytes(content[at : at + 16])
    short = struct.pack("<I", 1)
    start = next(
        at
        for at in range(0, len(content), 8)
        if all(content[at + 16 * index :].startswith(short) for index in range(4))
    )
    for index in range(3000):
        content[start + 16 * index : start + 16 * index + 16] = reference
    path.write_bytes(content)
    with pytest.raises(UnsafeFileError, match="its attributes repeat one long text"):
        parsed(path)


def test_reading_what_keras_wrote_does_not_start_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.ones((3, 4), np.float32)
        file["layers/dense/vars"].attrs["name"] = "d"
    code = (
        "import sys; from converter.formats.registry import open_checkpoint\n"
        f"with open_checkpoint({str(path)!r}) as found: assert found.read('d/kernel').sum() == 12\n"
        "assert not {'h5py', 'torch', 'keras'} & set(sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_skeleton_is_a_file_that_h5py_reads(tmp_path: Path) -> None:
    builder = SkeletonBuilder()
    builder.group(
        "a/b", {"name": "x", "many": [f"layer_{index}".encode() for index in range(9000)]}
    )
    builder.group("empty")
    arrays = {
        f"a/b/{dtype.name}": RNG.integers(0, 2, (3, 5)).astype(dtype.numpy)
        for dtype in DTYPES
        if not dtype.is_packed and not dtype.name.startswith("float8")
    }
    arrays["scalar"] = np.array(2.5, np.float32)
    arrays["nothing"] = np.zeros((0, 4), np.float32)
    for path, array in arrays.items():
        builder.dataset(path, array.shape, get_dtype(array.dtype))
    skeleton = builder.finish()
    content = bytearray(skeleton.size)
    for offset, piece in skeleton.pieces:
        content[offset : offset + len(piece)] = piece
    for path, array in arrays.items():
        offset = skeleton.offsets[path]
        content[offset : offset + array.nbytes] = array.tobytes()
    (tmp_path / "a.h5").write_bytes(content)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["a/b"].attrs["name"] == "x"
        assert len(file["a/b"].attrs["many0"]) + len(file["a/b"].attrs["many1"]) == 9000
        assert list(file["empty"]) == []
        for path, array in arrays.items():
            found = file[path][()]
            assert found.shape == array.shape
            assert np.asarray(found).tobytes() == array.tobytes()
    tree = opened(tmp_path / "a.h5")
    for path, array in arrays.items():
        assert np.array_equal(tree.read(path), array)


def test_a_file_that_kills_hdf5_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"x")
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -SEGV $$\n")
    script.chmod(0o755)
    before, sys.executable = sys.executable, str(script)
    try:
        with SourceFile(path) as source, pytest.raises(CorruptFileError) as refused:
            probe(source, 0, 1)
    finally:
        sys.executable = before
    assert str(refused.value) == "cannot read 'a.h5': HDF5 crashes on it\n  signal  11"
