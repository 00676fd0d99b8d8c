"""Arrays as single files: a folder of ``.npy`` files, or one ``.npy`` file.

The name of a tensor is the path of its file below the folder, without the ending, with ``/``
between folders: ``conv1/kernel.npy`` is ``conv1/kernel``. Files come in the order of their names,
numbers in them by value, so that ``arr_2`` comes before ``arr_10`` and a list that was saved file
by file keeps its order. Only regular files count: a link is refused, since it may lead out of the
folder; files of other kinds are left out with a notice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from converter.errors import CheckpointError, UnsafeFileError
from converter.formats import authorship
from converter.formats.base import Checkpoint
from converter.formats.npz_reader import family_of
from converter.formats.numpy_files import ArrayFiles
from converter.formats.numpy_header import SUFFIX
from converter.formats.source_file import OPEN_FLAGS, SourceFile, cannot_open
from converter.formats.wording import cannot_read, quoted, refuse_select
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest

MAX_FILES = 200_000
MAX_DEPTH = 16


class NumpyFolder(Checkpoint):
    """The ``.npy`` files of a folder, or one of them."""

    format = "npy"

    def __init__(
        self, path: Path, *, select: str | None = None, architecture: object = None
    ) -> None:
        """Find the files and read their headers.

        Args:
            path: The folder, or the file.
            select: Nothing can be selected; refused when given.
            architecture: Not used here: files have names.

        Raises:
            UsageError: If ``select`` is given.
            UnsafeFileError: If a file is a link, or no regular file, or there are absurdly many.
            CheckpointError: If a file is no plain array.
        """
        del architecture
        refuse_select(path, select)
        self.path = path
        self._others: list[str] = []
        if path.is_dir():
            self._paths = {name: path / f"{name}{SUFFIX}" for name in self._find(path)}
        else:
            self._paths = {path.name.removesuffix(SUFFIX): path}
        self._arrays = ArrayFiles(self._open)
        layouts = {name: self._arrays.add(name) for name in self._paths}
        self._manifest = Manifest.of(
            (layout.spec(name) for name, layout in layouts.items()),
            family=family_of(self._paths),
            notices=self._notices(),
            writer=authorship.of_numpy({layout.version for layout in layouts.values()}),
        )

    def _find(self, folder: Path) -> list[str]:
        """Return the names of all arrays, in their order."""
        found: list[str] = []
        for relative in _walk(folder, "", 0):
            if len(found) >= MAX_FILES:
                raise UnsafeFileError(
                    cannot_read(folder, f"the folder holds more than {MAX_FILES:,} arrays")
                )
            if relative.endswith(SUFFIX) and not f"/{relative}".endswith(f"/{SUFFIX}"):
                found.append(relative.removesuffix(SUFFIX))
            else:
                self._others.append(relative)
        return sorted(found, key=natural_order)

    def _notices(self) -> tuple[str, ...]:
        if not self._others:
            return ()
        shown = ", ".join(quoted(name) for name in sorted(self._others)[:8])
        more = f" and {len(self._others) - 8} more" if len(self._others) > 8 else ""
        return (f"Left out, since they are no arrays: {shown}{more}.",)

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes, in the order of the names."""
        return self._manifest

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read."""
        return tuple(self._paths.values())

    def read(self, name: str) -> Array:
        """Return one array as a read-only map; Fortran order shows in its strides."""
        return self._arrays.read(name)

    def release(self, name: str) -> None:
        """Drop the pages of one array."""
        self._arrays.release(name)

    def close(self) -> None:
        """Close the files."""
        self._arrays.close()

    def _open(self, name: str) -> SourceFile:
        """Open the file of an array; the one that the user typed may be a link."""
        path = self._paths[name]
        if path == self.path:
            return SourceFile(path)
        try:
            descriptor = os.open(path, OPEN_FLAGS | getattr(os, "O_NOFOLLOW", 0))
        except OSError as error:
            raise cannot_open(path, error) from error
        return SourceFile(path, descriptor=descriptor)


def has_arrays(folder: Path) -> bool:
    """Whether there is a ``.npy`` file in a folder or in a folder just below it."""
    return any(
        next(folder.glob(pattern), None) is not None for pattern in (f"*{SUFFIX}", f"*/*{SUFFIX}")
    )


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """Return what to sort names by: numbers in them by value.

    Examples:
        >>> sorted(["arr_10", "arr_9", "b/2", "b/1"], key=natural_order)
        ['arr_9', 'arr_10', 'b/1', 'b/2']
    """
    parts = re.findall(r"[0-9]{1,18}|[^0-9]+|[0-9]+", name)
    return [(0, int(p), p) if len(p) < 19 and p.isdecimal() else (1, 0, p) for p in parts]


def _walk(folder: Path, prefix: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise UnsafeFileError(cannot_read(folder, "folders are nested too deeply"))
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise cannot_open(folder, error) from error
    for entry in entries:
        name = f"{prefix}{entry.name}"
        if entry.is_symlink() and (name.endswith(SUFFIX) or entry.is_dir()):
            raise UnsafeFileError(
                cannot_read(folder, "it holds a link, and only files are read"),
                facts=[("link", quoted(name))],
            )
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{name}/", depth + 1)
        else:
            _check_name(folder, name)
            yield name


def _check_name(folder: Path, name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CheckpointError(
            cannot_read(folder, "the name of a file is not UTF-8"), facts=[("file", quoted(name))]
        ) from error
