"""The directory of a zip: which members there are and where, read one way or not at all.

Source: PKWARE APPNOTE 6.3.10, sections 4.3 (records) and 4.5.3 (zip64).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from converter.errors import CorruptFileError, UnsafeFileError
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read, nbytes_text, quoted

MAX_MEMBERS = 200_000
MAX_GROWTH = 100  # times the stored size, above the floor
GROWTH_FLOOR = 64 * 2**20  # honest zeros compress 1000:1, so small members may grow more

STORED, DEFLATED = 0, 8
STREAMED = 0x0008  # sizes follow the data, and are not in the local header
UTF8 = 0x0800
_KNOWN_FLAGS = 0x0006 | STREAMED | UTF8  # 1 and 2 tell how hard deflate tried

LOCAL = struct.Struct("<4s5H3I2H")
_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_CENTRAL = struct.Struct("<4s4B4H3I5H2I")


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


def find_directory(source: SourceFile) -> tuple[int, int, int]:
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


def read_directory(source: SourceFile, start: int, end: int, count: int) -> Iterator[Member]:
    """Yield the members of a directory from ``start`` to ``end``, as they stand there."""
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
        if method not in (STORED, DEFLATED) or flags & ~_KNOWN_FLAGS or attributes >> 28 == 0xA:
            raise UnsafeFileError(
                cannot_read(
                    source.path,
                    f"the member {quoted(text)} is encrypted, a link, or of an odd compression",
                )
            )
        yield Member(text, size, stored, method == DEFLATED, crc, flags, offset)
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
        name = raw.decode("utf-8" if flags & UTF8 else "cp437")
    except UnicodeDecodeError as error:
        raise _damaged(path, "a member's name is not UTF-8") from error
    parts = name.removesuffix("/").split("/")
    if any(part in {"", ".", ".."} for part in parts) or any(mark in name for mark in "\\\0"):
        raise UnsafeFileError(cannot_read(path, f"it has a member named {quoted(name)}"))
    return name


def encoded_name(name: str, flags: int) -> bytes:
    """Return a name as it stands in the file."""
    return name.encode("utf-8" if flags & UTF8 else "cp437")


def check_members(path: Path, members: list[Member], end_of_data: int) -> None:
    """Refuse members of one name, members that overlap, and absurd growth.

    Raises:
        CorruptFileError: If sizes contradict each other.
        UnsafeFileError: If a member is there twice, overlaps another, or all would grow absurdly.
    """
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
        position = member.header_offset + LOCAL.size + len(member.name) + member.stored_size
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
