"""The one way in which a file is opened for reading.

A path may name a pipe that blocks, a device that never ends or a link to somewhere else, and a
file may change while it is read. So a file is opened once, checked through its descriptor, and
read through that descriptor only: by position, or as read-only memory maps whose pages can be
given back. Files that another file names are opened by :mod:`converter.formats.beside`.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import stat
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from converter.errors import CheckpointError, CorruptFileError, UnsafeFileError
from converter.formats.strict_json import strict_json
from converter.formats.wording import cannot_read, nbytes_text, quoted

__all__ = ["MAX_JSON_BYTES", "OPEN_FLAGS", "SourceFile", "Window", "cannot_open", "strict_json"]

Bytes = npt.NDArray[np.uint8]

MAX_JSON_BYTES = 64 * 2**20

OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a named pipe would block the open itself
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)  # Windows
)


class SourceFile:
    """A regular file, open for reading.

    Safe for several threads at once. Use as a context manager, or call :meth:`close`.

    Attributes:
        path: As given.
        size: Size in bytes when it was opened.
    """

    def __init__(
        self, path: str | Path, *, max_bytes: int | None = None, descriptor: int | None = None
    ) -> None:
        """Open ``path``, which may be a link to a file.

        Args:
            path: The file.
            max_bytes: The largest size this kind of file can have, or ``None``.
            descriptor: An open file to take over; ``path`` is for messages only then.

        Raises:
            CheckpointError: If it cannot be opened or is a folder.
            UnsafeFileError: If it is a pipe, a socket or a device, or larger than ``max_bytes``.
        """
        self.path = Path(path)
        try:
            opened = os.open(self.path, OPEN_FLAGS) if descriptor is None else descriptor
        except OSError as error:
            raise cannot_open(self.path, error) from error
        try:
            status = os.fstat(opened)
            _check_regular(self.path, status, max_bytes)
        except BaseException:
            os.close(opened)
            raise
        self.size = status.st_size
        self._identity = (status.st_dev, status.st_ino)
        self._descriptor = opened
        self._map: mmap.mmap | None = None
        self._lock = threading.Lock()
        self._closed = False

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode: equal for two names of one file."""
        return self._identity

    def fileno(self) -> int:
        """Return the descriptor, for a process that is given the file."""
        return self._descriptor

    def read(self, offset: int, nbytes: int) -> bytes:
        """Return ``nbytes`` bytes from position ``offset``.

        Raises:
            CorruptFileError: If the range is not inside the file, or the file became shorter.
        """
        self._check_range(offset, nbytes)
        parts: list[bytes] = []
        while nbytes:
            part = self._read_some(offset, nbytes)
            if not part:
                raise self._shortened()
            parts.append(part)
            offset += len(part)
            nbytes -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_some(self, offset: int, nbytes: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, min(nbytes, 2**30), offset)
        with self._lock:  # Windows has one position for all threads
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, min(nbytes, 2**30))

    def view(self, offset: int, nbytes: int) -> Bytes:
        """Return ``nbytes`` bytes from position ``offset`` as a read-only memory map.

        Nothing is read before it is used. The array stays valid after :meth:`close` as long as
        somebody holds it.

        Raises:
            CorruptFileError: If the range is not inside the file, or the file became shorter.
        """
        self._check_range(offset, nbytes)
        if nbytes == 0:
            empty = np.empty(0, dtype=np.uint8)
            empty.flags.writeable = False
            return empty
        if os.fstat(self._descriptor).st_size < offset + nbytes:
            raise self._shortened()  # touching the map would kill the process (SIGBUS)
        return np.frombuffer(self._mapped(), dtype=np.uint8, count=nbytes, offset=offset)

    def _mapped(self) -> mmap.mmap:
        with self._lock:
            if self._map is None:
                self._map = mmap.mmap(self._descriptor, self.size, access=mmap.ACCESS_READ)
            return self._map

    def release(self, offset: int, nbytes: int) -> None:
        """Give back the memory that views of this range have touched.

        The views stay valid: what is used again is read again. Whole pages are dropped, also the
        first and last one that the range shares with its neighbours.
        """
        self._check_range(offset, nbytes)
        mapped = self._map
        if mapped is None or nbytes == 0 or not hasattr(mmap, "MADV_DONTNEED"):
            return
        start = offset - offset % mmap.PAGESIZE
        mapped.madvise(mmap.MADV_DONTNEED, start, offset + nbytes - start)

    def window(self, offset: int = 0, length: int | None = None) -> Window:
        """Return part of the file as a binary file object of its own position.

        Raises:
            CorruptFileError: If the range is not inside the file.
        """
        length = self.size - offset if length is None else length
        self._check_range(offset, length)
        return Window(self, offset, length)

    def close(self) -> None:
        """Close the file. Views that somebody holds stay valid; windows do not."""
        if self._closed:
            return
        self._closed = True
        mapped, self._map = self._map, None
        if mapped is not None:
            with contextlib.suppress(BufferError):  # views are in use; the map goes with them
                mapped.close()
        os.close(self._descriptor)

    def _check_range(self, offset: int, nbytes: int) -> None:
        if self._closed:
            raise ValueError(f"{quoted(self.path.name)} is closed")
        if offset < 0 or nbytes < 0 or offset + nbytes > self.size:
            raise CorruptFileError(
                cannot_read(self.path, "the file ends before what it says it holds"),
                facts=[
                    ("expected", f"{nbytes_text(nbytes)} at byte {offset:,}"),
                    ("found", f"a file of {nbytes_text(self.size)}"),
                ],
            )

    def _shortened(self) -> CorruptFileError:
        return CorruptFileError(cannot_read(self.path, "the file became shorter while it was read"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Window(io.RawIOBase):
    """A range of a file as a read-only, seekable file object; h5py and zipfile take it."""

    def __init__(self, source: SourceFile, offset: int, length: int) -> None:
        """Show ``length`` bytes of ``source`` from ``offset``; the caller checked the range."""
        super().__init__()
        self._source = source
        self._offset = offset
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true."""
        return True

    def tell(self) -> int:
        """Return the position, in bytes from the start of the window."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position; past the end is allowed, before the start is not."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        if start + offset < 0:
            raise ValueError(f"negative position {start + offset}")
        self._position = start + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes, all that is left when negative."""
        left = max(self._length - self._position, 0)
        count = left if size is None or size < 0 else min(size, left)
        data = self._source.read(self._offset + self._position, count) if count else b""
        self._position += count
        return data

    def readall(self) -> bytes:
        """Return all that is left."""
        return self.read()

    def readinto(self, buffer: Any, /) -> int:
        """Fill ``buffer`` as far as the window goes and return how many bytes were read."""
        target = memoryview(buffer).cast("B")
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)


def _check_regular(path: Path, status: os.stat_result, max_bytes: int | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise CheckpointError(cannot_read(path, "it is a folder"))
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeFileError(cannot_read(path, "it is not a regular file"))
    if max_bytes is not None and status.st_size > max_bytes:
        raise UnsafeFileError(
            cannot_read(path, "it is too large for this kind of file"),
            facts=[
                ("expected", f"at most {nbytes_text(max_bytes)}"),
                ("found", nbytes_text(status.st_size)),
            ],
        )


def cannot_open(path: Path, error: OSError) -> CheckpointError:
    """Return the error of our own for a file that the system does not open."""
    if isinstance(error, FileNotFoundError):
        why = "there is no such file"
    elif isinstance(error, PermissionError):
        why = "it may not be read"
    else:
        why = os.strerror(error.errno) if error.errno else str(error)
    return CheckpointError(cannot_read(path, why), facts=[("path", str(path))])
