"""Mapped source pages are given back before they fill the memory.

Reading a memory map makes its pages count as memory of this process. Between blocks they are given
back by the executor, but a permuted block of a large tensor touches pages all over its source, and
the kernel maps the neighbours of a touched page as well: one block can make a whole tensor
resident. So a thread looks at the resident pages of files many times a second and gives back those
of the sources in use when they pass a limit. What is still needed is mapped again from the page
cache; no value can change.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_STATM = Path("/proc/self/statm")
_INTERVAL_SECONDS = 0.005


class ResidencyGuard:
    """Keeps the resident pages of files under a limit, as a context manager.

    Does nothing where the system does not tell how many there are (all but Linux).
    """

    def __init__(self, release: Callable[[], None], limit: int) -> None:
        """Take what gives pages back, and the limit in bytes."""
        self._release = release
        self._limit = limit
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if find_mapped_bytes() is not None:
            self._thread = threading.Thread(
                target=self._watch, name="converter-residency", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        # Libraries are mapped files too; they are not ours to give back.
        base = find_mapped_bytes() or 0
        while not self._stop.wait(_INTERVAL_SECONDS):
            if (find_mapped_bytes() or 0) - base > self._limit:
                self._release()


def find_mapped_bytes() -> int | None:
    """Return the resident bytes of mapped files of this process, or ``None`` where unknown.

    Source: Linux ``Documentation/filesystems/proc.rst``, ``/proc/PID/statm``, third field.
    """
    try:
        return int(_STATM.read_bytes().split()[2]) * mmap.PAGESIZE
    except (OSError, IndexError, ValueError):
        return None
