"""A source together with what the target keeps: what the plan of a part reads."""

from __future__ import annotations

from pathlib import Path

from converter.formats.base import Checkpoint
from converter.planning.part import KEPT
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest


class CompletedCheckpoint(Checkpoint):
    """The tensors of a source, and under ``kept:name`` those of what the target is like."""

    format = "completed"

    def __init__(self, source: Checkpoint, like: Checkpoint, manifest: Manifest) -> None:
        """Take two open checkpoints, and the manifest of what is read of both."""
        self.path: Path | None = source.path
        self._source = source
        self._like = like
        self._manifest = manifest

    @property
    def manifest(self) -> Manifest:
        """What is read of both."""
        return self._manifest

    @property
    def label(self) -> str:
        """What messages call the source."""
        return self._source.label

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of both, each once."""
        return tuple(dict.fromkeys((*self._source.files, *self._like.files)))

    def read(self, name: str) -> Array:
        """Return the values of one tensor."""
        owner, own = self._find(name)
        return owner.read(own)

    def release(self, name: str) -> None:
        """Give back what reading it took."""
        owner, own = self._find(name)
        owner.release(own)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _find(self, name: str) -> tuple[Checkpoint, str]:
        if name.startswith(KEPT):
            return self._like, name.removeprefix(KEPT)
        return self._source, name
