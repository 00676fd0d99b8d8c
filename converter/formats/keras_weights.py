"""``.weights.h5`` of Keras 3: one HDF5 file, with an architecture at best beside it.

An unzipped ``.keras`` archive is such a file, ``model.weights.h5``, beside its ``config.json``.

Layers are named after the ``name`` attributes that Keras 3.6 and later write. An older file says
classes and positions only, and so do we, unless the architecture is given.
"""

from __future__ import annotations

from pathlib import Path

from converter.formats.hdf5_tree import Hdf5Tree
from converter.formats.keras_beside import architecture_beside, metadata_beside
from converter.formats.keras_checkpoint import (
    KerasStoreCheckpoint,
    given_architecture,
    provenance_of,
)
from converter.formats.source_file import SourceFile


class KerasWeights(KerasStoreCheckpoint):
    """A Keras 3 weights file.

    Args:
        path: The file.
        select: ``"dequantized"`` for the numbers that the codes of quantised layers stand for.
        architecture: A JSON file with the architecture, or ``None``.

    Raises:
        CheckpointError: If the file cannot be read, or the architecture is not that of it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        select: str | None = None,
        architecture: str | Path | None = None,
    ) -> None:
        super().__init__(path, "keras_weights", select)
        given = given_architecture(architecture)
        self._source = SourceFile(self.path)
        try:
            self._tree = Hdf5Tree(self._source)
            notices: list[str] = []
            metadata = metadata_beside(self.path) | provenance_of(self._tree.groups[""])
            found = given or architecture_beside(self.path, notices)
            self.fill([self._tree], found, metadata=metadata, notices=notices)
        except BaseException:
            self._source.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._tree.close()
        self._source.close()
