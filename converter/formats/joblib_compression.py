"""Pickles that joblib compressed: zlib, gzip and lz4, inflated into a temporary file under a limit.

A compressed stream does not say how large it becomes. It may grow to 64 MiB, or else to a hundred
times its size; more is what no weights do. bzip2 and LZMA are refused: 1,500 bytes of bzip2 can be
two gigabytes, and no ratio tells them from honest ones.

Source: joblib 1.6 ``joblib/compressor.py``; RFC 1950 and RFC 1952; the LZ4 frame format 1.6.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any

from converter._optional import require
from converter.errors import CorruptFileError, UnsafeFileError, UnsupportedFileError
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read, nbytes_text

MAX_GROWTH = 100
GROWTH_FLOOR = 64 * 2**20
BLOCK = 2**20
_REFUSED = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"]\0\0": "LZMA"}


def compression_of(head: bytes) -> str | None:
    r"""Return how a file that begins so is compressed, or ``None``.

    Examples:
        >>> compression_of(b"\x78\x9c and more"), compression_of(b"PK")
        ('zlib', None)
    """
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[:4] == b"\x04\x22\x4d\x18" and len(head) > 4 and head[4] >> 6 == 1:
        return "lz4"
    if len(head) > 1 and head[0] == 0x78 and int.from_bytes(head[:2], "big") % 31 == 0:
        return "zlib"
    return next((name for magic, name in _REFUSED.items() if head.startswith(magic)), None)


def inflated_head(source: SourceFile, kind: str, nbytes: int) -> bytes:
    """Return the first bytes of what is inside, none where it is damaged.

    Raises:
        UnsupportedFileError: If it is compressed with bzip2 or LZMA.
    """
    _refuse(source, kind)
    found = b""
    try:
        for block in _blocks(source, kind):
            found += block
            if len(found) >= nbytes:
                break
    except CorruptFileError:
        pass
    return found[:nbytes]


def inflate(source: SourceFile, kind: str) -> SourceFile:
    """Return a temporary file that holds what is inside; the caller closes both.

    Raises:
        CorruptFileError: If it cannot be inflated, ends early, or goes on afterwards.
        MissingDependencyError: If it is compressed with lz4, which is not installed.
        UnsafeFileError: If it grows absurdly.
        UnsupportedFileError: If it is compressed with bzip2 or LZMA.
    """
    _refuse(source, kind)
    limit = max(GROWTH_FLOOR, MAX_GROWTH * source.size)
    size = 0
    with tempfile.TemporaryFile() as file:
        for block in _blocks(source, kind):
            size += len(block)
            if size > limit:
                raise UnsafeFileError(
                    cannot_read(source.path, "it grows absurdly when it is inflated"),
                    facts=[
                        ("expected", f"at most {nbytes_text(limit)}"),
                        ("found", f"{nbytes_text(source.size)} compressed"),
                    ],
                )
            file.write(block)
        file.flush()
        return SourceFile(source.path, descriptor=os.dup(file.fileno()))


def _refuse(source: SourceFile, kind: str) -> None:
    if kind in _REFUSED.values():
        raise UnsupportedFileError(
            cannot_read(source.path, f"it is compressed with {kind}, which is not read"),
            hint="decompress it, or dump it again with joblib.dump(weights, file, compress=0)",
        )


def _blocks(source: SourceFile, kind: str) -> Iterator[bytes]:
    """Yield the content in blocks; damage is an error when it is reached."""
    if kind == "lz4":
        require("lz4", why=cannot_read(source.path, "it is compressed"), extra="lz4")
        return _inflated(source, _Lz4(), (RuntimeError, ValueError, EOFError))
    return _inflated(source, _Zlib(kind), (zlib.error,))


def _inflated(
    source: SourceFile, inflater: _Zlib | _Lz4, failures: tuple[type[Exception], ...]
) -> Iterator[bytes]:
    position = 0
    while not inflater.eof:
        data = b""
        if inflater.needs_input:
            data = source.read(position, min(BLOCK, source.size - position))
            position += len(data)
        try:
            block = inflater.decompress(data)
        except failures as error:
            raise _damaged(source, str(error)) from error
        if not block and not data and not inflater.eof:
            raise _damaged(source, "it ends early")
        yield block
    if inflater.unused or position != source.size:
        raise _damaged(source, "something follows its end")


class _Zlib:
    """Inflates zlib and gzip, at most a block at a time."""

    def __init__(self, kind: str) -> None:
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | (16 if kind == "gzip" else 0))

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def unused(self) -> bool:
        return bool(self._inflater.unused_data)

    @property
    def needs_input(self) -> bool:
        return not self._inflater.unconsumed_tail

    def decompress(self, data: bytes) -> bytes:
        return self._inflater.decompress(data or self._inflater.unconsumed_tail, BLOCK)


class _Lz4:
    """Inflates lz4 frames, at most a block at a time."""

    def __init__(self) -> None:
        from lz4.frame import LZ4FrameDecompressor

        self._inflater: Any = LZ4FrameDecompressor()

    @property
    def eof(self) -> bool:
        return bool(self._inflater.eof)

    @property
    def unused(self) -> bool:
        return bool(self._inflater.unused_data)

    @property
    def needs_input(self) -> bool:
        return bool(self._inflater.needs_input)

    def decompress(self, data: bytes) -> bytes:
        return bytes(self._inflater.decompress(data, BLOCK))


def _damaged(source: SourceFile, why: str) -> CorruptFileError:
    return CorruptFileError(cannot_read(source.path, f"its compressed content is damaged: {why}"))
