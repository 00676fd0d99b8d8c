"""A checkpoint with something to say about its file that its reader does not know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from converter.formats.base import Checkpoint
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.tensors.structure import KerasStructure


class NoticedCheckpoint(Checkpoint):
    """Another checkpoint, with one more notice in its manifest."""

    def __init__(self, checkpoint: Checkpoint, notice: str) -> None:
        """Wrap an open checkpoint."""
        self._checkpoint = checkpoint
        self.path = checkpoint.path
        self.format = checkpoint.format
        manifest = checkpoint.manifest
        self._manifest = replace(manifest, notices=(notice, *manifest.notices))

    @property
    def manifest(self) -> Manifest:
        """Names, shapes, dtypes, and the notice."""
        return self._manifest

    @property
    def structure(self) -> KerasStructure | None:
        """As the wrapped checkpoint says."""
        return self._checkpoint.structure

    @property
    def files(self) -> tuple[Path, ...]:
        """As the wrapped checkpoint says."""
        return self._checkpoint.files

    def read(self, name: str) -> Array:
        """Return the values of one tensor."""
        return self._checkpoint.read(name)

    def release(self, name: str) -> None:
        """Give back the memory of one tensor."""
        self._checkpoint.release(name)

    def close(self) -> None:
        """Close the wrapped checkpoint."""
        self._checkpoint.close()
