"""``.weights.h5`` of Keras 3: one HDF5 file, with an architecture at best beside it.

An unzipped ``.keras`` archive is such a file, ``model.weights.h5``, beside its ``config.json``.

Layers are named after the ``name`` attributes that Keras 3.6 and later write. An older file says
classes and positions only, and so do we, unless the architecture is given.
"""

from __future__ import annotations

import os
from pathlib import Path

from converter.errors import CheckpointError
from converter.formats.beside import open_beside
from converter.formats.hdf5_tree import Hdf5Tree
from converter.formats.keras_archive import METADATA, WEIGHTS
from converter.formats.keras_checkpoint import (
    CONFIG,
    Architecture,
    KerasStoreCheckpoint,
    given_architecture,
    provenance_of,
)
from converter.formats.keras_config import missing_architecture, parse_architecture
from converter.formats.source_file import MAX_JSON_BYTES, SourceFile, strict_json


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
            metadata = self._metadata() | provenance_of(self._tree.groups[""])
            found = given or self._architecture(notices)
            self.fill([self._tree], found, metadata=metadata, notices=notices)
        except BaseException:
            self._source.close()
            raise

    def _beside(self, name: str) -> bytes | None:
        """Return a file of an unzipped archive, beside its weights."""
        if self.path.name != WEIGHTS or not os.path.lexists(self.path.with_name(name)):
            return None
        with open_beside(self.path, name, max_bytes=MAX_JSON_BYTES) as source:
            return bytes(source.read(0, source.size))

    def _architecture(self, notices: list[str]) -> Architecture | None:
        data = self._beside(CONFIG)
        if data is None:
            return None
        try:
            model = parse_architecture(data, what=CONFIG, path=self.path)
        except CheckpointError as error:
            notices.append(missing_architecture(self.path.with_name(CONFIG), error.summary))
            return None
        return Architecture(data.decode("utf-8"), model)

    def _metadata(self) -> dict[str, str]:
        data = self._beside(METADATA)
        texts = strict_json(data, what=METADATA, path=self.path) if data is not None else {}
        found = texts.items() if isinstance(texts, dict) else ()
        return {str(key): text for key, text in found if isinstance(text, str)}

    def close(self) -> None:
        """Close the file."""
        self._tree.close()
        self._source.close()
