"""NumPy archives against NumPy itself, and headers that no NumPy writes."""

import io
import zipfile

import numpy as np
import pytest
from support.tensor_files import assert_holds, random_values, small_manifest, write_file

from converter.errors import CheckpointError, CorruptFileError, UnsupportedFileError, WriteError
from converter.formats.registry import create_writer, open_checkpoint
from converter.tensors.dtype import get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

TYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
TYPES += ["float16", "float32", "float64", "complex64", "complex128"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
class TestWhatNumpyWrites:
    def test_every_type_and_shape_is_read(self, tmp_path, save):
        specs = [
            TensorSpec(f"{name}.{number}", shape, get_dtype(name))
            for name in TYPES
            for number, shape in enumerate([(), (0,), (1,), (3, 5), (2, 0, 7), (2, 3, 4, 5)])
        ]
        values = random_values(specs)
        save(tmp_path / "a.npz", **values)
        with open_checkpoint(tmp_path / "a.npz") as checkpoint:
            assert list(checkpoint.manifest.tensors) == [spec.name for spec in specs]
            assert_holds(checkpoint, values)

    def test_fortran_order_and_big_endian_are_read_as_numpy_reads_them(self, tmp_path, save):
        base = np.random.default_rng(3).normal(size=(3, 5, 7)).astype(np.float32)
        arrays = {
            "fortran": np.asfortranarray(base),
            "permuted": base.transpose(2, 0, 1),
            "big": base.astype(">f4"),
            "big_fortran": np.asfortranarray(base.astype(">c8")),
        }
        save(tmp_path / "a.npz", **arrays)
        with open_checkpoint(tmp_path / "a.npz") as checkpoint:
            for name, array in arrays.items():
                found = checkpoint.read(name)
                assert found.dtype.isnative
                assert np.array_equal(found, array), name

    def test_large_arrays_are_read(self, tmp_path, save):
        array = np.arange(700_000, dtype=np.int64)
        save(tmp_path / "a.npz", array, other=array[::2])
        with open_checkpoint(tmp_path / "a.npz") as checkpoint:
            assert checkpoint.manifest.family is None
            assert_holds(checkpoint, {"arr_0": array, "other": array[::2]})
            checkpoint.release("other")
            assert_holds(checkpoint, {"arr_0": array, "other": array[::2]})

    def test_objects_are_refused_and_not_unpickled(self, tmp_path, save):
        save(tmp_path / "a.npz", a=np.array([{}], dtype=object))
        with pytest.raises(UnsupportedFileError) as error:
            open_checkpoint(tmp_path / "a.npz")
        assert str(error.value) == (
            "cannot read 'a.npz': the member 'a.npy' does not hold plain numbers\n"
            "  found  NumPy type '|O'"
        )

    @pytest.mark.parametrize("array", [np.array(["x"]), np.array(b"x"), np.zeros(2, "V2")])
    def test_what_is_no_number_is_refused(self, tmp_path, save, array):
        save(tmp_path / "a.npz", a=array)
        with pytest.raises(UnsupportedFileError):
            open_checkpoint(tmp_path / "a.npz")

    def test_structures_are_refused(self, tmp_path, save):
        save(tmp_path / "a.npz", a=np.zeros(2, [("x", "f4"), ("y", "i4")]))
        with pytest.raises(CorruptFileError, match="its header is not one that NumPy writes"):
            open_checkpoint(tmp_path / "a.npz")


def test_numpy_reads_what_we_write(tmp_path):
    manifest = Manifest.of(
        TensorSpec(f"layer/{name}", shape, get_dtype(name))
        for name, shape in zip(TYPES, [(), (0,), (3, 5), (2, 3, 4), (1,)] * 3, strict=False)
    )
    values = random_values(manifest)
    path = tmp_path / "a.npz"
    write_file("npz", path, manifest, values)
    with np.load(path, allow_pickle=False) as found:
        assert list(found) == list(values)
        for name, value in values.items():
            assert found[name].dtype == value.dtype
            assert found[name].shape == value.shape
            assert found[name].tobytes() == value.tobytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for member in archive.infolist():
            assert member.compress_type == zipfile.ZIP_STORED


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (["conv/kernel", "conv/bias"], "keras"),
        (["conv.weight", "token"], "torch"),
        (["arr_0", "arr_1"], None),
        (["a/b.c", "d"], None),
        ([], None),
    ],
)
def test_names_say_whose_they_are(tmp_path, names, family):
    np.savez(tmp_path / "a.npz", **{name: np.ones(2) for name in names})
    with open_checkpoint(tmp_path / "a.npz") as checkpoint:
        assert checkpoint.manifest.family == family


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/..", "a\\b", "a\0b", "C:a"])
def test_a_name_that_no_member_can_have_is_refused(tmp_path, name):
    manifest = Manifest.of([TensorSpec(name, (2,), get_dtype("float32"))])
    with pytest.raises(WriteError, match="cannot have a member of this name"):
        create_writer("npz", tmp_path, "a.npz", manifest)


def npy(header: bytes, data: bytes = bytes(8), version: bytes = b"\1\0") -> bytes:
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + data


GOOD = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }      \n"
ODD = {
    "numpy 1 of python 2": GOOD.replace(b"(2,)", b"(2L,)"),
    "no padding": GOOD.rstrip(),
    "two axes": GOOD.replace(b"(2,)", b"(1, 2)"),
}
LIES = {
    "code": b"{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').getpid(),), }\n",
    "other keys": b"{'descr': '<f4', 'shape': (2,), 'fortran_order': False, }\n",
    "a negative size": GOOD.replace(b"(2,)", b"(-2,)"),
    "a larger shape": GOOD.replace(b"(2,)", b"(3,)"),
    "a smaller shape": GOOD.replace(b"(2,)", b"(1,)"),
    "an absurd shape": GOOD.replace(b"(2,)", b"(0, 9223372036854775808, 4)"),
    "too many axes": GOOD.replace(b"(2,)", b"(" + b"1, " * 64 + b"2)"),
    "an unknown type": GOOD.replace(b"<f4", b"<f3"),
    "a long double": GOOD.replace(b"<f4", b"<f16"),
    "a date": GOOD.replace(b"<f4", b"<M8[s]"),
    "a number for a type": GOOD.replace(b"'<f4'", b"4"),
    "nothing": b"",
    "a long header": GOOD.rstrip() + b" " * 20_000,
}


@pytest.mark.parametrize("name", ODD)
def test_a_header_that_numpy_once_wrote_is_read(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("w.npy", npy(ODD[name]))
    with open_checkpoint(tmp_path / "a.npz") as checkpoint:
        assert checkpoint.read("w").ravel().tolist() == [0, 0]


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("w.npy", npy(LIES[name]))
    with pytest.raises(CheckpointError, match=r"cannot read 'a\.npz': the member 'w\.npy'"):
        open_checkpoint(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        npy(GOOD)[:30],
        npy(GOOD, version=b"\4\0"),
        npy(GOOD, bytes(9)),
        b"\x80\x02.",
    ],
    ids=["empty", "magic alone", "cut off", "version 4", "a byte too many", "a pickle"],
)
def test_a_member_that_is_no_array_is_refused(tmp_path, data):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("w.npy", data)
    with pytest.raises(CorruptFileError):
        open_checkpoint(tmp_path / "a.npz")


def test_later_versions_of_the_header_are_read(tmp_path):
    for version in [(2, 0), (3, 0)]:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.arange(3.0), version)
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("w.npy", buffer.getvalue())
        with open_checkpoint(tmp_path / "a.npz") as checkpoint:
            assert checkpoint.read("w").tolist() == [0, 1, 2]


def test_metadata_have_no_place_and_are_no_error(tmp_path):
    manifest = small_manifest()
    write_file("npz", tmp_path / "a.npz", manifest, random_values(manifest), metadata={"a": "b"})
    with open_checkpoint(tmp_path / "a.npz") as checkpoint:
        assert checkpoint.manifest.metadata == {}
