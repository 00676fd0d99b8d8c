"""Several open checkpoints seen as one, in which each tensor says whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from converter.formats.base import Checkpoint
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest


class JoinedCheckpoint(Checkpoint):
    """The tensors of several checkpoints, called ``0:name``, ``1:name`` and so on."""

    path: Path | None = None
    format = "joined"

    def __init__(self, sources: Sequence[Checkpoint], manifest: Manifest) -> None:
        """Take open checkpoints, and the manifest of all their tensors."""
        self._sources = tuple(sources)
        self._manifest = manifest

    @property
    def manifest(self) -> Manifest:
        """All tensors of all checkpoints."""
        return self._manifest

    @property
    def label(self) -> str:
        """The names of all checkpoints."""
        return ", ".join(source.label for source in self._sources)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of all checkpoints, each once."""
        return tuple(dict.fromkeys(file for source in self._sources for file in source.files))

    def read(self, name: str) -> Array:
        """Return the values of one tensor of one checkpoint."""
        source, own = self._find(name)
        return source.read(own)

    def release(self, name: str) -> None:
        """Give back what reading it took."""
        source, own = self._find(name)
        source.release(own)

    def _find(self, name: str) -> tuple[Checkpoint, str]:
        number, _, own = name.partition(":")
        return self._sources[int(number)], own
