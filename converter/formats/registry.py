"""Every format, and which one a file is of. Content decides; the ending is only what it claims.

A file named ``.keras`` may be HDF5, one named ``.h5`` may be of either generation of Keras, and
reading it as what its name says loads nothing or, worse, something. So the first bytes decide,
and a name that claims something else becomes a notice. Readers and writers are imported when
they are used.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.errors import UnknownFormatError, UnsupportedFileError, UsageError
from converter.formats.wording import cannot_read, quoted

if TYPE_CHECKING:  # 'converter formats' lists the table below without waiting for NumPy
    from converter.formats.base import Checkpoint, Writer
    from converter.tensors.manifest import Family, Manifest
    from converter.tensors.structure import KerasStructure

__all__ = [
    "FORMATS",
    "Format",
    "create_writer",
    "get_format",
    "open_checkpoint",
    "sniff",
    "target_format",
]


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file.

    Attributes:
        id: Its identifier.
        title: What people call it.
        suffixes: Endings of file names, longest first.
        family: Whose names and layouts it holds, or ``None`` where it holds either.
        reader: Module and class that reads it, or ``None``.
        writer: Module and class that writes it, or ``None``.
        needs: ``read`` or ``write``, or an ending, to the extra that this needs installed.
        has_metadata: Whether a written file has a place for texts.
        replaces: Whether it is written as a copy of an existing one with other values.
    """

    id: str
    title: str
    suffixes: tuple[str, ...]
    family: Family | None
    reader: str | None
    writer: str | None = None
    needs: Mapping[str, str] = field(default_factory=dict)
    has_metadata: bool = False
    replaces: bool = False

    @property
    def can_read(self) -> bool:
        """Whether this version reads it."""
        return self.reader is not None

    @property
    def can_write(self) -> bool:
        """Whether this version writes it."""
        return self.writer is not None


_KERAS_WRITER = "converter.formats.keras_writer:KerasWriter"

FORMATS = (
    Format(
        "keras",
        "Keras 3 archive",
        (".keras",),
        "keras",
        "converter.formats.keras_archive:KerasArchive",
        _KERAS_WRITER,
        has_metadata=True,
    ),
    Format(
        "keras_weights",
        "Keras 3 weights",
        (".weights.h5",),
        "keras",
        "converter.formats.keras_weights:KerasWeights",
        _KERAS_WRITER,
        has_metadata=True,
    ),
    Format(
        "keras_sharded",
        "Keras 3 weights in shards",
        (".weights.json",),
        "keras",
        "converter.formats.keras_sharded:KerasSharded",
        "converter.formats.keras_sharded_writer:KerasShardedWriter",
        has_metadata=True,
    ),
    Format(
        "keras_legacy",
        "Legacy Keras HDF5",
        (".h5", ".hdf5"),
        "keras",
        "converter.formats.keras_legacy:KerasLegacy",
        _KERAS_WRITER,
        has_metadata=True,
    ),
    Format(
        "safetensors",
        "safetensors",
        (".safetensors",),
        None,
        "converter.formats.safetensors_reader:SafetensorsCheckpoint",
        "converter.formats.safetensors_writer:SafetensorsWriter",
        has_metadata=True,
    ),
    Format(
        "safetensors_index",
        "safetensors in shards",
        (".safetensors.index.json",),
        None,
        "converter.formats.safetensors_reader:SafetensorsIndex",
        "converter.formats.safetensors_writer:SafetensorsWriter",
        has_metadata=True,
    ),
    Format(
        "torch",
        "PyTorch checkpoint",
        (".pt", ".pth", ".bin", ".ckpt", ".th"),
        "torch",
        "converter.formats.torch_reader:TorchZip",
        "converter.formats.torch_writer:TorchWriter",
    ),
    Format(
        "torch_legacy",
        "PyTorch checkpoint before 1.6",
        (),
        "torch",
        "converter.formats.torch_reader:TorchLegacy",
    ),
    Format(
        "torch_index",
        "PyTorch checkpoint in shards",
        (".bin.index.json",),
        "torch",
        "converter.formats.torch_index:TorchIndex",
    ),
    Format(
        "torchscript",
        "TorchScript archive",
        (".torchscript", ".ptl"),
        "torch",
        "converter.formats.torchscript_reader:TorchScript",
    ),
    Format(
        "npz",
        "NumPy archive",
        (".npz",),
        None,
        "converter.formats.npz_reader:NpzCheckpoint",
        "converter.formats.npz_writer:NpzWriter",
    ),
    Format(
        "npy",
        "NumPy array, or a folder of them",
        (".npy",),
        None,
        "converter.formats.numpy_folder:NumpyFolder",
    ),
    Format(
        "numpy_pickle",
        "pickled NumPy arrays (pickle, joblib)",
        (".pkl", ".pickle", ".joblib", ".joblib.gz", ".joblib.z", ".joblib.lz4"),
        None,
        "converter.formats.numpy_pickle:NumpyPickle",
        needs={".joblib.lz4": "lz4"},
    ),
    Format(
        "onnx",
        "ONNX model",
        (".onnx",),
        "torch",
        "converter.formats.onnx_reader:OnnxCheckpoint",
        "converter.formats.onnx_writer:OnnxWriter",
        has_metadata=True,
        replaces=True,
    ),
)
_BY_ID = {one.id: one for one in FORMATS}
_SUFFIXES = sorted(
    ((suffix, one) for one in FORMATS for suffix in one.suffixes), key=lambda pair: -len(pair[0])
)
_IN_SHARDS = frozenset({"safetensors", "safetensors_index", "keras_sharded"})
# One ending, several formats, and nobody is surprised.
_SHARED_ENDINGS = (frozenset({"torch", "torch_legacy", "torchscript"}),)


def get_format(format_id: str) -> Format:
    """Return the format of this identifier.

    Raises:
        UsageError: If there is none.
    """
    found = _BY_ID.get(format_id)
    if found is None:
        raise UsageError(
            f"there is no format {quoted(format_id)}",
            facts=[("formats", ", ".join(_BY_ID))],
        )
    return found


def sniff(path: Path) -> Format:
    """Return the format of a file or folder, by its content.

    Raises:
        CheckpointError: If it cannot be opened.
        UnknownFormatError: If its content is of no known format.
    """
    from converter.formats.sniffing import find_file, sniff_id

    try:
        return _BY_ID[sniff_id(find_file(Path(path)))]
    except UnknownFormatError as error:
        facts = [
            *error.facts,
            ("readable", ", ".join(one.title for one in FORMATS if one.can_read)),
        ]
        raise UnknownFormatError(error.summary, facts=facts) from error


def open_checkpoint(
    path: Path, *, select: str | None = None, architecture: Path | None = None
) -> Checkpoint:
    """Open a file or folder, whatever its name, and read its names, shapes and dtypes.

    Args:
        path: The file, or a folder with an index of shards.
        select: Which set of weights to take, where a file holds several.
        architecture: A Keras model or its JSON, for weights that do not say their layers. Arrays
            without names get those of a Keras model, in ``get_weights()`` order.

    Raises:
        CheckpointError: If it cannot be opened, is of no known format, is damaged or unsafe.
        UnsupportedFileError: If its format is known and not read by this version.
    """
    from converter.formats.noticed import NoticedCheckpoint
    from converter.formats.numpy_positions import is_nameless
    from converter.formats.sniffing import find_file

    file = find_file(Path(path))
    found = sniff(file)
    if found.reader is None:
        raise UnsupportedFileError(
            cannot_read(file, f"it is an {found.title}, which this version does not read"),
            facts=[("readable", ", ".join(one.title for one in FORMATS if one.can_read))],
        )
    checkpoint: Checkpoint = _load(found.reader)(file, select=select, architecture=architecture)
    if architecture is not None and is_nameless(checkpoint.manifest):
        checkpoint = _named(checkpoint, architecture)
    claimed = find_suffix(file)
    if claimed is None or _is_expected(claimed.id, found.id):
        return checkpoint
    return NoticedCheckpoint(
        checkpoint,
        f"The name says {claimed.title}, the content is {found.title}: it was read as that.",
    )


def _named(checkpoint: Checkpoint, architecture: Path) -> Checkpoint:
    from converter.formats.numpy_positions import named_after

    try:
        with open_checkpoint(architecture) as model:
            return named_after(checkpoint, model)
    except BaseException:
        checkpoint.close()
        raise


def target_format(target: object, explicit: str | None = None) -> Format:
    """Return the format in which a target is written: the one asked for, or that of its ending.

    Raises:
        UsageError: If there is no such format, the ending says none, or it is not written; or if
            the target is no path.
    """
    if not isinstance(target, str | os.PathLike):
        raise UsageError(
            f"cannot write into a {type(target).__name__}: a target is the path of a file",
            hint="converter.load(model, source) fills a live model",
        )
    path = Path(target)
    found = get_format(explicit) if explicit is not None else find_suffix(path)
    if found is not None and found.can_write:
        return found
    if found is None:
        why = "its ending says no format"
    else:
        why = f"this version does not write the format {found.title}"
    raise UsageError(
        f"cannot write {quoted(path.name)}: {why}",
        facts=[("endings", ", ".join(s for one in FORMATS if one.can_write for s in one.suffixes))],
    )


def _is_expected(claimed: str, found: str) -> bool:
    return claimed == found or any({claimed, found} <= pair for pair in _SHARED_ENDINGS)


def find_suffix(path: Path) -> Format | None:
    """Return the format that the ending of a name claims, or ``None``.

    Examples:
        >>> find_suffix(Path("a.weights.h5")).id, find_suffix(Path("a.h5")).id
        ('keras_weights', 'keras_legacy')
        >>> find_suffix(Path("a.txt")) is None
        True
    """
    name = path.name.lower()
    return next((one for suffix, one in _SUFFIXES if name.endswith(suffix)), None)


def create_writer(
    format_id: str,
    folder: Path,
    name: str,
    target: Manifest,
    *,
    structure: KerasStructure | None = None,
    max_shard_size: int | None = None,
    like: Checkpoint | None = None,
) -> Writer:
    """Start a target.

    Args:
        format_id: Identifier of its format.
        folder: The temporary folder that its files go to.
        name: Its file name.
        target: Every tensor.
        structure: Where each tensor sits in a Keras file.
        max_shard_size: Most bytes of tensors in one file, or ``None`` for one file.
        like: The checkpoint that the target is like; formats that replace values copy its file.

    Raises:
        UsageError: If the format is not written, or not in shards, there is nothing to copy, or the
            tensors are those of the other family.
        WriteError: If a tensor has a type or a name that the format does not have.
        OSError: If the files cannot be created or the disk is full.
    """
    found = get_format(format_id)
    if found.writer is None:
        raise UsageError(f"this version does not write the format {found.title}")
    if max_shard_size is not None and found.id not in _IN_SHARDS:
        raise UsageError(
            f"cannot write {quoted(name)}: the format {found.title} is written as one file",
            hint="leave out the size of shards, or write safetensors or .weights.json",
        )
    if found.family == "keras" and target.family == "torch":
        raise UsageError(
            f"cannot write {quoted(name)}: the tensors have PyTorch's names and layouts",
            hint="write safetensors, and convert that: converter convert FILE "
            f"{quoted(name)} --like MODEL",
        )
    writer: Writer = _load(found.writer)(
        folder,
        name,
        target,
        format_id=found.id,
        structure=structure,
        max_shard_size=max_shard_size,
        **({"like": like} if found.replaces else {}),
    )
    return writer


def _load(dotted: str) -> Any:
    module, _, name = dotted.partition(":")
    return getattr(importlib.import_module(module), name)
