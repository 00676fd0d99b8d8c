"""A zip archive of stored members whose sizes are known before, written by position.

So the values of a ``.npz`` or ``.pt`` stream from several threads into their final places, aligned
as maps want it. Only the checksums come last; each is computed while its member is written.

Source: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.3; PyTorch 2.13
``caffe2/serialize/inline_container.cc``, ``detail::getPadding`` (padding in the extra field).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converter.formats.target_file import TargetFile
from converter.formats.zip_directory import LOCAL, UTF8
from converter.tensors.dtype import Array

ALIGNMENT = 64
_READ_BYTES = 2**20
_PADDING = 0x4246  # "FB", as PyTorch marks it
_TOO_LARGE = 0xFFFFFFFF
_DATE = 0x21  # 1 January 1980, so that equal content gives equal files
_VERSION, _VERSION64 = 20, 45

_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_END64_LOCATOR = struct.Struct("<4sIQI")


@dataclass(slots=True)
class _Member:
    name: bytes
    size: int
    header: int
    content: int
    extra: bytes
    crc: int = 0
    done: int = 0
    in_order: bool = True


class ZipTarget:
    """A new zip archive; every member's content begins at a multiple of 64 bytes."""

    def __init__(self, path: Path, members: Sequence[tuple[str, int]]) -> None:
        """Create the file and reserve its space.

        Args:
            path: Where; it must not be there.
            members: Name and size in bytes of each member, in the order of the file.

        Raises:
            OSError: If it cannot be created or the disk is full.
        """
        self._members: dict[str, _Member] = {}
        position = 0
        for name, size in members:
            member = _place(name.encode(), size, position)
            self._members[name] = member
            position = member.content + size
        self._directory = position
        self.file = TargetFile(path, position + len(self._directory_bytes()))

    def write(self, name: str, offset: int, data: bytes | Array) -> None:
        """Write part of a member, ``offset`` bytes from the start of its content.

        Raises:
            OSError: If the disk is full or the file system refuses.
        """
        member = self._members[name]
        self.file.write(member.content + offset, data)
        raw = data if isinstance(data, bytes) else data.reshape(-1).view(np.uint8).data
        member.in_order &= offset == member.done
        if member.in_order:
            member.crc = zlib.crc32(raw, member.crc)
            member.done += len(raw)

    def append(self, name: str, data: bytes) -> None:
        """Add a member whose content is known only now, after all others.

        Raises:
            OSError: If the disk is full or the file system refuses.
        """
        member = _place(name.encode(), len(data), self._directory)
        self._members[name] = member
        self._directory = member.content + member.size
        self.write(name, 0, data)

    def finish(self) -> None:
        """Write headers and directory, and close the file.

        Raises:
            OSError: If the disk is full or the file system refuses.
        """
        for member in self._members.values():
            if not member.in_order or member.done != member.size:
                member.crc = self._checksum(member)
            self.file.write(member.header, _local(member))
        directory = self._directory_bytes()
        self.file.write(self._directory, directory)
        self.file.truncate(self._directory + len(directory))
        self.file.close()

    def _checksum(self, member: _Member) -> int:
        """Read back what was not written from first to last."""
        crc = 0
        for start in range(0, member.size, _READ_BYTES):
            count = min(_READ_BYTES, member.size - start)
            crc = zlib.crc32(self.file.read(member.content + start, count), crc)
        return crc

    def _directory_bytes(self) -> bytes:
        entries = b"".join(map(_central, self._members.values()))
        count, start = len(self._members), self._directory
        end = b""
        if count >= 0xFFFF or start + len(entries) >= _TOO_LARGE:
            at = start + len(entries)
            end = _END64.pack(
                b"PK\6\6", _END64.size - 12, _VERSION64, _VERSION64, 0, 0, count, count,
                len(entries), start,
            )  # fmt: skip
            end += _END64_LOCATOR.pack(b"PK\6\7", 0, at, 1)
            count, start = min(count, 0xFFFF), min(start, _TOO_LARGE)
        size = min(len(entries), _TOO_LARGE)
        return entries + end + _END.pack(b"PK\5\6", 0, 0, count, count, size, start, 0)


def _place(name: bytes, size: int, position: int) -> _Member:
    """Return where a member goes whose local header begins at ``position``."""
    extra = struct.pack("<2H2Q", 1, 16, size, size) if size >= _TOO_LARGE else b""
    start = position + LOCAL.size + len(name) + len(extra) + 4
    padding = -start % ALIGNMENT
    extra += struct.pack("<2H", _PADDING, padding) + b"Z" * padding
    return _Member(name, size, position, start + padding, extra)


def _local(member: _Member) -> bytes:
    is_large = member.size >= _TOO_LARGE
    size = min(member.size, _TOO_LARGE)
    fixed = LOCAL.pack(
        b"PK\3\4", _VERSION64 if is_large else _VERSION, UTF8, 0, 0, _DATE, member.crc, size, size,
        len(member.name), len(member.extra),
    )  # fmt: skip
    return fixed + member.name + member.extra


def _central(member: _Member) -> bytes:
    large = [value for value in (member.size, member.size) if value >= _TOO_LARGE]
    large += [member.header] if member.header >= _TOO_LARGE else []
    extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    version = _VERSION64 if large else _VERSION
    size = min(member.size, _TOO_LARGE)
    fixed = _CENTRAL.pack(
        b"PK\1\2", version, version, UTF8, 0, 0, _DATE, member.crc, size, size, len(member.name),
        len(extra), 0, 0, 0, 0, min(member.header, _TOO_LARGE),
    )  # fmt: skip
    return fixed + member.name + extra
