"""What is in an HDF5 file: its groups, their attributes, its datasets and where their bytes lie.

A plain file, which is every one that Keras has written, is parsed directly; HDF5 itself walks any
other. Either way contiguous datasets (all that Keras writes) are mapped from the file afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import CorruptFileError, UnsafeFileError
from converter.formats.hdf5_direct import DirectFile, NotPlainError
from converter.formats.hdf5_probe import probe
from converter.formats.hdf5_types import Hdf5Dataset
from converter.formats.hdf5_walk import Walk, one_error, open_hdf5
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read, quoted
from converter.tensors.dtype import Array


class Hdf5Tree:
    """The content of one HDF5 file, or of one HDF5 member inside another file.

    Attributes:
        datasets: Path to dataset, in the order of the file.
        groups: Path to attributes (texts and lists of texts only); the root is ``""``.
    """

    datasets: Mapping[str, Hdf5Dataset]
    groups: Mapping[str, Mapping[str, Any]]

    def __init__(self, source: SourceFile, *, offset: int = 0, length: int | None = None) -> None:
        """Walk the file.

        Args:
            source: The file, which stays open as long as tensors are read.
            offset: Where the HDF5 content starts in it.
            length: Its size in bytes; to the end of the file when ``None``.

        Raises:
            CorruptFileError: If HDF5 cannot read it, or a dataset is not where it says.
            UnsafeFileError: If it asks for other files, has cycles, or claims absurd sizes.
        """
        self._source = source
        self._start = offset
        self._length = source.size - offset if length is None else length
        self._path = source.path
        self._file: Any = None
        self._inside: dict[str, Any] = {}
        if not self._open_directly():
            probe(self._source, self._start, self._length)
            with one_error(self._path):
                self._open()
        self._refuse_overlaps()

    def _open_directly(self) -> bool:
        try:
            found = DirectFile(self._source.view(self._start, self._length), self._path)
        except NotPlainError:
            return False
        self.datasets, self.groups = found.datasets, found.groups
        return True

    def _open(self) -> None:
        self._file = open_hdf5(self._source, self._start, self._length)
        try:
            walk = Walk(self._path, self._length, self._file)
            walk.run()
        except BaseException:
            self.close()
            raise
        self.datasets, self.groups = walk.datasets, walk.groups
        self._inside = walk.inside
        if not self._inside:
            self.close()

    def _refuse_overlaps(self) -> None:
        extents = sorted(
            (one.offset, one.offset + one.element.dtype.nbytes(one.shape), one.path)
            for one in self.datasets.values()
            if one.offset is not None and one.element.dtype is not None
        )
        end, before = 0, ""
        for start, stop, name in extents:
            if start < end:
                self.close()
                why = f"{quoted(before)} and {quoted(name)} share bytes"
                raise UnsafeFileError(cannot_read(self._path, why))
            end, before = stop, name

    def read(self, path: str) -> Array:
        """Return the values of one dataset in native byte order, read-only.

        Contiguous values are a view of the file.

        Raises:
            KeyError: If there is no such dataset, or its elements are of no dtype.
            CorruptFileError: If HDF5 cannot read it.
        """
        dataset = self.datasets[path]
        dtype = dataset.element.dtype
        if dtype is None:
            raise KeyError(path)
        nbytes = dtype.nbytes(dataset.shape)
        if nbytes == 0:
            array = np.empty(dataset.shape, dtype.numpy)
        elif dataset.offset is not None:
            raw = self._source.view(self._start + dataset.offset, nbytes)
            if dtype.name == "bool":
                check_bools(raw, path, self._path)
            array = raw.view(dtype.numpy).reshape(dataset.shape)
        else:
            with one_error(self._path):
                return _through_hdf5(self._inside[path], dataset)
        if dataset.element.swapped:
            array = array.byteswap()
        array.flags.writeable = False
        return array

    def release(self, path: str) -> None:
        """Give back the memory that reading a contiguous dataset took."""
        dataset = self.datasets[path]
        if dataset.offset is not None and dataset.element.dtype is not None:
            nbytes = dataset.element.dtype.nbytes(dataset.shape)
            self._source.release(self._start + dataset.offset, nbytes)

    def close(self) -> None:
        """Close HDF5; contiguous datasets can still be read."""
        self._inside = {}
        if self._file is not None:
            self._file.close()


def check_bools(raw: Array, path: str, file: Path) -> None:
    """Refuse booleans that are neither 0 nor 1, which NumPy must not see as such.

    Raises:
        CorruptFileError: If there is another value.
    """
    if raw.size and raw.max() > 1:
        raise CorruptFileError(
            cannot_read(file, f"{quoted(path)} holds booleans that are neither true nor false")
        )


def _through_hdf5(dataset_id: Any, dataset: Hdf5Dataset) -> Array:
    import h5py

    dtype = dataset.element.dtype
    assert dtype is not None  # noqa: S101  # the caller looked
    found = np.asarray(h5py.Dataset(dataset_id)[()])
    if dtype.name == "bfloat16":
        found = found.view(dtype.numpy)
    array = np.ascontiguousarray(found.astype(dtype.numpy, copy=False)).reshape(dataset.shape)
    array.flags.writeable = False
    return array
