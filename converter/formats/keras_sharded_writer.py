"""``x.weights.json`` and its shards, as Keras writes them: every variable whole in one of them.

Variables come in the order of the model, and a new shard begins before the one that would make the
last too large; a larger one is alone in its shard, where Keras refuses it. The variables of one
layer may so lie in two shards: its name is an attribute of the group in the first. Groups without
variables are in no shard.

Source: keras 3.15.1 ``saving_lib.ShardedH5IOStore``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from converter.errors import UsageError
from converter.formats.base import Writer
from converter.formats.hdf5_skeleton import SkeletonBuilder
from converter.formats.keras_checkpoint import PROVENANCE
from converter.formats.keras_groups import VARS
from converter.formats.keras_writer import HdfFile, check_places, check_types, places_of
from converter.formats.target_file import TargetFile
from converter.formats.wording import quoted
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.tensors.structure import KerasStructure

SUFFIX = ".weights.json"
DEFAULT_SHARD_BYTES = 5 * 2**30  # Source: keras 3.15.1, the default of max_shard_size in GiB


class KerasShardedWriter(Writer):
    """Writes the shards of a Keras 3 weights file, and their index."""

    def __init__(
        self,
        folder: Path,
        name: str,
        target: Manifest,
        *,
        format_id: str = "keras_sharded",
        structure: KerasStructure | None = None,
        max_shard_size: int | None = None,
    ) -> None:
        """Create the files and reserve their space.

        Args:
            folder: Where the files go.
            name: File name of the index.
            target: Every tensor.
            format_id: Not used: there is one.
            structure: Where each tensor sits in a Keras 3 weights file.
            max_shard_size: Most bytes of variables in one shard; 5 GiB by default.

        Raises:
            UsageError: If the structure is not there or not one of these tensors, or the size is
                not positive.
            WriteError: If a tensor has a type that HDF5 files of Keras do not have.
            OSError: If a file cannot be created or the disk is full.
        """
        del format_id
        if structure is None:
            raise UsageError(
                f"cannot write {quoted(name)}: nothing says where a Keras model keeps each tensor",
                hint="give the model with --like: a Keras file, or a function that builds it",
            )
        limit = DEFAULT_SHARD_BYTES if max_shard_size is None else max_shard_size
        if limit <= 0:
            raise UsageError(f"cannot write shards of {limit:,} bytes: the size must be positive")
        check_types(name, target)
        places = places_of(structure)
        check_places(name, target, places, "keras_sharded")
        self._folder = folder
        self._name = name
        self._nbytes = target.nbytes
        self._widths = {spec.name: spec.dtype.itemsize for spec in target}
        self._paths = places
        self._places: dict[str, list[tuple[HdfFile, int]]] = {spec.name: [] for spec in target}
        self._map: dict[str, list[str]] = {}
        self._files: list[HdfFile] = []
        try:
            for number, shard in enumerate(_split(target, places, limit)):
                self._add(number, shard, structure, target)
        except BaseException:
            self.abort()
            raise

    def _add(
        self,
        number: int,
        shard: list[tuple[str, str]],
        structure: KerasStructure,
        target: Manifest,
    ) -> None:
        """Create one shard of the tensors and the places that it holds."""
        name = f"{self._name.removesuffix(SUFFIX)}_{number:05}.weights.h5"
        builder = SkeletonBuilder()
        if number == 0:  # layers without variables of their own have names too
            full = {path.rpartition("/")[0] for paths in self._paths.values() for path in paths}
            for group, said in structure.groups.items():
                if group not in full:
                    builder.group(group, None if said is None else {"name": said})
        for tensor, path in shard:
            group = path.rpartition("/")[0]
            known = self._map.setdefault(f"/{group}", [])
            said = structure.groups.get(group) if not known else None
            if name not in known:
                known.append(name)
                builder.group(group, None if said is None else {"name": said})
            builder.dataset(path, target[tensor].shape, target[tensor].dtype)
        if not shard:  # a model without variables has one shard all the same
            builder.group(VARS)
            self._map[f"/{VARS}"] = [name]
        skeleton = builder.finish()
        file = HdfFile(self._folder / name, skeleton)
        self._files.append(file)
        for tensor, path in shard:
            self._places[tensor].append((file, skeleton.offsets[path]))

    def write(self, name: str, start: int, block: Array) -> None:
        """Put a block at its position, or positions where Keras keeps a tensor twice."""
        for file, offset in self._places[name]:
            file.write(offset + start * self._widths[name], block)

    def finish(self, metadata: Mapping[str, str]) -> tuple[str, ...]:
        """Complete the shards, and write the index."""
        for file in self._files:
            file.finish({})
        ours = {PROVENANCE: dict(metadata)} if metadata else {}
        document = {
            "metadata": {"total_size": self._nbytes, **ours},
            "weight_map": self._map,
        }
        index = TargetFile(self._folder / self._name, 0)
        try:
            index.write(0, json.dumps(document, indent=4, ensure_ascii=False).encode())
        finally:
            index.close()
        return (*(file.path.name for file in self._files), self._name)

    def abort(self) -> None:
        """Close the files."""
        for file in self._files:
            file.abandon()


def _split(
    target: Manifest, places: Mapping[str, list[str]], limit: int
) -> list[list[tuple[str, str]]]:
    """Return tensor and place of every variable of each shard."""
    shards: list[list[tuple[str, str]]] = [[]]
    nbytes = 0
    for tensor, paths in places.items():
        for path in paths:
            size = target[tensor].nbytes
            if shards[-1] and nbytes + size > limit:
                shards.append([])
                nbytes = 0
            shards[-1].append((tensor, path))
            nbytes += size
    return shards
