"""A checkpoint of which some tensors have other values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from converter.formats.base import Checkpoint
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest


class ChangedCheckpoint(Checkpoint):
    """Another checkpoint, with the values of some tensors replaced."""

    format = "changed"

    def __init__(self, source: Checkpoint, values: Mapping[str, Array]) -> None:
        """Wrap an open checkpoint.

        Args:
            source: It must stay open.
            values: Name to value, of the shape that the manifest says; cast to its dtype.
        """
        self.path: Path | None = source.path
        self._source = source
        self._values = values

    @property
    def manifest(self) -> Manifest:
        """The manifest of the source."""
        return self._source.manifest

    @property
    def label(self) -> str:
        """What messages call this checkpoint."""
        return f"{self._source.label} repaired"

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the source."""
        return self._source.files

    def read(self, name: str) -> Array:
        """Return the new values of a tensor, or those of the source."""
        if name not in self._values:
            return self._source.read(name)
        value: Array = self._values[name].astype(self.manifest.tensors[name].dtype.numpy)
        return value

    def release(self, name: str) -> None:
        """Give back what reading it took."""
        if name not in self._values:
            self._source.release(name)
