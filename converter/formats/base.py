"""The contract of a format: a checkpoint that can be read, and a writer of a planned target.

A reader turns a foreign file into our names, shapes, dtypes and lazy values; a writer does the
opposite. Neither knows what a mapping is. Reading never executes anything from a file, never opens
a path that the user did not give (shards and members are confined to the checkpoint's own folder),
and never allocates what a header merely claims.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.tensors.structure import KerasStructure


class Checkpoint(ABC):
    """Named tensors that can be read one by one; nothing but the manifest is read at first.

    Use as a context manager, or call :meth:`close`.

    Attributes:
        path: The file or folder, or ``None`` for what lives in memory.
        format: The identifier in the registry (``"keras"``, ``"safetensors"``), or ``"live"``.
    """

    path: Path | None
    format: str

    @property
    @abstractmethod
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes."""

    @abstractmethod
    def read(self, name: str) -> Array:
        """Return the values of one tensor, shape and dtype as in the manifest.

        The array is read-only or owned by the caller, in native byte order. It may be a memory
        map: use it before :meth:`close`. Packed dtypes come as raw bytes, ``uint8`` of rank 1.

        Raises:
            KeyError: If the manifest has no such tensor.
            CorruptFileError: If the values are not where the file says.
        """

    def release(self, name: str) -> None:
        """Give back the memory that reading ``name`` took; a later read is still allowed.

        For memory maps this drops the resident pages. The default does nothing.
        """
        del name

    def close(self) -> None:
        """Close the files. Arrays that are maps must not be used afterwards."""
        return

    @property
    def structure(self) -> KerasStructure | None:
        """Where each tensor sits in a Keras weights file; ``None`` for other families."""
        return None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read: never written over, and hashed for the provenance."""
        return () if self.path is None else (self.path,)

    @property
    def label(self) -> str:
        """What messages call this checkpoint."""
        return self.path.name if self.path is not None else self.format

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Writer(ABC):
    """One target being written.

    Made from the manifest of the whole target, so that every position is known before the first
    value comes. The executor calls :meth:`write` for consecutive blocks of a tensor, tensors in
    any order and from several threads at once (never two threads for one tensor), then
    :meth:`finish` once, or :meth:`abort`. A writer writes only into the temporary folder that it
    was given, under the final file names; moving them to the target's folder is the executor's.
    """

    @abstractmethod
    def write(self, name: str, start: int, block: Array) -> None:
        """Put the C-contiguous ``block`` at element ``start`` of tensor ``name``.

        Raises:
            OSError: If the disk is full or the file system refuses. The executor, which knows the
                target's real place, makes a :class:`~converter.errors.WriteError` of it.
        """

    @abstractmethod
    def finish(self, metadata: Mapping[str, str]) -> tuple[str, ...]:
        """Complete the files, with the texts of ``metadata`` where the format has a place.

        Returns:
            Names of the files in the temporary folder, in the order in which they may appear
            under their final names: the file that names the others (an index) last.

        Raises:
            OSError: As for :meth:`write`.
        """

    @abstractmethod
    def abort(self) -> None:
        """Close what is open; the executor removes the files."""
