"""Start programs that hear a signal, however the tests themselves were started."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heard(number: int) -> Iterator[None]:
    """Let a program that is started inside hear a signal.

    What nohup or a shell in the background starts is told to ignore some signals, and hands that
    on to what it starts itself. A signal with a handler has the default again in a new program.
    """
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)
