"""Finished files get their final names: one file in one step, several so that none are mixed.

A single file is renamed over the old one, which the file system does in one step. Several files
(shards and their index) cannot be. So the old files are first moved aside, the index foremost,
then the new ones take their names, the index last: at every moment the index is that of complete
old files, or of complete new ones, or there is none. What is being done is written down before
it begins, so that an error, or the next run after a crash, puts the old files back.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

JOURNAL = "placing.json"
PREVIOUS = "previous"


class _Journal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is about to be placed.

    Attributes:
        names: Files in the order in which they take their final names.
        identities: Device and inode of each new file: only a file that is ours is taken back.
    """

    names: tuple[str, ...]
    identities: tuple[tuple[int, int], ...]


def place(files: Path, names: Sequence[str], target: Path, *, replace: bool) -> None:
    """Move complete files from a temporary folder to the folder of ``target``.

    Args:
        files: Where they are now, on the same file system.
        names: Their names, the file that names the others last.
        target: What the user named. Where no file has this name (shards), an old file that has it
            goes away, or a loader would find that one first.
        replace: Whether old files may be replaced.

    Raises:
        FileExistsError: If there is a file of this name and ``replace`` is false.
        OSError: If the system refuses; the old files are in their places then.
    """
    into = target.parent
    obsolete = [] if target.name in names or not target.is_file() else [target.name]
    if len(names) == 1 and not obsolete:
        _rename(files / names[0], into / names[0], replace=replace)
        return
    control = files.parent
    _write_journal(control, files, names)
    try:
        if replace:
            _move_aside([*names, *obsolete], into, control / PREVIOUS)
        for name in names:
            _rename(files / name, into / name, replace=replace)
    except BaseException:
        undo(control, into)
        raise


def undo(control: Path, into: Path) -> None:
    """Put old files back where several files were being placed and not all were.

    Does nothing where nothing was begun, or all files have their names.

    Args:
        control: The temporary folder with the journal.
        into: The folder of the final names.
    """
    try:
        journal = msgspec.json.decode((control / JOURNAL).read_bytes(), type=_Journal)
    except (OSError, msgspec.MsgspecError):
        return
    if len(journal.names) != len(journal.identities) or not all(map(_is_plain, journal.names)):
        return  # not written by us
    placed = [
        _identity(into / name) == identity
        for name, identity in zip(journal.names, journal.identities, strict=True)
    ]
    if not placed or placed[-1]:
        return
    for name, is_ours in zip(journal.names, placed, strict=True):
        if is_ours:
            (into / name).unlink()
    previous = control / PREVIOUS
    # The index, which was moved aside first, comes back last.
    for name in sorted(_files_in(previous), key=lambda name: name == journal.names[-1]):
        if not os.path.lexists(into / name):
            (previous / name).rename(into / name)


def sync_file(path: Path) -> None:
    """Bring a file's values to the disk.

    Raises:
        OSError: If the disk did not take them; they are not safe then.
    """
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))  # Windows: not read-only
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk, where the file system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    # Several file systems (FUSE, SMB) refuse this for folders; the files themselves are safe.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_journal(control: Path, files: Path, names: Sequence[str]) -> None:
    identities = tuple(_identity(files / name) or (0, 0) for name in names)
    path = control / JOURNAL
    path.write_bytes(msgspec.json.encode(_Journal(tuple(names), identities)))
    (control / PREVIOUS).mkdir()
    sync_file(path)
    sync_folder(control)


def _move_aside(names: Sequence[str], into: Path, previous: Path) -> None:
    for name in reversed(names):
        with contextlib.suppress(FileNotFoundError):
            (into / name).rename(previous / name)


def _rename(path: Path, final: Path, *, replace: bool) -> None:
    if replace:
        path.replace(final)
        return
    try:
        os.link(path, final)  # unlike a rename, refuses a name that is taken
    except FileExistsError:
        raise
    except OSError:  # no hard links here (exFAT, some FUSE)
        if os.path.lexists(final):
            raise FileExistsError(final) from None
        path.rename(final)
    else:
        path.unlink()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_plain(name: str) -> bool:
    return bool(name) and name not in {".", ".."} and not set(name) & {"/", "\\", "\0"}


def _files_in(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
