"""What is in an HDF5 file: its groups, their attributes, its datasets and where their bytes lie.

The file is walked once, from the root, over hard links only. A weights file needs no soft or
external link, no virtual dataset and no storage in another file, so each of them is refused by
name; that is what keeps a hostile file from showing other files as its tensors. HDF5 sees a Python
file object and never a path, which makes it unable to open anything else. Contiguous datasets (all
that Keras writes) are mapped from the file afterwards without HDF5.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import ConverterError, CorruptFileError, UnsafeFileError
from converter.formats.hdf5_chunks import check_chunks
from converter.formats.hdf5_types import ElementType, element_type
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read, nbytes_text, quoted
from converter.tensors.dtype import Array, Shape

MAX_DEPTH = 64
MAX_OBJECTS = 1_000_000
MAX_ELEMENTS = 2**60
_BUFFER_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Hdf5Dataset:
    """One dataset.

    Attributes:
        path: Names from the root down, joined by ``/``.
        shape: Size of each axis.
        element: The type of its elements.
        offset: Position of the first byte in the HDF5 file, ``None`` where the values are not in
            one piece (chunked, compact) or there are none.
    """

    path: str
    shape: Shape
    element: ElementType
    offset: int | None


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
        with one_error(self._path):
            self._open()

    def _open(self) -> None:
        self._file: Any = open_hdf5(self._source, self._start, self._length)
        try:
            walk = _Walk(self._path, self._length, self._file)
            walk.run()
        except BaseException:
            self.close()
            raise
        self.datasets, self.groups = walk.datasets, walk.groups
        self._inside: dict[str, Any] = walk.inside
        if not self._inside:
            self.close()

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
        self._file.close()


def open_hdf5(source: SourceFile, offset: int = 0, length: int | None = None) -> Any:
    """Return an ``h5py.File`` over a range of a file; HDF5 cannot reach any other file from it."""
    import h5py

    window = io.BufferedReader(source.window(offset, length), _BUFFER_BYTES)
    return h5py.File(window, "r")


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


@contextmanager
def one_error(path: Path) -> Iterator[None]:
    """Turn whatever HDF5 and h5py raise on a damaged file into one error."""
    try:
        yield
    except (ConverterError, KeyboardInterrupt):
        raise
    except (Exception, RecursionError, MemoryError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorruptFileError(cannot_read(path, f"HDF5 says: {text}")) from error


class _Walk:
    """One walk over an open file."""

    def __init__(self, path: Path, length: int, file: Any) -> None:
        self.path = path
        self.length = length
        self.file = file
        self.datasets: dict[str, Hdf5Dataset] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.inside: dict[str, Any] = {}
        self._extents: list[tuple[int, int, str]] = []
        self._seen: set[Any] = set()

    def run(self) -> None:
        self._group(self.file.id, "", 0)
        self._extents.sort()
        end, before = 0, ""
        for start, stop, name in self._extents:
            if start < end:
                why = f"{quoted(before)} and {quoted(name)} share bytes"
                raise UnsafeFileError(cannot_read(self.path, why))
            end, before = stop, name

    def _group(self, group_id: Any, name: str, depth: int) -> None:
        from h5py import h5d, h5g, h5l, h5o

        if depth > MAX_DEPTH:
            raise self._unsafe(name, f"lies more than {MAX_DEPTH} groups deep")
        self.groups[name] = _attributes(group_id)
        links = group_id.links
        for raw in group_id:
            child = self._child_name(name, raw)
            info = links.get_info(raw)
            if info.type != h5l.TYPE_HARD:
                kind = "an external" if info.type == h5l.TYPE_EXTERNAL else "a soft"
                raise self._unsafe(child, f"is {kind} link; weights files have none")
            if info.u in self._seen:
                raise self._unsafe(child, "is a second name of an object met before")
            self._seen.add(info.u)
            if len(self._seen) > MAX_OBJECTS:
                raise self._unsafe(child, f"is one of more than {MAX_OBJECTS:,} objects")
            opened = h5o.open(group_id, raw)
            if isinstance(opened, h5g.GroupID):
                self._group(opened, child, depth + 1)
            elif isinstance(opened, h5d.DatasetID):
                self._dataset(opened, child)
            else:
                raise self._unsafe(child, "is neither a group nor a dataset")

    def _child_name(self, parent: str, raw: bytes) -> str:
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self._unsafe(parent, f"has a child whose name is not UTF-8: {raw!r}") from None
        if name in {"", ".", ".."}:
            raise self._unsafe(parent, f"has a child called {quoted(name)}")
        return f"{parent}/{name}" if parent else name

    def _dataset(self, dataset_id: Any, name: str) -> None:
        element = element_type(dataset_id.get_type())
        shape = dataset_id.shape
        if shape is None:
            self.datasets[name] = Hdf5Dataset(
                name, (), ElementType(None, swapped=False, text="nothing (a null space)"), None
            )
            return
        if math.prod(size for size in shape if size) > MAX_ELEMENTS:
            raise self._unsafe(name, f"claims the shape {shape}")
        offset = dataset_id.get_offset()
        self.datasets[name] = Hdf5Dataset(name, shape, element, offset)
        if element.dtype is None:
            if offset is None:
                self._check_inside(dataset_id, name)
            return
        nbytes = element.dtype.nbytes(shape)
        if offset is None:
            if nbytes:
                self.inside[name] = dataset_id
                self._check_stored(dataset_id, name, element.dtype.itemsize, shape)
            else:
                self._check_inside(dataset_id, name)
            return
        stored = dataset_id.get_storage_size()
        if stored != nbytes or offset + nbytes > self.length:
            raise CorruptFileError(
                cannot_read(self.path, f"the values of {quoted(name)} are not all in the file"),
                facts=[
                    ("expected", f"{nbytes_text(nbytes)} at byte {offset:,}"),
                    ("found", f"{nbytes_text(stored)} in a file of {nbytes_text(self.length)}"),
                ],
            )
        self._extents.append((offset, offset + nbytes, name))

    def _check_inside(self, dataset_id: Any, name: str) -> Any:
        """Refuse a dataset whose values are, or could be, in another file."""
        from h5py import h5d

        creation = dataset_id.get_create_plist()
        if creation.get_external_count():
            raise self._unsafe(name, "keeps its values in another file")
        layout = creation.get_layout()
        if layout not in (h5d.CONTIGUOUS, h5d.CHUNKED, h5d.COMPACT):
            raise self._unsafe(name, "is a virtual dataset: its values are in other datasets")
        return creation

    def _check_stored(self, dataset_id: Any, name: str, itemsize: int, shape: Shape) -> None:
        from h5py import h5d

        creation = self._check_inside(dataset_id, name)
        layout = creation.get_layout()
        if layout == h5d.CHUNKED:
            check_chunks(dataset_id, creation, shape, itemsize, self._unsafe_of(name))
        elif layout == h5d.CONTIGUOUS:
            raise CorruptFileError(
                cannot_read(self.path, f"the values of {quoted(name)} were never written")
            )

    def _unsafe_of(self, name: str) -> Callable[[str], UnsafeFileError]:
        return lambda why: self._unsafe(name, why)

    def _unsafe(self, name: str, why: str) -> UnsafeFileError:
        return UnsafeFileError(cannot_read(self.path, f"{quoted(name or '/')} {why}"))


def _attributes(group_id: Any) -> dict[str, Any]:
    """Return the attributes of a group that are a text or a list of texts."""
    from h5py import AttributeManager, Group, h5a

    if not h5a.get_num_attrs(group_id):
        return {}
    manager = AttributeManager(Group(group_id))
    found: dict[str, Any] = {}
    for name in manager:
        value = _text_or_texts(manager, name)
        if value is not None:
            found[name] = value
    return found


def _text_or_texts(manager: Any, name: str) -> Any:
    attribute = manager.get_id(name)
    dtype = attribute.dtype
    if dtype.kind not in "OSU" or attribute.shape is None or len(attribute.shape) > 1:
        return None
    value = manager[name]
    if isinstance(value, np.ndarray):
        return [_text(item) for item in value.tolist()]
    return _text(value) if isinstance(value, str | bytes) else None


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
