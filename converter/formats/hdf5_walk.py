"""Walks an HDF5 file with HDF5, and refuses whatever a weights file does not need.

A weights file needs no soft or external link, no virtual dataset and no storage in another file, so
each of them is refused by name; that is what keeps a hostile file from showing other files as its
tensors. HDF5 sees a Python file object and never a path, which makes it unable to open others.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import ConverterError, CorruptFileError, UnsafeFileError
from converter.formats.hdf5_chunks import check_chunks
from converter.formats.hdf5_types import ElementType, Hdf5Dataset, element_type
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read, nbytes_text, quoted
from converter.tensors.dtype import Shape

MAX_DEPTH = 64
MAX_OBJECTS = 200_000
MAX_ELEMENTS = 2**58  # also beside an empty axis: NumPy counts bytes in 63 bits
_BUFFER_BYTES = 2**16


def open_hdf5(source: SourceFile, offset: int = 0, length: int | None = None) -> Any:
    """Return an ``h5py.File`` over a range of a file; HDF5 cannot reach any other file from it."""
    import h5py

    window = io.BufferedReader(source.window(offset, length), _BUFFER_BYTES)
    return h5py.File(window, "r")


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


class Walk:
    """One walk over an open file."""

    def __init__(self, path: Path, length: int, file: Any) -> None:
        self.path = path
        self.length = length
        self.file = file
        self.datasets: dict[str, Hdf5Dataset] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.inside: dict[str, Any] = {}
        self._seen: set[Any] = set()

    def run(self) -> None:
        """Fill ``datasets``, ``groups``, and ``inside`` with what must be read through HDF5.

        Raises:
            UnsafeFileError: If the file holds what no weights file needs.
            CorruptFileError: If values are not where the file says.
        """
        self._group(self.file.id, "", 0)

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
        # A name that is no UTF-8 comes as bytes; nothing that is looked up is called so.
        value = _text_or_texts(manager, name) if isinstance(name, str) else None
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
