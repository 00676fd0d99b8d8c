"""Keras files are written after a structure: every position is known before the first value.

Groups, names and attributes are as Keras itself writes them, empty groups included, so that its own
loaders take the files. The record of the conversion goes where no loader looks: an attribute of the
root of an HDF5 file, a further key of ``metadata.json``.

Source: keras 3.15.1 ``saving_lib`` and ``legacy/saving/legacy_h5_format.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from converter.errors import UsageError, WriteError, shape_text
from converter.formats.base import Writer
from converter.formats.hdf5_skeleton import Skeleton, SkeletonBuilder
from converter.formats.keras_archive import METADATA, WEIGHTS
from converter.formats.keras_checkpoint import CONFIG, PROVENANCE
from converter.formats.keras_legacy_tree import TOP_LEVEL
from converter.formats.target_file import TargetFile
from converter.formats.wording import quoted
from converter.formats.zip_target import ZipTarget
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.tensors.structure import KerasStructure

DEFAULT_VERSION = "3.6.0"  # the first that writes names of layers, as these files have them
_MODEL_GROUP = "model_weights"
_ML_DTYPES_REFUSED = "float8"


class KerasWriter(Writer):
    """Writes one ``.keras``, ``.weights.h5`` or legacy ``.h5`` file."""

    def __init__(
        self,
        folder: Path,
        name: str,
        target: Manifest,
        *,
        format_id: str = "keras_weights",
        structure: KerasStructure | None = None,
        max_shard_size: int | None = None,
    ) -> None:
        """Create the file and reserve its space.

        Args:
            folder: Where the file goes.
            name: File name.
            target: Every tensor.
            format_id: ``keras``, ``keras_weights`` or ``keras_legacy``.
            structure: Where each tensor sits in the file.
            max_shard_size: Not used: one file is written.

        Raises:
            UsageError: If the structure is not there, or not one for this format and these
                tensors.
            WriteError: If a tensor has a type that HDF5 files of Keras do not have.
            OSError: If the file cannot be created or the disk is full.
        """
        del max_shard_size
        if structure is None:
            raise UsageError(
                f"cannot write {quoted(name)}: nothing says where a Keras model keeps each tensor",
                hint="give the model with --like: a Keras file, or a function that builds it",
            )
        if format_id == "keras" and structure.config is None:
            raise UsageError(
                f"cannot write {quoted(name)}: it holds the architecture, which is not known",
                hint="write .weights.h5, or give a .keras file or a function with --like",
            )
        check_types(name, target)
        self._name = name
        self._folder = folder
        self._structure = structure
        self._widths = {spec.name: spec.dtype.itemsize for spec in target}
        places = _legacy_places(structure) if format_id == "keras_legacy" else places_of(structure)
        check_places(name, target, places, format_id)
        make = _legacy_skeleton if format_id == "keras_legacy" else _skeleton
        skeleton = make(structure, target, places)
        self._offsets = {
            tensor: [skeleton.offsets[path] for path in paths] for tensor, paths in places.items()
        }
        self._file: _Place = (
            _Archive(folder / name, structure, skeleton)
            if format_id == "keras"
            else HdfFile(folder / name, skeleton)
        )

    def write(self, name: str, start: int, block: Array) -> None:
        """Put a block at its position, or positions where Keras keeps a tensor twice."""
        for offset in self._offsets[name]:
            self._file.write(offset + start * self._widths[name], block)

    def finish(self, metadata: Mapping[str, str]) -> tuple[str, ...]:
        """Write what comes last, and the texts."""
        self._file.finish(metadata)
        return (self._name,)

    def abort(self) -> None:
        """Close the file."""
        self._file.abandon()


class _Place(Protocol):
    """The file that HDF5 content goes into."""

    def write(self, offset: int, data: bytes | Array) -> None: ...

    def finish(self, metadata: Mapping[str, str]) -> None: ...

    def abandon(self) -> None: ...


class HdfFile:
    """An HDF5 file of its own."""

    def __init__(self, path: Path, skeleton: Skeleton) -> None:
        """Create the file with everything but the values."""
        self.path = path
        self._target = TargetFile(path, skeleton.size)
        try:
            for offset, data in skeleton.pieces:
                self._target.write(offset, data)
            self._target.truncate(skeleton.size)
        except BaseException:
            self.abandon()
            raise

    def write(self, offset: int, data: bytes | Array) -> None:
        """Put bytes at their position."""
        self._target.write(offset, data)

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Close the file, with texts as attributes of its root."""
        self._target.close()
        if not metadata:
            return
        import h5py

        with h5py.File(self._target.path, "r+", locking=False) as file:
            for key, text in metadata.items():
                file.attrs[f"{PROVENANCE}.{key}"] = text

    def abandon(self) -> None:
        """Close the file."""
        self._target.abandon()


class _Archive:
    """A ``.keras`` archive around it."""

    def __init__(self, path: Path, structure: KerasStructure, skeleton: Skeleton) -> None:
        self._structure = structure
        config = (structure.config or "").encode()
        members = [(CONFIG, len(config))] if structure.config is not None else []
        self._zip = ZipTarget(path, [*members, (WEIGHTS, skeleton.size)])
        try:
            if members:
                self._zip.write(CONFIG, 0, config)
            for offset, data in skeleton.pieces:
                self._zip.write(WEIGHTS, offset, data)
        except BaseException:
            self.abandon()
            raise

    def write(self, offset: int, data: bytes | Array) -> None:
        self._zip.write(WEIGHTS, offset, data)

    def finish(self, metadata: Mapping[str, str]) -> None:
        said = json.loads(self._structure.metadata or "{}")
        said.setdefault("keras_version", self._structure.keras_version or DEFAULT_VERSION)
        said.pop(PROVENANCE, None)
        if metadata:
            said[PROVENANCE] = dict(metadata)
        self._zip.append(METADATA, json.dumps(said).encode())
        self._zip.finish()

    def abandon(self) -> None:
        self._zip.file.abandon()


def check_types(name: str, target: Manifest) -> None:
    """Refuse types that Keras does not put into HDF5.

    Raises:
        WriteError: If a tensor has one.
    """
    for spec in target:
        if spec.dtype.is_packed or spec.dtype.name.startswith(_ML_DTYPES_REFUSED):
            raise WriteError(
                f"cannot write {quoted(name)}: HDF5 files of Keras have no type {spec.dtype}",
                facts=[("tensor", f"{quoted(spec.name)}  {shape_text(spec.shape)} {spec.dtype}")],
                hint="cast with --dtype float32",
            )


def check_places(
    name: str, target: Manifest, places: Mapping[str, list[str]], format_id: str
) -> None:
    """Refuse a model whose places are not those of the tensors.

    Raises:
        UsageError: If a tensor has no place, or a place no tensor.
    """
    if not places and len(target):
        what = "legacy HDF5 file" if format_id == "keras_legacy" else "Keras 3 file"
        raise UsageError(
            f"cannot write {quoted(name)}: the model given says no places in a {what}",
            hint=f"give a {what} or a function that builds the model with --like",
        )
    lost = [spec.name for spec in target if spec.name not in places]
    empty = [tensor for tensor in places if tensor not in target]
    if lost or empty:
        facts = [("no place for", quoted(tensor)) for tensor in lost[:10]]
        facts += [("no values for", quoted(tensor)) for tensor in empty[:10]]
        raise UsageError(
            f"cannot write {quoted(name)}: the tensors are not those of the model given "
            f"({len(lost)} have no place in it, {len(empty)} of its places stay empty)",
            facts=facts,
        )


def places_of(structure: KerasStructure) -> dict[str, list[str]]:
    """Return every place of each tensor in a Keras 3 weights file."""
    places = {tensor: [path] for tensor, path in structure.store.items()}
    for path, tensor in structure.copies.items():
        places[tensor].append(path)
    return places


def _skeleton(
    structure: KerasStructure, target: Manifest, places: Mapping[str, Iterable[str]]
) -> Skeleton:
    builder = SkeletonBuilder()
    for path, name in structure.groups.items():
        builder.group(path, None if name is None else {"name": name})
    for tensor, paths in places.items():
        spec = target[tensor]
        for path in paths:
            builder.dataset(path, spec.shape, spec.dtype)
    return builder.finish()


def _legacy_places(structure: KerasStructure) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    root = f"{_MODEL_GROUP}/" if structure.config is not None else ""
    for layer, weights in structure.legacy.items():
        for tensor, weight in weights:
            places.setdefault(tensor, []).append(f"{root}{layer}/{weight}")
    return places


def _legacy_skeleton(
    structure: KerasStructure, target: Manifest, places: Mapping[str, Iterable[str]]
) -> Skeleton:
    builder = SkeletonBuilder()
    versions = {
        "keras_version": (structure.keras_version or DEFAULT_VERSION).encode(),
        "backend": (structure.backend or "tensorflow").encode(),
    }
    root = ""
    if structure.config is not None:
        root = _MODEL_GROUP
        builder.group("", {**versions, "model_config": structure.config.encode()})
    names = [layer.encode() for layer in structure.legacy if layer != TOP_LEVEL]
    builder.group(root, {"layer_names": names, **versions})
    for layer, weights in structure.legacy.items():
        group = f"{root}/{layer}" if root else layer
        builder.group(group, {"weight_names": [weight.encode() for _, weight in weights]})
    for tensor, paths in places.items():
        spec = target[tensor]
        for path in paths:
            builder.dataset(path, spec.shape, spec.dtype)
    return builder.finish()
