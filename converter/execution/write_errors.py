"""What the system says when it does not write, as one clear error of our own.

Kept apart from the writing so that every place that touches the target's folder (the lock, the
temporary folder, the writer, the renames) says the same thing in the same words.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from converter.errors import ConverterError, WriteError
from converter.formats.wording import nbytes_text, quoted

NOTHING = "nothing"

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "the folder may not be written to",
    errno.EPERM: "the folder may not be written to",
    errno.EFBIG: "the file would be larger than the system allows",
    errno.EIO: "the disk reports an error",
    errno.ENAMETOOLONG: "the name is too long",
}
if hasattr(errno, "EDQUOT"):  # not on Windows
    _REASONS[errno.EDQUOT] = "the disk quota is used up"

_ABOUT_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def cannot_write(target: Path, why: str) -> str:
    """Return the first line of every message about a target.

    Examples:
        >>> cannot_write(Path("a/b.pt"), "the disk is full")
        "cannot write 'b.pt': the disk is full"
    """
    return f"cannot write {quoted(target.name)}: {why}"


def write_error(error: OSError, target: Path, *, needed: int | None = None) -> WriteError:
    """Return the error of our own for a call of the system that failed.

    Args:
        error: What the system said.
        target: The target as the user named it.
        needed: Size of the whole target in bytes, where it is known.
    """
    why = _REASONS.get(error.errno or 0) or os.strerror(error.errno or 0)
    if not error.errno:
        why = str(error) or type(error).__name__
    facts = [("folder", str(target.parent))]
    if error.errno in _ABOUT_SPACE:
        facts += space_facts(target.parent, needed)
    return WriteError(cannot_write(target, why), facts=facts, written=NOTHING)


def space_facts(folder: Path, needed: int | None) -> list[tuple[str, str]]:
    """Return how much is needed and how much is free, as far as both are known."""
    facts = [] if needed is None else [("needed", nbytes_text(needed))]
    free = find_free_bytes(folder)
    return facts if free is None else [*facts, ("free", nbytes_text(free))]


def find_free_bytes(folder: Path) -> int | None:
    """Return the free bytes of a folder's file system, or ``None`` where it does not say."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None


def mark_unwritten(error: ConverterError) -> None:
    """Let an error of a conversion say that nothing was written, unless it says more already."""
    if error.written is None:
        error.written = NOTHING
