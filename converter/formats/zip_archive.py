"""Zip containers (``.pt``, ``.keras``, ``.npz``): members as ranges of the file, and no unpacking.

The standard library of some Python versions accepts members that overlap, and every version takes
two members of one name; both are how a few kilobytes become gigabytes, or how a scanner and a
loader see different files. So :mod:`converter.formats.zip_directory` reads the directory strictly,
and members are handed out here: stored ones are mapped, compressed ones inflated under a limit.
"""

from __future__ import annotations

import os
import tempfile
import threading
import zlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from converter.errors import CheckpointError, CorruptFileError, UnsafeFileError
from converter.formats.source_file import Bytes, SourceFile
from converter.formats.wording import cannot_read, nbytes_text, quoted
from converter.formats.zip_directory import (
    DEFLATED,
    LOCAL,
    STORED,
    STREAMED,
    Member,
    check_members,
    encoded_name,
    find_directory,
    read_directory,
)

BLOCK = 2**20


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
        start, end, count = find_directory(source)
        members = list(read_directory(source, start, end, count))
        check_members(source.path, members, start)
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

    def peek(self, name: str, nbytes: int) -> bytes:
        """Return the first bytes of a member, at most ``nbytes``, without checking its checksum.

        Raises:
            KeyError: If there is no such member.
            CorruptFileError: If it cannot be read that far.
        """
        member = self.members[name]
        if not member.is_compressed:
            return self.source.read(self._content_offset(member), min(nbytes, member.size))
        parts: list[bytes] = []
        for block in self._blocks(member):
            parts.append(block)
            if sum(map(len, parts)) >= nbytes:
                break
        return b"".join(parts)[:nbytes]

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
        raw = self.source.read(member.header_offset, LOCAL.size)
        mark, _, flags, method, _, _, crc, stored, size, name_size, extra_size = LOCAL.unpack(raw)
        after = member.header_offset + LOCAL.size
        if mark != b"PK\3\4":
            raise self._corrupt(member, "it has no local header")
        name = self.source.read(after, min(name_size, self.source.size - after))
        offset = int(after + name_size + extra_size)
        # Bit 3 leaves the sizes out of the local header; zip64 moves them to an extra field.
        sized = not flags & STREAMED and 0xFFFFFFFF not in (stored, size)
        same = (
            name == encoded_name(member.name, member.flags)
            and method == (DEFLATED if member.is_compressed else STORED)
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
