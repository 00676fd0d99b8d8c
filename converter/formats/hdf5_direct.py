"""Reads the structure of plain HDF5 files without HDF5: an order of magnitude faster, and safer.

Every file that Keras has written through h5py so far is of one shape: superblock version 0, groups
as symbol tables, contiguous datasets of standard types, attributes in object headers. That shape is
parsed here. Whatever is different in any way raises :class:`NotPlainError`, and HDF5 itself decides
what it is, so that nothing is ever seen differently from HDF5.

Source: HDF5 File Format Specification, version 3.0, sections II.A (superblock 0), III.A.1
(B-trees), III.B and III.C (symbol tables), III.D (local heap), III.E (global heap), IV.A (object
headers).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from converter.errors import CorruptFileError, UnsafeFileError
from converter.formats.hdf5_types import ElementType, Hdf5Dataset, plain_type
from converter.formats.wording import cannot_read, quoted
from converter.tensors.dtype import Array, Shape

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_UNDEFINED = 2**64 - 1
_MAX_DEPTH = 64
_MAX_OBJECTS = 200_000
_MAX_ELEMENTS = 2**58  # also beside an empty axis: NumPy counts bytes in 63 bits
_MIN_TEXT_BYTES = 2**20

_SUPERBLOCK = struct.Struct("<8s8B2HI4Q2QII16s")
_HEADER = struct.Struct("<BxHII4x")
_MESSAGE = struct.Struct("<HHB3x")
_ENTRY = struct.Struct("<QQII16x")
_TREE = struct.Struct("<4sBBHQQ")
_HEAP = struct.Struct("<4sB3xQQQ")
_TWO = struct.Struct("<QQ")
_REFERENCE = struct.Struct("<IQI")
_OBJECT = struct.Struct("<HH4xQ")

_DATASPACE, _DATATYPE, _LAYOUT, _ATTRIBUTE, _CONTINUED, _SYMBOLS = 0x1, 0x3, 0x8, 0xC, 0x10, 0x11
# Nothing, fill values (which values that are there do not need), comment, two times of change.
_HARMLESS = frozenset({0x0, 0x4, 0x5, 0xD, 0xE, 0x12})

_PLAIN_FLAGS = 0x5  # constant, and not to be shared; others would change what a message means


class NotPlainError(Exception):
    """The file is not of the one shape that is read here; the text is for who debugs this."""


class DirectFile:
    """The structure of one plain HDF5 file.

    Attributes:
        datasets: Path to dataset, in the order of the file.
        groups: Path to attributes that are a text or a list of texts.
    """

    def __init__(self, content: Array, path: Path, *, limit: int = _MAX_OBJECTS) -> None:
        """Parse the structure.

        Args:
            content: The bytes of the file, usually a memory map.
            path: The file, for messages.
            limit: How many objects to look at; further ones are left out.

        Raises:
            NotPlainError: If anything is unusual.
            CorruptFileError: If it is damaged. HDF5 is not asked then: it loops for ever on some
                damaged files, and overruns its memory on others.
            UnsafeFileError: If its texts are absurdly long.
        """
        self._path = path
        self._limit = limit
        self._text_bytes = 0
        self._bytes = content.data
        self.datasets: dict[str, Hdf5Dataset] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self._seen: set[int] = set()
        self._collections: dict[int, dict[int, tuple[int, int]]] = {}
        self._parsers: dict[int, Callable[[int, int], Any]] = {
            _DATASPACE: lambda start, _: self._space(start),
            _DATATYPE: lambda start, size: plain_type(bytes(self._bytes[start : start + size])),
            _LAYOUT: lambda start, _: self._layout(start),
            _SYMBOLS: lambda start, _: _TWO.unpack_from(self._bytes, start),
        }
        try:
            self._object(self._root(), "", 0)
            if len(self.groups) + len(self.datasets) >= _MAX_OBJECTS:
                raise NotPlainError("too many objects")
        except (UnsafeFileError, CorruptFileError):
            raise
        except (struct.error, IndexError, UnicodeDecodeError, ValueError, OverflowError) as error:
            raise self._damaged("a place in it is outside of it, or unreadable") from error
        finally:
            self._parsers.clear()  # they hold this object, and so the map would stay open
            self._bytes.release()

    def _damaged(self, what: str) -> CorruptFileError:
        return CorruptFileError(cannot_read(self._path, f"the HDF5 file is damaged: {what}"))

    def _root(self) -> int:
        found = _SUPERBLOCK.unpack_from(self._bytes)
        signature, versions = found[0], found[1:9]
        base, _, end, driver = found[12:16]
        if signature != _SIGNATURE or versions != (0, 0, 0, 0, 0, 8, 8, 0):
            raise NotPlainError("superblock")
        if end > len(self._bytes):
            raise self._damaged(f"it ends before byte {end:,}, which it says is its end")
        if base != 0 or driver != _UNDEFINED:
            raise NotPlainError("addresses")
        return int(found[17])

    def _object(self, address: int, path: str, depth: int) -> None:
        if len(self.groups) + len(self.datasets) >= self._limit:
            return
        self._see(address)
        if depth > _MAX_DEPTH:
            raise NotPlainError("too deep")
        attributes, parts = self._header(address)
        if parts.keys() == {_SYMBOLS}:
            self.groups[path] = attributes
            for name, child in self._links(*parts[_SYMBOLS]):
                self._object(child, f"{path}/{name}" if path else name, depth + 1)
        elif parts.keys() == {_DATASPACE, _DATATYPE, _LAYOUT}:
            self._dataset(path, parts[_DATASPACE], parts[_DATATYPE], parts[_LAYOUT])
        else:
            raise NotPlainError("neither a group nor a dataset")

    def _header(self, address: int) -> tuple[dict[str, Any], dict[int, Any]]:
        """Return the attributes of an object, and what its other messages say."""
        attributes: dict[str, Any] = {}
        parts: dict[int, Any] = {}
        for message, start, size in self._messages(address):
            if message == _ATTRIBUTE:
                name, value = self._attribute(start, size)
                if name in attributes:
                    raise NotPlainError("an attribute twice")
                attributes[name] = value
            elif message in self._parsers and message not in parts:
                parts[message] = self._parsers[message](start, size)
            elif message not in _HARMLESS:
                raise NotPlainError(f"message {message}")
        return {key: text for key, text in attributes.items() if text is not None}, parts

    def _see(self, address: int) -> None:
        """Refuse to come to one place twice: cycles, and small files that take forever."""
        if address in self._seen:
            raise NotPlainError("met twice")
        self._seen.add(address)

    def _messages(self, address: int) -> Iterator[tuple[int, int, int]]:
        """Yield type, start and size of each message of an object header."""
        version, count, _, length = _HEADER.unpack_from(self._bytes, address)
        if version != 1:
            raise NotPlainError("object header")
        blocks, used = [(address + _HEADER.size, length)], 0
        for block, size in blocks:  # grows while it is walked
            at, end = block, block + size
            while used < count and at + _MESSAGE.size <= end:
                message, length, flags = _MESSAGE.unpack_from(self._bytes, at)
                at += _MESSAGE.size
                used += 1
                if flags & ~_PLAIN_FLAGS or at + length > end or length % 8:
                    raise NotPlainError(f"message flags {flags}")
                if message == _CONTINUED:
                    blocks.append(_TWO.unpack_from(self._bytes, at))
                else:
                    yield message, at, length
                at += length
        if used != count:
            raise self._damaged("an object header ends early")

    def _links(self, tree: int, heap: int) -> list[tuple[str, int]]:
        mark, version, size, _, names = _HEAP.unpack_from(self._bytes, heap)
        self._see(heap)
        if mark != b"HEAP" or version != 0 or names + size > len(self._bytes):
            raise self._damaged("names of a group are missing")
        text = bytes(self._bytes[names : names + size])
        found: dict[str, int] = {}
        for node in self._leaves(tree, 0):
            mark, version, count = struct.unpack_from("<4sBxH", self._bytes, node)
            if mark != b"SNOD" or version != 1:
                raise self._damaged("entries of a group are missing")
            self._see(node)
            for index in range(count):
                offset, address, cached, _ = _ENTRY.unpack_from(
                    self._bytes, node + 8 + index * _ENTRY.size
                )
                name = text[offset : text.index(b"\0", offset)].decode("utf-8")
                if cached > 1 or name in found or name in {"", ".", ".."} or "/" in name:
                    raise NotPlainError("a soft link, or a name twice")
                found[name] = address
        return list(found.items())

    def _leaves(self, address: int, depth: int) -> Iterator[int]:
        """Yield the symbol table nodes below a B-tree node, in the order of names."""
        mark, kind, level, count, _, _ = _TREE.unpack_from(self._bytes, address)
        if mark != b"TREE" or kind != 0 or depth > 8:
            raise self._damaged("the index of a group is missing")
        self._see(address)
        children = struct.unpack_from(f"<{2 * count}Q", self._bytes, address + _TREE.size)[1::2]
        for child in children:
            if level:
                yield from self._leaves(child, depth + 1)
            else:
                yield child

    def _space(self, start: int) -> Shape:
        version, rank, flags = struct.unpack_from("<3B", self._bytes, start)
        if version not in (1, 2) or flags & ~1 or rank > 32:
            raise NotPlainError("dataspace")
        if version == 2 and self._bytes[start + 3] > 1:
            raise NotPlainError("null space")
        skip = 8 if version == 1 else 4
        return struct.unpack_from(f"<{rank}Q", self._bytes, start + skip)

    def _layout(self, start: int) -> tuple[int, int]:
        version, kind = struct.unpack_from("<2B", self._bytes, start)
        if version != 3 or kind != 1:
            raise NotPlainError("not contiguous")
        address, size = _TWO.unpack_from(self._bytes, start + 2)
        return address, size

    def _dataset(
        self, path: str, shape: Shape, element: ElementType | None, layout: tuple[int, int]
    ) -> None:
        if element is None or element.dtype is None or not path:
            raise NotPlainError("type")
        address, size = layout
        nbytes = math.prod(shape) * element.dtype.itemsize
        count = math.prod(one or 1 for one in shape)
        if count > _MAX_ELEMENTS or (nbytes and (size != nbytes or address == _UNDEFINED)):
            raise NotPlainError("size")
        if address == _UNDEFINED:
            self.datasets[path] = Hdf5Dataset(path, shape, element, None)
            return
        if address + nbytes > len(self._bytes):
            raise self._damaged(f"the values of {quoted(path)} are not all in it")
        self.datasets[path] = Hdf5Dataset(path, shape, element, address)

    def _attribute_name(self, raw: bytes) -> str:
        try:
            return raw.rstrip(b"\0").decode("utf-8")
        except UnicodeDecodeError:
            raise NotPlainError("an attribute whose name is not UTF-8") from None

    def _attribute(self, start: int, size: int) -> tuple[str, Any]:
        """Return name and value of an attribute; ``None`` where it holds no texts."""
        version, flags, name_size, type_size, space_size = struct.unpack_from(
            "<BB3H", self._bytes, start
        )
        if version not in (1, 3) or (version == 3 and flags):
            raise NotPlainError("attribute")
        end, step = start + size, 8 if version == 1 else 1
        at = start + (8 if version == 1 else 9)
        name = self._attribute_name(bytes(self._bytes[at : at + name_size]))
        at += _padded(name_size, step)
        kind = bytes(self._bytes[at : at + type_size])
        at += _padded(type_size, step)
        shape = self._space(at)
        at += _padded(space_size, step)
        if len(shape) > 1 or at > end:
            raise NotPlainError("attribute shape")
        count = shape[0] if shape else 1
        texts = self._texts(kind, at, end, count)
        if texts is None:
            return name, None
        return name, texts if shape else texts[0]

    def _texts(self, kind: bytes, at: int, end: int, count: int) -> list[str] | None:
        form = kind[0] & 0xF
        if form == 3:
            width = int.from_bytes(kind[4:8], "little")
            if at + count * width > end or kind[1] & 0xF > 1:
                raise NotPlainError("texts")
            raw = bytes(self._bytes[at : at + count * width])
            pieces = [raw[i * width : (i + 1) * width] for i in range(count)]
            return [piece.rstrip(b"\0").decode("utf-8") for piece in pieces]
        if form == 9 and kind[1] & 0xF == 1:
            if at + count * _REFERENCE.size > end:
                raise NotPlainError("texts")
            return [
                self._heap_text(*_REFERENCE.unpack_from(self._bytes, at + i * _REFERENCE.size))
                for i in range(count)
            ]
        if form == 9:
            raise NotPlainError("lists of any length")
        return None

    def _heap_text(self, length: int, address: int, index: int) -> str:
        if length == 0:
            return ""
        if address not in self._collections:
            self._collections[address] = self._collection(address)
        if index not in self._collections[address]:
            raise self._damaged("a text of an attribute is missing")
        start, size = self._collections[address][index]
        if length > size:
            raise self._damaged("a text of an attribute is missing")
        self._text_bytes += length
        if self._text_bytes > 4 * len(self._bytes) + _MIN_TEXT_BYTES:
            raise UnsafeFileError(cannot_read(self._path, "its attributes repeat one long text"))
        return bytes(self._bytes[start : start + length]).split(b"\0", 1)[0].decode("utf-8")

    def _collection(self, address: int) -> dict[int, tuple[int, int]]:
        mark, version, size = struct.unpack_from("<4sB3xQ", self._bytes, address)
        if mark != b"GCOL" or version != 1 or address + size > len(self._bytes):
            raise self._damaged("a text of an attribute is missing")
        found, at, end = {}, address + 16, address + size
        while at + _OBJECT.size <= end:
            index, _, length = _OBJECT.unpack_from(self._bytes, at)
            if index == 0:
                break
            if at + _OBJECT.size + length > end or index in found:
                raise self._damaged("a text of an attribute is missing")
            found[index] = (at + _OBJECT.size, length)
            at += _OBJECT.size + _padded(length, 8)
        return found


def _padded(size: int, step: int) -> int:
    return -(-size // step) * step
