"""What a command of ours does about memory that it has freed: the system gets it back at once.

The C library keeps freed blocks of up to 32 MiB for later, for each thread apart; the blocks of a
large conversion, freed, were 100 MB of its 274 MB. Only a command decides this, as it concerns the
whole process: a program that imports the package may want another policy.

Source: glibc 2.36 ``malloc/malloc.c``: M_MMAP_THRESHOLD, and DEFAULT_MMAP_THRESHOLD_MAX, up to
which it grows by itself until it is set.
"""

from __future__ import annotations

import contextlib
import sys

_M_MMAP_THRESHOLD = -3
_THRESHOLD = 2**20  # bytes; what is larger is mapped for itself, and unmapped when it is freed


def return_what_is_freed() -> None:
    """Let large blocks go back to the system when they are freed, where the C library is glibc."""
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(AttributeError, OSError):  # another C library has no mallopt
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _THRESHOLD)
