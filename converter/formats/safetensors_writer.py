"""Safetensors files are written in place: every tensor's position is known before its values.

The header comes first in the file, and the record of the conversion that belongs into it is known
last. Room for it is left as trailing space, which the format allows; a longer record moves the
values.

Source: safetensors 0.8.0 ``safetensors/src/tensor.rs``, ``prepare`` (order and alignment);
huggingface_hub 0.30 ``serialization/_base.py`` (names of shards and the index).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from converter.errors import UsageError, WriteError, shape_text
from converter.formats.base import Writer
from converter.formats.safetensors_header import METADATA, header_bytes, sorted_specs
from converter.formats.target_file import TargetFile
from converter.formats.wording import quoted
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec
from converter.tensors.structure import KerasStructure

RESERVED_BYTES = 4096
INDEX_SUFFIX = ".index.json"
DEFAULT_SHARD_BYTES = 5 * 10**9  # of an index that is asked for without a size


class SafetensorsWriter(Writer):
    """Writes one safetensors file, or shards and their index."""

    def __init__(
        self,
        folder: Path,
        name: str,
        target: Manifest,
        *,
        format_id: str = "safetensors",
        structure: KerasStructure | None = None,
        max_shard_size: int | None = None,
    ) -> None:
        """Create the files and reserve their space.

        Args:
            folder: Where the files go.
            name: File name; of an index when it ends in ``.index.json``.
            target: Every tensor.
            format_id: ``safetensors_index`` asks for shards even where one file is enough.
            structure: Not used: the format has names.
            max_shard_size: Most bytes of tensors in one file, or ``None`` for one file.

        Raises:
            WriteError: If a tensor has a name or a type that the format does not have.
            UsageError: If ``max_shard_size`` is not positive.
            OSError: If the files cannot be created or the disk is full.
        """
        del structure
        for spec in target:
            _check(spec, name)
        is_index = format_id == "safetensors_index" or name.endswith(INDEX_SUFFIX)
        stem = name.removesuffix(INDEX_SUFFIX).removesuffix(".safetensors")
        limit = DEFAULT_SHARD_BYTES if is_index and max_shard_size is None else max_shard_size
        groups = _split(target, limit)
        self._index = f"{stem}.safetensors{INDEX_SUFFIX}" if len(groups) > 1 or is_index else None
        self._texts = {"format": target.family if target.family == "keras" else "pt", **target.ties}
        self._nbytes = target.nbytes
        self._shards: list[_Shard] = []
        self._places: dict[str, tuple[_Shard, TensorSpec]] = {}
        try:
            for number, group in enumerate(groups, 1):
                shard = f"{stem}-{number:05}-of-{len(groups):05}.safetensors"
                self._add(folder / (shard if self._index else name), group)
        except BaseException:
            self.abort()
            raise
        self._folder = folder

    def _add(self, path: Path, specs: Iterable[TensorSpec]) -> None:
        shard = _Shard(path, sorted_specs(specs), self._texts)
        self._shards.append(shard)
        self._places |= {spec.name: (shard, spec) for spec in shard.specs}

    def write(self, name: str, start: int, block: Array) -> None:
        """Put a block at its position in its file."""
        shard, spec = self._places[name]
        width = 1 if spec.dtype.is_packed else spec.dtype.itemsize
        shard.file.write(shard.offsets[name] + start * width, block)

    def finish(self, metadata: Mapping[str, str]) -> tuple[str, ...]:
        """Write the headers and the index."""
        for shard in self._shards:
            shard.finish({**self._texts, **metadata})
        names = [shard.file.path.name for shard in self._shards]
        if self._index is not None:
            document = {
                "metadata": {"total_size": self._nbytes, **metadata},
                "weight_map": {
                    name: shard.file.path.name for name, (shard, _) in sorted(self._places.items())
                },
            }
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
            index = TargetFile(self._folder / self._index, 0)
            try:
                index.write(0, text.encode())
            finally:
                index.close()
            names.append(self._index)
        return tuple(names)

    def abort(self) -> None:
        """Close the files."""
        for shard in self._shards:
            shard.file.abandon()


class _Shard:
    """One file: its tensors, where each begins, and room for the header."""

    def __init__(self, path: Path, specs: list[TensorSpec], texts: Mapping[str, str]) -> None:
        self.specs = specs
        self._start = len(header_bytes(specs, texts)) + RESERVED_BYTES
        self._nbytes = sum(spec.nbytes for spec in specs)
        self.offsets: dict[str, int] = {}
        position = self._start
        for spec in specs:
            self.offsets[spec.name] = position
            position += spec.nbytes
        self.file = TargetFile(path, position)

    def finish(self, texts: Mapping[str, str]) -> None:
        header = header_bytes(self.specs, texts, at_least=self._start)
        if len(header) > self._start:
            self.file.move(self._start, self._start + self._nbytes, len(header))
        self.file.write(0, header)
        self.file.truncate(len(header) + self._nbytes)
        self.file.close()


def _split(target: Manifest, limit: int | None) -> list[list[TensorSpec]]:
    """Return the tensors of each shard, in the order of the model; a larger one is alone."""
    if limit is None:
        return [list(target)]
    if limit <= 0:
        raise UsageError(f"cannot write shards of {limit:,} bytes: the size must be positive")
    groups: list[list[TensorSpec]] = [[]]
    nbytes = 0
    for spec in target:
        if groups[-1] and nbytes + spec.nbytes > limit:
            groups.append([])
            nbytes = 0
        groups[-1].append(spec)
        nbytes += spec.nbytes
    return groups


def _check(spec: TensorSpec, name: str) -> None:
    if spec.dtype.safetensors is None:
        raise WriteError(
            f"cannot write {quoted(name)}: safetensors has no type {spec.dtype}",
            facts=[("tensor", f"{quoted(spec.name)}  {shape_text(spec.shape)} {spec.dtype}")],
        )
    try:
        spec.name.encode()
    except UnicodeEncodeError:
        is_name = False
    else:
        is_name = spec.name != METADATA and "\0" not in spec.name
    if not is_name:
        raise WriteError(
            f"cannot write {quoted(name)}: safetensors has no tensor of this name",
            facts=[("tensor", quoted(spec.name))],
        )
