"""Written values go to the disk while the next ones are computed, not all at the end.

The system would keep them in memory until the final fsync, and the disk would idle until then. On
a two-core machine 553 MB take half the time this way. It changes nothing about safety: every file
is still synced before it gets its name.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

FLUSH_BYTES = 32 * 2**20


class EarlyFlush:
    """Flushes the files of a folder again and again, as a context manager.

    Does nothing where the system has no such call (Windows).
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder whose files are being written."""
        self._folder = folder
        self._waiting = 0
        self._stopped = False
        self._changed = threading.Condition()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="converter-flush", daemon=True)

    def wrote(self, nbytes: int) -> None:
        """Say that so many bytes more were written."""
        with self._changed:
            self._waiting += nbytes
            if self._waiting >= FLUSH_BYTES:
                self._changed.notify()

    def check(self) -> None:
        """Raise what the disk said; the system tells it only once, so a later fsync would not.

        Raises:
            OSError: If values did not reach the disk.
        """
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        if os.name != "nt":
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while self._wait():
                for path in self._folder.iterdir():
                    _flush(path)
        except OSError as error:
            self._error = error

    def _wait(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._waiting >= FLUSH_BYTES)
            self._waiting = 0
            return not self._stopped


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # Not on macOS, whose fsync does not wait for the disk itself and so is as quick.
        getattr(os, "fdatasync", os.fsync)(descriptor)
    finally:
        os.close(descriptor)
