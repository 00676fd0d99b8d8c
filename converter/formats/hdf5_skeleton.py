"""An HDF5 file without its values: everything that HDF5 itself writes, and where each value goes.

HDF5 reserves the space of contiguous datasets when they are created and is told not to fill it. It
writes into memory here, and what it wrote, the structure of the file, is small; the values then go
straight to their positions in the real file, from several threads and without HDF5.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converter.tensors.dtype import Array, DType, Shape

_PAGE = 1024

# Source: keras 3.15.1 legacy_h5_format.py, HDF5_OBJECT_HEADER_LIMIT.
MAX_ATTRIBUTE_BYTES = 64512


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The structure of one HDF5 file.

    Attributes:
        size: Size of the complete file, in bytes.
        pieces: Offset and content of everything but the values.
        offsets: Dataset path to the position of its first byte.
    """

    size: int
    pieces: tuple[tuple[int, bytes], ...]
    offsets: Mapping[str, int]


@dataclass(slots=True)
class _Group:
    """What a group gets: texts, datasets by name (shape, type, attributes) and groups by name."""

    attributes: dict[str, Any] = field(default_factory=dict)
    datasets: dict[str, tuple[Shape, DType, Mapping[str, Any]]] = field(default_factory=dict)
    groups: dict[str, _Group] = field(default_factory=dict)


class SkeletonBuilder:
    """Collects the groups, attributes and datasets of one file, and makes them at the end.

    Each group is made with all that is in it before the next one. With 20,000 layers HDF5 is twice
    as slow where groups come first and datasets later: it keeps every group open, or looks each up
    again, and writes and reads parts of the structure several times.
    """

    def __init__(self) -> None:
        self._root = _Group()

    def group(self, path: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Make a group, and those above it, and set its attributes: texts or lists of bytes."""
        self._reach(path).attributes.update(attributes or {})

    def dataset(self, path: str, shape: Shape, dtype: DType, *, says_dtype: bool = True) -> None:
        """Make a dataset in a group, which is made where it is not there.

        Args:
            path: Where.
            shape: Its shape.
            dtype: The type of its elements.
            says_dtype: Whether bfloat16 gets the attribute by which Keras tells it.
        """
        above, _, name = path.rpartition("/")
        is_said = dtype.name == "bfloat16" and says_dtype
        attributes = {"dtype": dtype.name} if is_said else {}
        self._reach(above).datasets[name] = (shape, dtype, attributes)

    def finish(self) -> Skeleton:
        """Make the file and return its structure."""
        import h5py

        memory = _Sparse()
        with h5py.File(memory, "w") as file:
            offsets = _Making().make(file.id, self._root)
        return Skeleton(memory.size, tuple(memory.pieces()), offsets)

    def _reach(self, path: str) -> _Group:
        found = self._root
        for name in path.split("/") if path else ():
            found = found.groups.setdefault(name, _Group())
        return found


class _Making:
    """Makes groups, one after the other; types and shapes that come again are made once."""

    def __init__(self) -> None:
        from h5py import h5d, h5p, h5s, string_dtype

        self._text_dtype = string_dtype()
        self._creation = h5p.create(h5p.DATASET_CREATE)
        self._creation.set_layout(h5d.CONTIGUOUS)
        self._creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        self._creation.set_fill_time(h5d.FILL_TIME_NEVER)
        self._creation.set_obj_track_times(False)  # equal content gives equal files
        self._scalar = h5s.create(h5s.SCALAR)
        self._spaces: dict[Shape, Any] = {(): self._scalar}
        self._types: dict[str, Any] = {}
        self._offsets: dict[str, int] = {}

    def make(self, root: Any, described: _Group) -> dict[str, int]:
        """Make everything below a group, and return the offsets of the datasets by path."""
        from h5py import h5g

        self._fill(root, described, "")
        waiting = [("", root, iter(described.groups.items()))]
        while waiting:  # a stack: a hostile structure may be deep
            above, parent, rest = waiting[-1]
            name, below = next(rest, (None, None))
            if name is None or below is None:
                waiting.pop()
                continue
            made = h5g.create(parent, name.encode())
            path = f"{above}{name}/"
            self._fill(made, below, path)
            if below.groups:
                waiting.append((path, made, iter(below.groups.items())))
        return self._offsets

    def _fill(self, made: Any, described: _Group, prefix: str) -> None:
        from h5py import h5d

        self._set(made, described.attributes)
        for name, (shape, dtype, attributes) in described.datasets.items():
            dataset = h5d.create(
                made, name.encode(), self._type(dtype), self._space(shape), self._creation
            )
            self._set(dataset, attributes)
            offset = dataset.get_offset()
            self._offsets[f"{prefix}{name}"] = 0 if offset is None else offset

    def _space(self, shape: Shape) -> Any:
        from h5py import h5s

        if shape not in self._spaces:
            self._spaces[shape] = h5s.create_simple(shape)
        return self._spaces[shape]

    def _type(self, dtype: DType) -> Any:
        from h5py import h5t

        if dtype.name not in self._types:
            if dtype.name == "bfloat16":
                made = h5t.create(h5t.OPAQUE, 2)
                made.set_tag(b"")
            else:
                made = h5t.py_create(dtype.numpy, logical=True)
            self._types[dtype.name] = made
        return self._types[dtype.name]

    def _text(self) -> Any:
        """Return the type of a text of any length, as h5py makes it of a Python one."""
        from h5py import h5t

        if "" not in self._types:
            self._types[""] = h5t.py_create(self._text_dtype, logical=True)
        return self._types[""]

    def _set(self, made: Any, attributes: Mapping[str, Any]) -> None:
        from h5py import AttributeManager, Dataset, Group, h5a, h5g

        for key, value in attributes.items():
            if isinstance(value, str):
                attribute = h5a.create(made, key.encode(), self._text(), self._scalar)
                attribute.write(np.asarray(value, dtype=self._text_dtype))
                continue
            manager = AttributeManager((Group if isinstance(made, h5g.GroupID) else Dataset)(made))
            if isinstance(value, list):
                for piece, part in _in_pieces(key, value):
                    manager[piece] = part
            else:
                manager[key] = value


def _in_pieces(key: str, values: Sequence[bytes]) -> Iterator[tuple[str, Array]]:
    """Yield a list attribute in pieces that HDF5 can store in an object header.

    Source: keras 3.15.1 legacy_h5_format.py, ``save_attributes_to_hdf5_group``.
    """
    # As an array of fixed texts: h5py would give a list references of 16 bytes each.
    array, count = np.asarray(values, dtype=np.bytes_), 1
    while any(part.nbytes > MAX_ATTRIBUTE_BYTES for part in np.array_split(array, count)):
        count += 1
    if count == 1:
        yield key, array
        return
    for index, part in enumerate(np.array_split(array, count)):
        yield f"{key}{index}", part


class _Sparse(io.RawIOBase):
    """A file in memory that keeps only the pages that were written."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self._position = 0
        self._pages: dict[int, bytearray] = {}

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Yield what was written, neighbouring pages together, as far as the file goes."""
        start, parts = 0, bytearray()
        for number in sorted(self._pages):
            if parts and start + len(parts) != number * _PAGE:
                yield start, bytes(parts)
                parts = bytearray()
            if not parts:
                start = number * _PAGE
            parts += self._pages[number]
        if parts:
            yield start, bytes(parts[: self.size - start])

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = start + offset
        return self._position

    def truncate(self, size: int | None = None, /) -> int:
        self.size = self._position if size is None else size
        return self.size

    def readinto(self, buffer: Any, /) -> int:
        target = memoryview(buffer).cast("B")
        count = max(min(len(target), self.size - self._position), 0)
        for number, inside, done, length in _split(self._position, count):
            page = self._pages.get(number)
            part = page[inside : inside + length] if page is not None else bytes(length)
            target[done : done + length] = part
        self._position += count
        return count

    def write(self, data: Any, /) -> int:
        source = memoryview(data).cast("B")
        number, inside = divmod(self._position, _PAGE)
        page = self._pages.get(number)
        if page is not None and inside + len(source) <= _PAGE:  # nearly always
            page[inside : inside + len(source)] = source
            self._position += len(source)
            self.size = max(self.size, self._position)
            return len(source)
        for number, inside, done, length in _split(self._position, len(source)):
            page = self._pages.setdefault(number, bytearray(_PAGE))
            page[inside : inside + length] = source[done : done + length]
        self._position += len(source)
        self.size = max(self.size, self._position)
        return len(source)


def _split(position: int, count: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield page, offset in it, offset in the data and length of each part of a range."""
    done = 0
    while done < count:
        number, inside = divmod(position + done, _PAGE)
        length = min(_PAGE - inside, count - done)
        yield number, inside, done, length
        done += length
