"""What joblib before 0.10 wrote: a pickle, and each array in a file beside it."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib import numpy_pickle_compat

from converter.errors import (
    CheckpointError,
    CorruptFileError,
    UnsafeFileError,
    UnsupportedFileError,
)
from converter.formats import numpy_files
from converter.formats.registry import open_checkpoint


def arrays(count: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    found = [random.normal(size=(3 + i, 5)).astype("f4") for i in range(count)]
    return [np.asfortranarray(found[0]), found[1].astype(">f8"), *found[2:]]


def dumped(path: Path, values: list[np.ndarray], names: list[str] | None = None) -> Path:
    """Write as joblib 0.9 does: numpy_pickle.py of its time, ``NumpyPickler.save``."""
    wrapped = []
    for number, array in enumerate(values, 1):
        name = f"{path.name}_{number:02d}.npy"
        np.save(path.parent / name, array)
        name = names[number - 1] if names else name
        wrapped.append(numpy_pickle_compat.NDArrayWrapper(name, np.ndarray, allow_mmap=True))
    data = pickle.dumps(wrapped, protocol=2)
    path.write_bytes(data.replace(b"joblib.numpy_pickle_compat\n", b"joblib.numpy_pickle\n"))
    return path


def loaded(path: Path) -> list[np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return joblib.load(path)


def test_it_reads_what_joblib_reads(tmp_path):
    path = dumped(tmp_path / "w.pkl", arrays())
    expected = loaded(path)
    with open_checkpoint(path) as found:
        assert found.manifest.writer == "joblib before 0.10 (pickle protocol 2)"
        assert list(found.manifest.tensors) == ["0", "1", "2"]
        assert [file.name for file in found.files] == [
            "w.pkl",
            "w.pkl_01.npy",
            "w.pkl_02.npy",
            "w.pkl_03.npy",
        ]
        for name, array in zip(found.manifest.tensors, expected, strict=True):
            read = found.read(name)
            assert read.shape == array.shape
            assert np.array_equal(read, array)
            found.release(name)
            assert found.read(name).tobytes() == read.tobytes()


def test_more_arrays_than_may_be_open_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(numpy_files, "MAX_OPEN", 2)
    path = dumped(tmp_path / "w.pkl", arrays(7))
    with open_checkpoint(path) as found:
        for name, array in zip(found.manifest.tensors, loaded(path), strict=True):
            assert np.array_equal(found.read(name), array)


@pytest.mark.parametrize("name", ["../w.pkl_01.npy", "/etc/passwd", "a\\b.npy", ".."])
def test_files_outside_the_folder_are_refused(tmp_path, name):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "w.pkl_01.npy", arrays()[0])
    path = dumped(tmp_path / "in" / "w.pkl", arrays()[:1], [name])
    with pytest.raises(UnsafeFileError, match="it names a file outside its own folder"):
        open_checkpoint(path)


def test_a_link_in_place_of_a_file_is_refused(tmp_path):
    path = dumped(tmp_path / "w.pkl", arrays())
    secret = tmp_path / "elsewhere.npy"
    (tmp_path / "w.pkl_02.npy").rename(secret)
    (tmp_path / "w.pkl_02.npy").symlink_to(secret)
    with pytest.raises(UnsafeFileError, match="it is a link"):
        open_checkpoint(path)


def test_a_file_that_is_missing_is_named(tmp_path):
    path = dumped(tmp_path / "w.pkl", arrays())
    (tmp_path / "w.pkl_02.npy").unlink()
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(path)
    assert "w.pkl_02.npy" in str(refused.value)


def test_a_file_that_changed_after_it_was_opened_is_refused(tmp_path):
    path = dumped(tmp_path / "w.pkl", arrays())
    with open_checkpoint(path) as found:
        np.save(tmp_path / "new.npy", arrays()[1][:2])
        (tmp_path / "new.npy").replace(tmp_path / "w.pkl_02.npy")
        with pytest.raises(CorruptFileError, match="the file was replaced while it was read"):
            found.read("1")


def test_objects_in_a_file_are_refused_without_loading_them(tmp_path):
    path = dumped(tmp_path / "w.pkl", arrays())
    np.save(tmp_path / "w.pkl_02.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(UnsupportedFileError, match="does not hold plain numbers"):
        open_checkpoint(path)


def test_compressed_files_are_refused_with_what_to_do(tmp_path):
    wrapped = numpy_pickle_compat.ZNDArrayWrapper("w.pkl_01.npy.z", (np.ndarray, (0,), b"b"), None)
    (tmp_path / "w.pkl").write_bytes(pickle.dumps([wrapped], protocol=2))
    with pytest.raises(UnsupportedFileError) as refused:
        open_checkpoint(tmp_path / "w.pkl")
    assert str(refused.value) == (
        "cannot read 'w.pkl': its arrays are in compressed files beside it\n"
        "  written by  joblib before 0.10\n"
        "  hint        dump it again where you trust it: joblib.dump(joblib.load(file), new_file)"
    )


def test_an_array_of_another_class_is_an_error_in_a_list(tmp_path):
    path = dumped(tmp_path / "w.pkl", arrays()[:1])
    data = path.read_bytes().replace(b"cnumpy\nndarray\n", b"cnumpy\nmatrix\n")
    path.write_bytes(data)
    with pytest.raises(UnsupportedFileError, match="'0' in its list is no array of NumPy"):
        open_checkpoint(path)
