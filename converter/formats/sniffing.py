"""Which format a file is of, told from its content.

Only as much is read as the question needs: some first bytes, the directory of a zip, the object
names of an HDF5 file, an index of shards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converter._optional import is_installed
from converter.errors import CheckpointError, UnknownFormatError, UnsupportedFileError
from converter.formats.joblib_compression import compression_of, inflated_head
from converter.formats.numpy_header import MAGIC
from converter.formats.source_file import MAX_JSON_BYTES, SourceFile, strict_json
from converter.formats.wording import cannot_read, quoted
from converter.formats.zip_archive import ZipArchive

_ZIP = (b"PK\3\4", b"PK\5\6")
_HDF5 = b"\x89HDF\r\n\x1a\n"
# The magic number of torch/serialization.py as a pickle of protocol 2 or later.
_TORCH_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MAX_HEADER = 100_000_000  # of a safetensors file
_SPACE = b" \t\r\n"
# A model begins with the field ir_version, followed by one of a few fields, mostly producer_name.
_ONNX_SECOND_FIELDS = frozenset({0x12, 0x1A, 0x22, 0x32, 0x3A, 0x42})
_SHOWN = 16
# Pickles of protocol 2 and later; lists, dicts and arrays of protocols 0 and 1.
_PICKLES = (b"\x80", b"(lp", b"(dp", b"]q", b"}q", b"cnumpy", b"(cnumpy", b"ccollections")
_SEARCHED = 2**18  # NumPy is named before the first array


def find_file(path: Path) -> Path:
    """Return the file that a path stands for: itself, or what a folder holds.

    A folder of ``.npy`` files stands for itself, an unzipped ``.keras`` archive and a
    preset of Keras for its weights, which may be in shards.

    Raises:
        CheckpointError: If a folder holds no index of shards and no ``model.safetensors``.
    """
    if not path.is_dir():
        return path
    from converter.formats.numpy_folder import has_arrays
    from converter.formats.safetensors_reader import find_index

    for unzipped in (path / "model.weights.h5", path / "model.weights.json"):
        if unzipped.exists() and (path / "config.json").exists():
            return unzipped
    single = path / "model.safetensors"
    indices = any(path.glob("*.safetensors.index.json"))
    if not indices and not single.exists() and has_arrays(path):
        return path
    if single.exists() and not indices:
        return single
    others = [path / f"pytorch_model.bin{end}" for end in (".index.json", "")]
    return next((one for one in others if one.exists() and not indices), None) or find_index(path)


def sniff_id(path: Path) -> str:
    """Return the identifier of the format of a file.

    Raises:
        CheckpointError: If it cannot be opened, or is a damaged container.
        UnknownFormatError: If it is of no known format.
    """
    if path.is_dir():
        return "npy"
    with SourceFile(path) as source:
        return sniff_open(path, source)


def sniff_open(path: Path, source: SourceFile) -> str:
    """Return the identifier of the format of an open file.

    Raises:
        CheckpointError: If it is a damaged container.
        UnknownFormatError: If it is of no known format.
    """
    head = source.read(0, min(source.size, 64))
    found = _sniff(path, source, head)
    if found is None:
        raise _unknown(path, source, head)
    return found


def _sniff(path: Path, source: SourceFile, head: bytes) -> str | None:
    if head.startswith(_ZIP):
        return _sniff_zip(source)
    if _is_safetensors(source, head):
        return "safetensors"
    if head.lstrip(_SPACE).startswith(b"{"):
        return _sniff_json(source)
    if _is_hdf5(source):
        return _sniff_hdf5(path)
    return _sniff_plain(source, head)


def _sniff_plain(source: SourceFile, head: bytes) -> str | None:
    """Tell formats without a directory by their first bytes."""
    if head.startswith(b"\x80") and _TORCH_LEGACY in head[:32]:
        return "torch_legacy"
    if head.startswith(MAGIC):
        return "npy"
    if _is_numpy_pickle(source, head):
        return "numpy_pickle"
    is_onnx = len(head) > 2 and head[0] == 8 and head[1] < 32 and head[2] in _ONNX_SECOND_FIELDS
    return "onnx" if is_onnx else None


def _is_safetensors(source: SourceFile, head: bytes) -> bool:
    if len(head) < 9 or int.from_bytes(head[:8], "little") > _MAX_HEADER:
        return False
    return head[8:].lstrip(_SPACE).startswith(b"{") or (
        source.size > 64 and not head[8:].strip(_SPACE)
    )


def _is_numpy_pickle(source: SourceFile, head: bytes) -> bool:
    """Whether it begins as a pickle does, and soon names NumPy; compressed by joblib or not."""
    kind = compression_of(head)
    if kind is None:
        begin = source.read(0, min(source.size, _SEARCHED)) if head.startswith(_PICKLES) else b""
    elif kind == "lz4" and not is_installed("lz4"):
        return True  # the reader says what to install
    else:
        begin = inflated_head(source, kind, _SEARCHED)
    return begin.startswith(_PICKLES) and b"numpy" in begin


def _sniff_zip(source: SourceFile) -> str | None:
    names = list(ZipArchive(source).members)
    if any(name in {"model.weights.h5", "model.weights.npz"} for name in names):
        return "keras"
    if any(name.count("/") == 1 and name.endswith("/constants.pkl") for name in names):
        return "torchscript"
    if any(name.endswith("/data.pkl") for name in names):
        return "torch"
    return "npz" if all(name.endswith(".npy") for name in names) else None


def _is_hdf5(source: SourceFile) -> bool:
    """Whether the signature is at 0, 512, 1024, 2048 and so on.

    Source: HDF5 File Format Specification 3.0, section II.A.
    """
    offset = 0
    while offset + len(_HDF5) <= source.size:
        if source.read(offset, len(_HDF5)) == _HDF5:
            return True
        offset = 2 * offset or 512
    return False


def _sniff_hdf5(path: Path) -> str:
    from converter.formats.keras_sniff import sniff_hdf5

    found = sniff_hdf5(path)
    if found is None:
        raise UnknownFormatError(
            cannot_read(path, "it is an HDF5 file that holds no Keras model or weights")
        )
    return found


def _sniff_json(source: SourceFile) -> str:
    if source.size > MAX_JSON_BYTES:
        raise CheckpointError(cannot_read(source.path, "it is a text of more than 64 MiB"))
    document = strict_json(source.read(0, source.size), what="it", path=source.path)
    weight_map: Any = document.get("weight_map")
    if not isinstance(weight_map, dict):
        raise UnknownFormatError(
            cannot_read(source.path, "it is JSON without a weight_map: no index of shards"),
            facts=[("keys", ", ".join(quoted(key) for key in list(document)[:8]))],
        )
    names = [value for value in weight_map.values() if isinstance(value, str)]
    if any(isinstance(value, list) for value in weight_map.values()) or any(
        name.endswith(".weights.h5") for name in names
    ):
        return "keras_sharded"
    if names and all(name.endswith((".bin", ".pt", ".pth")) for name in names):
        return "torch_index"
    if names and not any(name.endswith(".safetensors") for name in names):
        raise UnsupportedFileError(
            cannot_read(source.path, "its shards are of no known format"),
            facts=[("shard", quoted(names[0]))],
        )
    return "safetensors_index"


def _unknown(path: Path, source: SourceFile, head: bytes) -> UnknownFormatError:
    if not head:
        return UnknownFormatError(cannot_read(path, "the file is empty"))
    shown = head[:_SHOWN]
    more = "..." if source.size > _SHOWN else ""
    return UnknownFormatError(
        cannot_read(path, "its content is of no known format"),
        facts=[("begins with", f"{shown.hex(' ')}{more}  {shown.decode('latin-1')!a}{more}")],
    )
