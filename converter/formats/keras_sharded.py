"""``x.weights.json`` and its shards: the weights file of Keras 3, split by size.

The index says in which files the variables of each group are; those of one layer may lie in two.
The group in the later file has no ``name`` attribute, so names are taken from all files together.
A preset has its ``config.json`` beside the index.

Source: keras 3.15.1 ``saving_lib.ShardedH5IOStore``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converter.errors import CorruptFileError
from converter.formats.beside import open_beside
from converter.formats.hdf5_tree import Hdf5Tree
from converter.formats.keras_beside import architecture_beside, metadata_beside
from converter.formats.keras_checkpoint import (
    PROVENANCE,
    KerasStoreCheckpoint,
    given_architecture,
)
from converter.formats.source_file import MAX_JSON_BYTES, SourceFile, strict_json
from converter.formats.wording import cannot_read, quoted


class KerasSharded(KerasStoreCheckpoint):
    """A sharded Keras 3 weights file.

    Args:
        path: The index, ``x.weights.json``.
        select: ``"dequantized"`` for the numbers that the codes of quantised layers stand for.
        architecture: A JSON file with the architecture, or ``None``.

    Raises:
        CheckpointError: If a file is missing or cannot be read, or the architecture is not that
            of the weights.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        select: str | None = None,
        architecture: str | Path | None = None,
    ) -> None:
        super().__init__(path, "keras_sharded", select)
        given = given_architecture(architecture)
        self._sources: list[SourceFile] = []
        self._trees: list[Hdf5Tree] = []
        try:
            weight_map, ours = self._index()
            found = self._open(weight_map)
            self._check(weight_map, found)
            notices: list[str] = []
            architecture_there = given or architecture_beside(self.path, notices)
            metadata = metadata_beside(self.path) | ours
            self.fill(self._trees, architecture_there, metadata=metadata, notices=notices)
        except BaseException:
            self.close()
            raise

    @property
    def files(self) -> tuple[Path, ...]:
        """The index and every shard."""
        return (self.path, *(source.path for source in self._sources))

    def _index(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        with SourceFile(self.path, max_bytes=MAX_JSON_BYTES) as source:
            data = source.read(0, source.size)
        value = strict_json(data, what="the index", path=self.path)
        weight_map = value.get("weight_map") if isinstance(value, dict) else None
        if not isinstance(weight_map, dict):
            raise CorruptFileError(cannot_read(self.path, "the index has no 'weight_map'"))
        files = {group: _file_names(names) for group, names in weight_map.items()}
        wrong = next((group for group, names in files.items() if not names), None)
        if wrong is not None:
            raise CorruptFileError(
                cannot_read(self.path, f"the index does not say where {quoted(wrong)} is")
            )
        said = value.get("metadata")
        ours: Any = said.get(PROVENANCE) if isinstance(said, dict) else None
        ours = ours if isinstance(ours, dict) else {}
        return files, {key: text for key, text in ours.items() if isinstance(text, str)}

    def _open(self, weight_map: Mapping[str, list[str]]) -> dict[str, Hdf5Tree]:
        found: dict[str, Hdf5Tree] = {}
        for name in dict.fromkeys(name for names in weight_map.values() for name in names):
            source = open_beside(self.path, name)
            self._sources.append(source)
            found[name] = Hdf5Tree(source)
            self._trees.append(found[name])
        return found

    def _check(self, weight_map: Mapping[str, list[str]], found: Mapping[str, Hdf5Tree]) -> None:
        """Refuse an index and shards of two different savings."""
        for group, names in weight_map.items():
            missing = [name for name in names if group.strip("/") not in found[name].groups]
            if missing:
                raise CorruptFileError(
                    cannot_read(self.path, f"{quoted(missing[0])} does not hold {quoted(group)}"),
                    facts=[("expected", f"{quoted(group)} in {', '.join(names)}")],
                    hint="index and shards were not written together; save the weights again",
                )
        listed = {group.strip("/") for group in weight_map}
        for name, tree in found.items():
            for path in tree.datasets:
                if path.rpartition("/")[0] not in listed:
                    raise CorruptFileError(
                        cannot_read(self.path, f"the index does not list {quoted(path)}"),
                        facts=[("file", quoted(name))],
                    )

    def close(self) -> None:
        """Close all files."""
        for tree in self._trees:
            tree.close()
        for source in self._sources:
            source.close()


def _file_names(value: object) -> list[str]:
    names = value if isinstance(value, list) else [value]
    return [name if isinstance(name, str) else "" for name in names]
