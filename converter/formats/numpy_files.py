"""Many ``.npy`` files, one array each, of which a few are open at a time.

A model has more arrays than a process may have open files. What is opened again must be the very
file whose header was read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from converter.errors import CorruptFileError
from converter.formats.numpy_header import HeaderReader, Layout
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read
from converter.tensors.dtype import Array

MAX_OPEN = 64


class ArrayFiles:
    """Arrays by name, each in a file of its own. Safe for several threads at once."""

    def __init__(self, open_file: Callable[[str], SourceFile]) -> None:
        """Begin without arrays.

        Args:
            open_file: Opens the file of a name, and decides which links are followed.
        """
        self._open_file = open_file
        self._lock = threading.Lock()
        self._open: dict[str, SourceFile] = {}
        self._identities: dict[str, tuple[tuple[int, int], int]] = {}
        self._layouts: dict[str, Layout] = {}

    def add(self, name: str) -> Layout:
        """Read the header of an array.

        Raises:
            CheckpointError: If there is no such file, or it is no plain array.
        """
        if name not in self._layouts:
            with self._open_file(name) as source:
                peek = partial(_peek, source)
                header = HeaderReader(source.path, "the array", source.size, peek)
                self._layouts[name] = header.read()
                self._identities[name] = (source.identity, source.size)
        return self._layouts[name]

    def read(self, name: str) -> Array:
        """Return one array as a read-only map; Fortran order shows in its strides."""
        layout = self._layouts[name]
        source = self._source(name)
        return layout.array(source.view(layout.offset, source.size - layout.offset))

    def release(self, name: str) -> None:
        """Drop the pages of one array."""
        with self._lock:
            source = self._open.get(name)
            if source is not None:
                source.release(0, source.size)

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for source in self._open.values():
                source.close()
            self._open.clear()

    def _source(self, name: str) -> SourceFile:
        with self._lock:
            source = self._open.pop(name, None)
            if source is None:
                source = self._open_file(name)
                if (source.identity, source.size) != self._identities[name]:
                    source.close()
                    raise CorruptFileError(
                        cannot_read(source.path, "the file was replaced while it was read")
                    )
            self._open[name] = source
            while len(self._open) > MAX_OPEN:  # maps that somebody holds stay valid
                self._open.pop(next(iter(self._open))).close()
            return source


def _peek(source: SourceFile, nbytes: int) -> bytes:
    return source.read(0, min(nbytes, source.size))
