"""Where a target is written until it is complete, and what is checked before it begins.

A target is written into a temporary folder beside it and gets its name when every value is on the
disk, so that an interrupted run leaves the old file as it was. One target has one writer at a
time. A temporary folder belongs to a process as long as that process holds the lock inside it;
one that nobody holds was left by a crash and is removed by the next run (the process number in
its name is for people: numbers are used again, and those of another machine mean nothing here).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from converter.errors import TargetExistsError, WriteError
from converter.execution.placing import place, sync_file, sync_folder, undo
from converter.execution.write_errors import (
    NOTHING,
    cannot_write,
    find_free_bytes,
    space_facts,
    write_error,
)
from converter.formats.wording import quoted

if TYPE_CHECKING:
    from filelock import BaseFileLock

PREFIX = ".weightferry-"
_HELD = "held"
_FILES = "files"


class StagedTarget:
    """A target being written, as a context manager.

    Write complete files into :attr:`folder`, then :meth:`commit` them. Whatever leaves the
    context without that, also Ctrl-C and SIGTERM, leaves nothing behind.

    Attributes:
        target: The target, its folder resolved.
        folder: The temporary folder for the files; exists inside the context only.
    """

    def __init__(
        self,
        target: Path,
        *,
        sources: Iterable[Path] = (),
        needed: int | None = None,
        force: bool = False,
    ) -> None:
        """Take notes; nothing is checked before the context is entered.

        Args:
            target: The file to write, as the user named it.
            sources: Files that are read, none of which may be written over.
            needed: Size of the target in bytes, where it is known.
            force: Whether a file of this name may be replaced.
        """
        self.target = Path(target)
        self._sources = tuple(sources)
        self._needed = needed
        self._force = force
        self._stack = contextlib.ExitStack()
        self.folder = self.target.parent

    def __enter__(self) -> Self:
        """Check the target, lock it and make the temporary folder.

        Raises:
            TargetExistsError: If there is such a file and ``force`` is false.
            WriteError: If the target is a folder, a link, a source, or no regular file; if its
                folder is missing, full or read-only; if another conversion writes to it now.
        """
        self.target = _resolve(self.target)
        self._check_name(self.target.name)
        with contextlib.ExitStack() as stack, self._own_errors():
            stack.enter_context(_termination_raises())
            stack.callback(_release, _lock(self.target))
            remove_leftovers(self.target.parent)
            self._check_name(self.target.name)  # again: now nobody else of us writes to it
            self._check_space()
            self.folder = _make_folder(self.target.parent, stack)
            self._stack = stack.pop_all()
        return self

    def claim(self, names: Iterable[str]) -> None:
        """Check final names as soon as they are known, before anything costly is done.

        Raises:
            TargetExistsError: If one is there already and ``force`` was not given.
            WriteError: If one is a folder, a link or a source.
        """
        for name in names:
            self._check_name(name)

    def commit(self, names: Sequence[str]) -> tuple[Path, ...]:
        """Bring complete files to the disk and give them their names.

        Args:
            names: Files in :attr:`folder`, the one that names the others (an index) last.

        Returns:
            Their paths, in the same order.

        Raises:
            WriteError: If the disk does not take them, or a name was taken meanwhile; the old
                files are in their places then.
        """
        self.claim(names)
        parent = self.target.parent
        with self._own_errors():
            for name in names:
                sync_file(self.folder / name)
            place(self.folder, names, self.target, replace=self._force)
            sync_folder(parent)
        return tuple(parent / name for name in names)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _uninterrupted():
            self._stack.close()

    @contextlib.contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except WriteError:
            raise
        except FileExistsError as error:
            raise _exists(self.target.parent / Path(str(error.filename or "")).name) from error
        except OSError as error:
            raise write_error(error, self.target, needed=self._needed) from error

    def _check_name(self, name: str) -> None:
        path = self.target.parent / name
        try:
            status = path.lstat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise write_error(error, path) from error
        _check_kind(path, status)
        for source in self._sources:
            if _is_same(status, source):
                raise WriteError(
                    cannot_write(path, "it is the source itself"),
                    facts=[("source", str(source)), ("target", str(path))],
                    hint="give the target another name",
                    written=NOTHING,
                )
        if not self._force:
            raise _exists(path)

    def _check_space(self) -> None:
        free = find_free_bytes(self.target.parent)
        if free is not None and self._needed is not None and free < self._needed:
            raise WriteError(
                cannot_write(self.target, "the disk has not enough room"),
                facts=[
                    ("folder", str(self.target.parent)),
                    *space_facts(self.target.parent, self._needed),
                ],
                written=NOTHING,
            )


def remove_leftovers(folder: Path) -> None:
    """Remove temporary folders that no process holds, and finish what a crash interrupted."""
    with os.scandir(folder) as entries:
        found = [
            Path(entry.path)
            for entry in entries
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False)
        ]
    for leftover in found:
        # Another user's, or one that is being made or removed at this moment: leave it.
        with contextlib.suppress(OSError, WriteError):
            lock = _lock_file(leftover / _HELD, leftover)
            try:
                undo(leftover, folder)
                shutil.rmtree(leftover)
            finally:
                lock.release()


def _resolve(target: Path) -> Path:
    if not target.name or target.name == "..":
        raise WriteError(cannot_write(target, "it is a folder"), written=NOTHING)
    try:
        parent = target.parent.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WriteError(
            cannot_write(target, "its folder does not exist"),
            facts=[("folder", str(target.parent))],
            hint="make the folder first",
            written=NOTHING,
        ) from error
    except (OSError, RuntimeError) as error:  # a circle of links
        raise WriteError(cannot_write(target, str(error)), written=NOTHING) from error
    if not parent.is_dir():
        raise WriteError(
            cannot_write(target, "what should be its folder is a file"),
            facts=[("file", str(parent))],
            written=NOTHING,
        )
    return parent / target.name


def _check_kind(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise WriteError(
            cannot_write(path, "it is a folder"),
            facts=[("path", str(path))],
            hint="name a file in it",
            written=NOTHING,
        )
    if stat.S_ISLNK(status.st_mode):
        real = path.resolve()
        raise WriteError(
            cannot_write(path, "it is a symbolic link"),
            facts=[("link to", str(real))],
            hint="name the file itself, or remove the link",
            written=NOTHING,
        )
    if not stat.S_ISREG(status.st_mode):
        raise WriteError(
            cannot_write(path, "it is not a regular file"),
            facts=[("path", str(path))],
            written=NOTHING,
        )


def _is_same(status: os.stat_result, source: Path) -> bool:
    try:
        return os.path.samestat(status, source.stat())
    except OSError:  # a source that is gone cannot be written over
        return False


def _exists(path: Path) -> TargetExistsError:
    return TargetExistsError(
        cannot_write(path, "it exists"),
        facts=[("path", str(path))],
        hint="--force (in Python: force=True) replaces it",
        written=NOTHING,
    )


def _make_folder(parent: Path, stack: contextlib.ExitStack) -> Path:
    """Make and hold a temporary folder; ``stack`` removes it."""
    while True:
        control = parent / f"{PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
        # Before it is there: Ctrl-C may come as soon as it is.
        stack.callback(shutil.rmtree, control, ignore_errors=True)
        control.mkdir(mode=0o700)
        # Between the two calls another run may take the folder for a leftover: then try again.
        with contextlib.suppress(FileNotFoundError, WriteError):
            lock = _lock_file(control / _HELD, control)
            stack.callback(lock.release)
            stack.callback(shutil.rmtree, control, ignore_errors=True)  # first, while it is held
            files = control / _FILES
            files.mkdir()
            return files


def _lock(target: Path) -> BaseFileLock:
    return _lock_file(target.parent / f".{target.name}.weightferry.lock", target)


def _lock_file(path: Path, target: Path) -> BaseFileLock:
    """Take a lock at once or not at all."""
    from filelock import FileLock, Timeout  # 60 ms to import: not for commands that only read

    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise WriteError(
            cannot_write(target, "another conversion is writing it"),
            facts=[("lock", quoted(path.name))],
            written=NOTHING,
        ) from error
    return lock


def _release(lock: BaseFileLock) -> None:
    # Still held: filelock notices a file that was removed before it got the lock, and tries again.
    # Windows does not remove an open file, and its lock removes the file itself.
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink()
    lock.release()


@contextlib.contextmanager
def _termination_raises() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack where they would kill the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, frame: object) -> None:
    del frame
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the cleaning up
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let no second Ctrl-C interrupt the cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        # None: a handler that was not set from Python cannot be set back from Python either.
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)
