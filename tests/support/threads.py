"""Which threads a test has left behind; those of frameworks that were there before do not count."""

from __future__ import annotations

import threading

_before: set[threading.Thread] = set()


def remember() -> None:
    """Note the threads that are there when a test begins."""
    _before.clear()
    _before.update(threading.enumerate())


def left_threads() -> list[str]:
    """Return the names of threads that came since then and are still there."""
    return [thread.name for thread in threading.enumerate() if thread not in _before]
