"""``pytorch_model.bin.index.json`` and the checkpoints of PyTorch that it names.

Shards lie in the folder of the index or below. Each is a whole checkpoint; prefixes of wrappers are
taken off the names of all together, since a shard alone does not show what the others have.

Source: transformers 4.57 ``modeling_utils.py``, ``save_pretrained(safe_serialization=False)``.
"""

from __future__ import annotations

from pathlib import Path

from converter.errors import UnsafeFileError
from converter.formats.base import Checkpoint
from converter.formats.beside import open_beside
from converter.formats.shard_index import check_shard, read_index
from converter.formats.source_file import SourceFile
from converter.formats.torch_names import strip_names
from converter.formats.torch_reader import TorchCheckpoint, TorchLegacy, TorchZip
from converter.formats.wording import cannot_read, quoted, refuse_select
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

SUFFIX = ".bin.index.json"
SHARD_SUFFIXES = (".bin", ".pt", ".pth")
_READERS: dict[str, type[TorchCheckpoint]] = {"torch": TorchZip, "torch_legacy": TorchLegacy}


class TorchIndex(Checkpoint):
    """The checkpoints that an index names, as one."""

    format = "torch_index"

    def __init__(
        self, path: Path, *, select: str | None = None, architecture: object = None
    ) -> None:
        """Open the index and every shard, and read their pickles.

        Args:
            path: The index.
            select: Nothing can be selected; refused when given.
            architecture: Not used: a state dict has names.

        Raises:
            UsageError: If ``select`` is given.
            CheckpointError: If the index or a shard is damaged or unsafe, or they do not fit.
        """
        del architecture
        refuse_select(path, select)
        self.path: Path = path
        self._shards: list[TorchCheckpoint] = []
        try:
            self._open(path)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path) -> None:
        owners: dict[str, TorchCheckpoint] = {}
        notices: list[str] = []
        ties: dict[str, str] = {}
        for name, expected in read_index(path, SHARD_SUFFIXES, "checkpoint of PyTorch").items():
            shard = _checkpoint(open_beside(path, name))
            self._shards.append(shard)
            found = shard.manifest
            check_shard(shard.source.path, {*found.tensors, *found.ties}, set(expected))
            owners |= dict.fromkeys(expected, shard)
            ties |= found.ties
            notices += [said for said in found.notices if said not in notices]
        names, stripped = strip_names(owners, path)
        self._places = {names[raw]: (shard, raw) for raw, shard in owners.items()}
        self._manifest = Manifest.of(
            (
                TensorSpec(names[raw], spec.shape, spec.dtype)
                for raw, shard in owners.items()
                if raw not in ties
                for spec in (shard.manifest[raw],)
            ),
            family="torch",
            ties={names[further]: names[kept] for further, kept in ties.items()},
            notices=(*notices, *stripped),
            writer=self._shards[0].manifest.writer if self._shards else None,
        )

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes."""
        return self._manifest

    @property
    def files(self) -> tuple[Path, ...]:
        """The index and its shards."""
        return (self.path, *(shard.source.path for shard in self._shards))

    def read(self, name: str) -> Array:
        """Return one tensor, as its shard gives it."""
        shard, raw = self._places[name]
        return shard.read(raw)

    def release(self, name: str) -> None:
        """Drop the pages of one tensor."""
        shard, raw = self._places[name]
        shard.release(raw)

    def close(self) -> None:
        """Close all files."""
        for shard in self._shards:
            shard.close()


def _checkpoint(source: SourceFile) -> TorchCheckpoint:
    """Return a shard under the names that it has; the file is closed where it is none."""
    from converter.formats.sniffing import sniff_open

    try:
        kind = sniff_open(source.path, source)
    except BaseException:
        source.close()
        raise
    reader = _READERS.get(kind)
    if reader is None:
        source.close()
        raise UnsafeFileError(
            cannot_read(source.path, "it is a shard and no checkpoint of PyTorch"),
            facts=[("found", quoted(kind))],
        )
    return reader(source.path, source=source, strips=False)
