"""``.keras`` of Keras 3: a zip with the architecture, the weights as HDF5, and a note on versions.

Nothing is unpacked: Keras stores its members uncompressed, so the HDF5 file is read where it lies
and its values are mapped. A compressed member (somebody zipped the folder again) is inflated into
an unnamed temporary file, under limits. The checksum of the weights is not computed, because HDF5
states every size and place itself and a pass over all values would cost as much as converting them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converter.errors import CheckpointError, CorruptFileError, UnsupportedFileError
from converter.formats.hdf5_tree import Hdf5Tree
from converter.formats.keras_checkpoint import (
    CONFIG,
    PROVENANCE,
    Architecture,
    KerasStoreCheckpoint,
    given_architecture,
)
from converter.formats.keras_config import missing_architecture, parse_architecture
from converter.formats.source_file import MAX_JSON_BYTES, SourceFile, strict_json
from converter.formats.wording import cannot_read
from converter.formats.zip_archive import ZipArchive

WEIGHTS = "model.weights.h5"
# Variables of the backend as Python pickles them, so no format; no public function writes it.
# Source: keras 3.15.1 saving_lib.NpzIOStore, which refuses to load what it writes.
PICKLED = "model.weights.npz"
METADATA = "metadata.json"


class KerasArchive(KerasStoreCheckpoint):
    """A ``.keras`` file.

    Args:
        path: The file.
        select: ``"dequantized"`` for the numbers that the codes of quantised layers stand for.
        architecture: A JSON file with an architecture to use instead of the one inside.

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
        super().__init__(path, "keras", select)
        given = given_architecture(architecture)
        self._tree: Hdf5Tree | None = None
        self._source = SourceFile(self.path)
        try:
            self._archive = ZipArchive(self._source)
            self._read(given)
        except BaseException:
            self.close()
            raise

    def _read(self, given: Architecture | None) -> None:
        if WEIGHTS not in self._archive.members and PICKLED in self._archive.members:
            raise UnsupportedFileError(
                cannot_read(self.path, f"its weights are '{PICKLED}', pickled objects of Keras"),
                hint="load it where you trust it, with the Keras and backend that wrote it (3.15 "
                "refuses), and save it again with model.save, which writes HDF5",
            )
        if WEIGHTS not in self._archive.members:
            raise UnsupportedFileError(
                cannot_read(self.path, f"it has no member '{WEIGHTS}'"),
                facts=[("members", ", ".join(sorted(self._archive.members)[:8]))],
            )
        notices: list[str] = []
        inside = given or self._architecture(notices)
        metadata, metadata_text = self._metadata(notices)
        if self._archive.members[WEIGHTS].is_compressed:
            notices.append("the archive was compressed, which Keras does not do: it was inflated")
        source, offset, size = self._archive.open(WEIGHTS)
        self._tree = Hdf5Tree(source, offset=offset, length=size)
        self.fill(
            [self._tree],
            inside,
            metadata=metadata,
            metadata_text=metadata_text,
            notices=notices,
        )

    def _architecture(self, notices: list[str]) -> Architecture | None:
        if CONFIG not in self._archive.members:
            return None
        data = self._archive.read(CONFIG, max_bytes=MAX_JSON_BYTES)
        try:
            model = parse_architecture(data, what=CONFIG, path=self.path)
        except CheckpointError as error:
            notices.append(missing_architecture(self.path, error.summary))
            return None
        return Architecture(data.decode("utf-8"), model)

    def _metadata(self, notices: list[str]) -> tuple[dict[str, str], str | None]:
        if METADATA not in self._archive.members:
            return {}, None
        data = self._archive.read(METADATA, max_bytes=MAX_JSON_BYTES)
        try:
            value: Any = strict_json(data, what=METADATA, path=self.path)
        except CorruptFileError as error:
            notices.append(f"{METADATA} was left out: {error.summary}")
            return {}, None
        texts = dict(value) if isinstance(value, dict) else {}
        ours = texts.pop(PROVENANCE, None)
        texts.update(ours if isinstance(ours, dict) else {})
        texts = {str(key): text for key, text in texts.items() if isinstance(text, str)}
        return texts, data.decode("utf-8")

    def close(self) -> None:
        """Close the file and remove what was inflated."""
        if self._tree is not None:
            self._tree.close()
        if hasattr(self, "_archive"):
            self._archive.close()
        self._source.close()
