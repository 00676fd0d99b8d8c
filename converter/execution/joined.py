"""Several open checkpoints seen as one, in which the name of each tensor says whose it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from converter.formats.base import Checkpoint
from converter.planning.part import KEPT
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest


class _SeveralCheckpoints(Checkpoint):
    """The tensors of several checkpoints; subclasses find the owner of a name."""

    path: Path | None = None

    def __init__(self, sources: Sequence[Checkpoint], manifest: Manifest) -> None:
        """Take open checkpoints, and the manifest of what is read of them."""
        self._sources = tuple(sources)
        self._manifest = manifest

    @property
    def manifest(self) -> Manifest:
        """What is read of all."""
        return self._manifest

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of all, each once."""
        return tuple(dict.fromkeys(file for source in self._sources for file in source.files))

    def read(self, name: str) -> Array:
        """Return the values of one tensor."""
        source, own = self._find(name)
        return source.read(own)

    def release(self, name: str) -> None:
        """Give back what reading it took."""
        source, own = self._find(name)
        source.release(own)

    @abstractmethod
    def _find(self, name: str) -> tuple[Checkpoint, str]:
        """Return whose a tensor is, and its name there."""


class JoinedCheckpoint(_SeveralCheckpoints):
    """The tensors of several checkpoints, called ``0:name``, ``1:name`` and so on."""

    format = "joined"

    @property
    def label(self) -> str:
        """The names of all checkpoints."""
        return ", ".join(source.label for source in self._sources)

    def _find(self, name: str) -> tuple[Checkpoint, str]:
        number, _, own = name.partition(":")
        return self._sources[int(number)], own


class CompletedCheckpoint(_SeveralCheckpoints):
    """The tensors of a source, and under ``kept:name`` those of what the target is like.

    This is what the plan of a part reads.
    """

    format = "completed"

    def __init__(self, source: Checkpoint, like: Checkpoint, manifest: Manifest) -> None:
        """Take two open checkpoints, and the manifest of what is read of both."""
        super().__init__((source, like), manifest)
        self.path = source.path

    @property
    def label(self) -> str:
        """What messages call the source."""
        return self._sources[0].label

    def close(self) -> None:
        """Close the source."""
        self._sources[0].close()

    def _find(self, name: str) -> tuple[Checkpoint, str]:
        if name.startswith(KEPT):
            return self._sources[1], name.removeprefix(KEPT)
        return self._sources[0], name
