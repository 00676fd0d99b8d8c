"""Zip containers (``.pt``, ``.keras``, ``.npz``): one reading of the directory, and no unpacking.

The standard library of some Python versions accepts members that overlap, and every version takes
two members of one name; both are how a few kilobytes become gigabytes, or how a scanner and a
loader see different files. The directory is therefore read here, strictly, and members are handed
out as ranges of the file: stored ones are mapped, compressed ones inflated under a limit.

Source: PKWARE APPNOTE 6.3.10, sections 4.3 (records) and 4.5.3 (zip64).
"""

from __future__ import annotations

import os
import struct
import tempfile
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from converter.errors import CheckpointError, CorruptFileError, UnsafeFileError
from converter.formats.source_file import Bytes, SourceFile
from converter.formats.wording import cannot_read, nbytes_text, quoted

MAX_MEMBERS = 200_000
MAX_GROWTH = 100  # times the stored size, above the floor
GROWTH_FLOOR = 64 * 2**20  # honest zeros compress 1000:1, so small members may grow more
BLOCK = 2**20

_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_CENTRAL = struct.Struct("<4s4B4H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")

_STORED, _DEFLATED = 0, 8
_STREAMED = 0x0008  # sizes follow the data, and are not in the local header
_UTF8 = 0x0800
_KNOWN_FLAGS = 0x0006 | _STREAMED | _UTF8  # 1 and 2 tell how hard deflate tried


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a zip, as the directory says it.

    Attributes:
        name: Its path in the archive.
        size: Size of its content, in bytes.
        stored_size: Size as it lies in the file, in bytes.
        is_compressed: Whether it must be inflated.
        crc: CRC-32 of its content; 0 may mean that the writer did not compute it.
        header_offset: Where its local header begins, in bytes from the start of the file.
    """

    name: str
    size: int
    stored_size: int
    is_compressed: bool
    crc: int
    flags: int
    header_offset: int


class ZipArchive:
    """The members of a zip file, checked.

    Attributes:
        source: The file; the caller closes it.
        members: Name to member, in the order of the directory; folders are left out.
    """

    def __init__(self, source: SourceFile) -> None:
        """Read the directory.

        Raises:
            CorruptFileError: If the directory contradicts itself or the file.
            UnsafeFileError: If members overlap, have one name, or would grow absurdly.
        """
        self.source = source
        start, end, count = _find_directory(source)
        members = list(_read_directory(source, start, end, count))
        _check_members(source.path, members, start)
        self.members: Mapping[str, Member] = MappingProxyType(
            {member.name: member for member in members if not member.name.endswith("/")}
        )
        self._end_of_data = start
        self._inflated: dict[str, SourceFile] = {}
        self._verified: set[str] = set()
        self._lock = threading.Lock()

    def locate(self, name: str) -> tuple[int, int]:
        """Return where a stored member's content is: offset and size in bytes.

        Raises:
            KeyError: If there is no such member.
            CheckpointError: If it is compressed.
            CorruptFileError: If its local header says something else than the directory.
        """
        member = self.members[name]
        if member.is_compressed:
            raise CheckpointError(
                cannot_read(self.source.path, f"the member {quoted(name)} is compressed")
            )
        return self._content_offset(member), member.size

    def read(self, name: str, *, max_bytes: int | None = None) -> bytes:
        """Return the content of a small member, with its checksum checked.

        Raises:
            KeyError: If there is no such member.
            UnsafeFileError: If it is larger than ``max_bytes``.
            CorruptFileError: If its content is not what the directory says.
        """
        member = self.members[name]
        if max_bytes is not None and member.size > max_bytes:
            raise UnsafeFileError(
                cannot_read(self.source.path, f"the member {quoted(name)} is too large"),
                facts=[
                    ("expected", f"at most {nbytes_text(max_bytes)}"),
                    ("found", nbytes_text(member.size)),
                ],
            )
        return b"".join(self._content(member))

    def view(self, name: str) -> Bytes:
        """Return the content of a member as a map, with its checksum checked at the first call.

        A compressed member is inflated into an unnamed temporary file, which is mapped.

        Raises:
            KeyError: If there is no such member.
            CorruptFileError: If its content is not what the directory says.
        """
        member = self.members[name]
        if member.is_compressed:
            inflated = self._inflate(member)
            return inflated.view(0, inflated.size)
        self.verify(name)
        return self.source.view(*self.locate(name))

    def open(self, name: str) -> tuple[SourceFile, int, int]:
        """Return a file that holds a member's content, and its offset and size there, in bytes.

        A compressed member is inflated, with its checksum checked; a stored one is only located.

        Raises:
            KeyError: If there is no such member.
            CorruptFileError: If its content is not what the directory says.
        """
        member = self.members[name]
        if member.is_compressed:
            return self._inflate(member), 0, member.size
        return (self.source, *self.locate(name))

    def release(self, name: str) -> None:
        """Give back the memory that views of a member have touched."""
        member = self.members[name]
        if not member.is_compressed:
            self.source.release(*self.locate(name))
        elif name in self._inflated:
            self._inflated[name].release(0, member.size)

    def verify(self, name: str) -> None:
        """Check the checksum of a stored member once; the memory this takes is one block.

        Raises:
            CorruptFileError: If the content is not what was written.
        """
        if name in self._verified:
            return
        for _ in self._content(self.members[name]):
            pass
        self._verified.add(name)

    def close(self) -> None:
        """Remove what was inflated. The file itself stays open."""
        for inflated in self._inflated.values():
            inflated.close()
        self._inflated.clear()

    def _inflate(self, member: Member) -> SourceFile:
        with self._lock:
            if member.name not in self._inflated:
                with tempfile.TemporaryFile() as file:
                    for block in self._content(member):
                        file.write(block)
                    file.flush()
                    self._inflated[member.name] = SourceFile(
                        self.source.path, descriptor=os.dup(file.fileno())
                    )
            return self._inflated[member.name]

    def _content(self, member: Member) -> Iterator[bytes]:
        """Yield a member's content in blocks and check size and checksum at the end."""
        size, crc = 0, 0
        for block in self._blocks(member):
            size += len(block)
            crc = zlib.crc32(block, crc)
            yield block
        # torch.save leaves the checksum 0 when told not to compute it.
        if size != member.size or crc not in (member.crc, member.crc or crc):
            raise self._corrupt(member, "its content does not match its checksum or size")

    def _blocks(self, member: Member) -> Iterator[bytes]:
        offset = self._content_offset(member)
        ends = range(offset, offset + member.stored_size, BLOCK)
        stored = (
            self.source.read(start, min(BLOCK, offset + member.stored_size - start))
            for start in ends
        )
        return self._inflate_blocks(member, stored) if member.is_compressed else stored

    def _inflate_blocks(self, member: Member, stored: Iterator[bytes]) -> Iterator[bytes]:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        left = member.size + 1  # one more than declared shows that the declaration is a lie
        try:
            for data in stored:
                pending = data
                while pending and left and not inflater.eof:
                    block = inflater.decompress(pending, min(left, BLOCK))
                    pending = inflater.unconsumed_tail
                    left -= len(block)
                    yield block
        except zlib.error as error:
            raise self._corrupt(member, f"it cannot be inflated ({error})") from error
        while left and not inflater.eof:
            block = inflater.decompress(b"", min(left, BLOCK))
            if not block:
                break
            left -= len(block)
            yield block
        if not inflater.eof or inflater.unused_data or left != 1:
            raise self._corrupt(member, "it does not inflate to the size it declares")

    def _content_offset(self, member: Member) -> int:
        """Return where the content begins, after checking the local header."""
        raw = self.source.read(member.header_offset, _LOCAL.size)
        mark, _, flags, method, _, _, crc, stored, size, name_size, extra_size = _LOCAL.unpack(raw)
        after = member.header_offset + _LOCAL.size
        if mark != b"PK\3\4":
            raise self._corrupt(member, "it has no local header")
        name = self.source.read(after, min(name_size, self.source.size - after))
        offset = int(after + name_size + extra_size)
        # Bit 3 leaves the sizes out of the local header; zip64 moves them to an extra field.
        sized = not flags & _STREAMED and 0xFFFFFFFF not in (stored, size)
        same = (
            name == _encoded(member.name, member.flags)
            and method == (_DEFLATED if member.is_compressed else _STORED)
            and flags == member.flags
            and (not sized or (crc, stored, size) == (member.crc, member.stored_size, member.size))
        )
        if not same or offset + member.stored_size > self._end_of_data:
            raise self._corrupt(member, "its local header and the directory disagree")
        return offset

    def _corrupt(self, member: Member, why: str) -> CorruptFileError:
        return CorruptFileError(
            cannot_read(self.source.path, f"the member {quoted(member.name)} is damaged: {why}")
        )


def _find_directory(source: SourceFile) -> tuple[int, int, int]:
    """Return start and end of the directory, in bytes, and how many members it has."""
    if source.size < _END.size:
        raise _damaged(source.path, "it is too short")
    end = source.size - _END.size
    mark, disk, first, here, count, size, start, comment = _END.unpack(source.read(end, _END.size))
    if mark != b"PK\5\6" or comment or disk or first or here != count:
        raise _damaged(source.path, "the file ends without the end of a directory")
    locator = end - _END64_LOCATOR.size
    if locator >= 0 and source.read(locator, 4) == b"PK\6\7":
        _, _, at, _ = _END64_LOCATOR.unpack(source.read(locator, _END64_LOCATOR.size))
        end = locator - _END64.size
        if at != end or end < 0:
            raise _damaged(source.path, "the zip64 record is not where its locator says")
        mark, rest, _, _, _, _, _, count, size, start = _END64.unpack(source.read(at, _END64.size))
        if mark != b"PK\6\6" or rest != _END64.size - 12:
            raise _damaged(source.path, "the zip64 record is unreadable")
    if start + size != end:
        raise _damaged(source.path, "the directory is not where its end record says")
    if count > MAX_MEMBERS:
        raise UnsafeFileError(cannot_read(source.path, f"it has {count:,} members"))
    return start, end, count


def _read_directory(source: SourceFile, start: int, end: int, count: int) -> Iterator[Member]:
    raw = source.read(start, end - start)
    position = 0
    for _ in range(count):
        if position + _CENTRAL.size > len(raw):
            raise _damaged(source.path, "the directory ends early")
        fields = _CENTRAL.unpack_from(raw, position)
        flags, method, crc, stored, size = fields[5], fields[6], fields[9], fields[10], fields[11]
        name_size, extra_size, comment_size = fields[12:15]
        attributes, offset = fields[17], fields[18]
        position += _CENTRAL.size
        name = raw[position : position + name_size]
        extra = raw[position + name_size : position + name_size + extra_size]
        position += name_size + extra_size + comment_size
        if fields[0] != b"PK\1\2" or position > len(raw):
            raise _damaged(source.path, "the directory is unreadable")
        size, stored, offset = _zip64(source.path, extra, [size, stored, offset])
        text = _decoded(source.path, name, flags)
        if method not in (_STORED, _DEFLATED) or flags & ~_KNOWN_FLAGS or attributes >> 28 == 0xA:
            raise UnsafeFileError(
                cannot_read(
                    source.path,
                    f"the member {quoted(text)} is encrypted, a link, or of an odd compression",
                )
            )
        yield Member(text, size, stored, method == _DEFLATED, crc, flags, offset)
    if position != len(raw):
        raise _damaged(source.path, "the directory has more members than it says")


def _zip64(path: Path, extra: bytes, values: list[int]) -> list[int]:
    """Replace the values that do not fit 32 bits by those of the zip64 extra field."""
    missing = [index for index, value in enumerate(values) if value == 0xFFFFFFFF]
    position = 0
    while missing and position + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, position)
        if kind == 1:
            if size < 8 * len(missing) or position + 4 + size > len(extra):
                break
            for slot, value in zip(
                missing, struct.unpack_from(f"<{len(missing)}Q", extra, position + 4), strict=True
            ):
                values[slot] = value
            return values
        position += 4 + size
    if missing:
        raise _damaged(path, "a zip64 size is missing")
    return values


def _decoded(path: Path, raw: bytes, flags: int) -> str:
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError as error:
        raise _damaged(path, "a member's name is not UTF-8") from error
    parts = name.removesuffix("/").split("/")
    if any(part in {"", ".", ".."} for part in parts) or any(mark in name for mark in "\\\0"):
        raise UnsafeFileError(cannot_read(path, f"it has a member named {quoted(name)}"))
    return name


def _encoded(name: str, flags: int) -> bytes:
    return name.encode("utf-8" if flags & _UTF8 else "cp437")


def _check_members(path: Path, members: list[Member], end_of_data: int) -> None:
    names: set[str] = set()
    position, total = 0, 0
    for member in sorted(members, key=lambda one: one.header_offset):
        if member.name in names:
            raise UnsafeFileError(cannot_read(path, f"two members are named {quoted(member.name)}"))
        names.add(member.name)
        if member.header_offset < position:
            raise UnsafeFileError(
                cannot_read(path, f"the member {quoted(member.name)} overlaps another one")
            )
        if not member.is_compressed and member.size != member.stored_size:
            raise _damaged(path, f"the member {quoted(member.name)} has two sizes")
        position = member.header_offset + _LOCAL.size + len(member.name) + member.stored_size
        total += member.size
    if position > end_of_data:
        raise _damaged(path, "a member runs into the directory")
    if total > GROWTH_FLOOR and total > MAX_GROWTH * max(end_of_data, 1):
        raise UnsafeFileError(
            cannot_read(path, "it would grow absurdly when inflated"),
            facts=[("stored", nbytes_text(end_of_data)), ("inflated", nbytes_text(total))],
        )


def _damaged(path: Path, why: str) -> CorruptFileError:
    return CorruptFileError(cannot_read(path, f"the zip archive is damaged: {why}"))
