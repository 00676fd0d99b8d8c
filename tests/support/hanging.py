"""A guard against work that would never end: no measure of speed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def processor_seconds() -> float:
    """Return the processor time of this process and of the children that ended.

    A file may cost ten seconds of it, and no busy machine makes that more.
    """
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


@contextmanager
def no_hang(seconds: float = 60) -> Iterator[None]:
    """Fail where quadratic or exponential work would take minutes.

    Counts the processor time of this process, so that a busy machine changes nothing, and allows
    many times what is needed.

    Args:
        seconds: Of processor time.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no end after {seconds} seconds of processor time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
