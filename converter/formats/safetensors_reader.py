"""Safetensors files, single or in shards with an index. Values are mapped, never copied.

The format keeps no order: tensors lie sorted by type and name. Their order in the manifest is that
of the file and means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from converter.errors import CheckpointError, CorruptFileError
from converter.formats import authorship
from converter.formats.base import Checkpoint
from converter.formats.beside import open_beside
from converter.formats.safetensors_header import Header, read_header
from converter.formats.shard_index import check_distinct, check_shard, read_index
from converter.formats.source_file import SourceFile
from converter.formats.torch_names import strip_names
from converter.formats.wording import cannot_read, quoted, refuse_select
from converter.tensors.dtype import Array
from converter.tensors.manifest import Family, Manifest
from converter.tensors.spec import TensorSpec

INDEX_NAME = "model.safetensors.index.json"
# What frameworks write under "format". Names of TensorFlow and Flax models are of neither family.
_FAMILIES: dict[str, Family | None] = {"keras": "keras", "tf": None, "flax": None, "np": None}


class SafetensorsCheckpoint(Checkpoint):
    """Tensors of one or more safetensors files."""

    format = "safetensors"

    def __init__(
        self, path: Path, *, select: str | None = None, architecture: object = None
    ) -> None:
        """Open a file and read its header.

        Args:
            path: The file.
            select: Nothing can be selected; refused when given.
            architecture: Not used: the format has names.

        Raises:
            UsageError: If ``select`` is given.
            CheckpointError: If it is damaged or unsafe.
        """
        del architecture
        refuse_select(path, select)
        self.path = path
        self._sources: list[SourceFile] = []
        try:
            self._open(path)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path) -> None:
        source = SourceFile(path)
        self._sources.append(source)
        header = read_header(source)
        self._build([(source, header)], header.metadata)

    def _build(self, parts: list[tuple[SourceFile, Header]], metadata: Mapping[str, str]) -> None:
        found = {
            spec.name: (spec, source, header) for source, header in parts for spec in header.specs
        }
        family = _family(metadata)
        names, notices = (
            strip_names(found, self.path)
            if family == "torch"
            else ({name: name for name in found}, ())
        )
        self._places = {
            names[name]: (source, header.offsets[name], spec)
            for name, (spec, source, header) in found.items()
        }
        self._manifest = Manifest.of(
            (
                TensorSpec(name, spec.shape, spec.dtype)
                for name, (_, _, spec) in self._places.items()
            ),
            family=family,
            ties=_ties(metadata, names),
            metadata=metadata,
            notices=(*notices, *(said for _, header in parts for said in header.notices)),
            writer=authorship.converted(metadata, authorship.of_safetensors(metadata)),
        )

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes; names that ``save_model`` left out are ties."""
        return self._manifest

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, or the index and its shards."""
        return tuple(dict.fromkeys(source.path for source in self._sources))

    def read(self, name: str) -> Array:
        """Return one tensor as a read-only map."""
        source, offset, spec = self._places[self._manifest.ties.get(name, name)]
        raw = source.view(offset, spec.nbytes)
        if spec.dtype.name == "bool" and raw.size and raw.max() > 1:
            raise CorruptFileError(
                cannot_read(
                    source.path, f"the tensor {quoted(spec.name)} holds what is no truth value"
                )
            )
        return raw if spec.dtype.is_packed else raw.view(spec.dtype.numpy).reshape(spec.shape)

    def release(self, name: str) -> None:
        """Drop the pages of one tensor."""
        source, offset, spec = self._places[self._manifest.ties.get(name, name)]
        source.release(offset, spec.nbytes)

    def close(self) -> None:
        """Close all files."""
        for source in self._sources:
            source.close()


class SafetensorsIndex(SafetensorsCheckpoint):
    """The shards that an index names, or a folder that holds one."""

    format = "safetensors_index"

    def _open(self, path: Path) -> None:
        index = find_index(path) if path.is_dir() else path
        self._index = index
        parts = []
        for name, expected in read_index(index, (".safetensors",), "safetensors file").items():
            source = open_beside(index, name)
            self._sources.append(source)
            header = read_header(source)
            check_shard(source.path, {spec.name for spec in header.specs}, set(expected))
            parts.append((source, header))
        check_distinct(index, self._sources)
        metadata: dict[str, str] = {}
        for _, header in parts:
            metadata |= header.metadata
        self._build(parts, metadata)

    @property
    def files(self) -> tuple[Path, ...]:
        """The index and its shards."""
        return (self._index, *super().files)


def find_index(folder: Path) -> Path:
    """Return the index in a folder.

    Raises:
        CheckpointError: If there is none, or several and none of the usual name.
    """
    usual = folder / INDEX_NAME
    if usual.exists():
        return usual
    found = sorted(folder.glob("*.safetensors.index.json"))
    if len(found) != 1:
        why = f"the folder holds {len(found)} indices" if found else "the folder holds no index"
        raise CheckpointError(
            cannot_read(folder, why),
            facts=[("index", quoted(path.name)) for path in found[:20]]
            or [("expected", quoted(INDEX_NAME))],
        )
    return found[0]


def _family(metadata: Mapping[str, str]) -> Family | None:
    if metadata.get("framework") == "keras":
        return "keras"
    return _FAMILIES.get(metadata.get("format", "pt"), "torch")


def _ties(metadata: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Return the names that ``safetensors.torch.save_model`` left out, to those it kept."""
    taken = {"format", "framework", *names, *names.values()}
    return {
        further: names[kept]
        for further, kept in metadata.items()
        if kept in names and further not in taken
    }
