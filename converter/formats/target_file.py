"""A file that is written by position, from several threads.

Its size is reserved before the first value comes, so that a full disk is found out early and not
after an hour. Errors of the system pass through: who knows the target's real place says them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from converter.tensors.dtype import Array

_FLAGS = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)  # Windows
)
_MAX_WRITE = 2**30  # Linux writes at most 2**31 - 4096 bytes at once
# File systems that cannot reserve space; they will say later that the disk is full.
_CANNOT_RESERVE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


class TargetFile:
    """A new file, open for writing and for reading back.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, size: int) -> None:
        """Create the file; it must not be there.

        Args:
            path: Where.
            size: Its size in bytes, as far as it is known; the space is reserved.

        Raises:
            OSError: If it is there, cannot be created, or the disk is full.
        """
        self.path = path
        # The permissions are those of any new file: the user's umask decides.
        self._descriptor = os.open(path, _FLAGS, 0o666)
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._reserve(size)
        except BaseException:
            self.close()
            raise

    def _reserve(self, size: int) -> None:
        if hasattr(os, "posix_fallocate") and size:
            try:
                os.posix_fallocate(self._descriptor, 0, size)
            except OSError as error:
                if error.errno not in _CANNOT_RESERVE:
                    raise

    def write(self, offset: int, data: bytes | Array) -> None:
        """Write bytes, or the bytes of a C-contiguous array, at a position.

        Raises:
            OSError: If the disk is full or the file system refuses.
        """
        rest = memoryview(data if isinstance(data, bytes) else _raw(data))
        while rest:
            written = self._write_some(rest[:_MAX_WRITE], offset)
            rest = rest[written:]
            offset += written

    def _write_some(self, part: memoryview, offset: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self._descriptor, part, offset)
        with self._lock:  # Windows has one position for all threads
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.write(self._descriptor, part)

    def read(self, offset: int, nbytes: int) -> bytes:
        """Return bytes that were written."""
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, nbytes, offset)
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, nbytes)

    def truncate(self, size: int) -> None:
        """Set the size of the file, in bytes."""
        os.ftruncate(self._descriptor, size)

    def move(self, start: int, stop: int, to: int) -> None:
        """Move the bytes from ``start`` to ``stop`` towards the end, to position ``to``."""
        block = 8 * 2**20
        while stop > start:
            count = min(block, stop - start)
            stop -= count
            self.write(to + stop - start, self.read(stop, count))

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: If the file system reports only now that a write failed.
        """
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)

    def abandon(self) -> None:
        """Close the file; what it says no longer matters."""
        with contextlib.suppress(OSError):
            self.close()


def _raw(array: Array) -> Any:
    """Return the bytes of an array without copying them."""
    # ml_dtypes have no buffer format of their own, and rank 0 cannot be viewed as bytes.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
