"""The header of a safetensors file: what it may say, and how it is written.

Every check of the reference reader is made, and those that its format text asks for besides:
no name twice, no hole, no overlap, nothing behind the last tensor.

Source: safetensors 0.8.0 ``safetensors/src/tensor.rs`` (``SafeTensors::read_metadata``,
``Metadata::validate``, ``prepare``) and the section "Format" of its README.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from converter.errors import CorruptFileError, UnsupportedFileError, shape_text
from converter.formats.source_file import SourceFile, strict_json
from converter.formats.wording import cannot_read, nbytes_text, quoted
from converter.tensors.dtype import DTYPES, DType, find_safetensors_dtype
from converter.tensors.spec import TensorSpec

MAX_HEADER_BYTES = 100_000_000
MAX_RANK = 64
MAX_INTEGER = 2**63
METADATA = "__metadata__"
_ENTRY = {"dtype", "shape", "data_offsets"}
_RANK_OF_DTYPE = {dtype: rank for rank, dtype in enumerate(DTYPES)}


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says.

    Attributes:
        specs: The tensors in the order of their values in the file.
        offsets: Name to the position of its values, in bytes from the start of the file.
        metadata: Texts.
        notices: What is unusual about it, as whole sentences.
    """

    specs: tuple[TensorSpec, ...]
    offsets: Mapping[str, int]
    metadata: Mapping[str, str]
    notices: tuple[str, ...] = ()


def read_header(source: SourceFile) -> Header:
    """Read and check the header of a safetensors file.

    Raises:
        CorruptFileError: If it is not one, contradicts itself, or does not fit the file.
        UnsupportedFileError: If a tensor has a type that this version does not know.
    """
    if source.size < 8:
        raise _bad(source, f"it is only {nbytes_text(source.size)} long")
    size = int.from_bytes(source.read(0, 8), "little")
    if size > MAX_HEADER_BYTES or 8 + size > source.size:
        raise CorruptFileError(
            cannot_read(source.path, "its header does not fit into the file"),
            facts=[
                ("expected", f"a header of {nbytes_text(size)}, at most 100,000,000"),
                ("found", f"a file of {nbytes_text(source.size)}"),
            ],
        )
    document = strict_json(source.read(8, size), what="the header", path=source.path)
    if not isinstance(document, dict):
        raise _bad(source, "its header is not an object")
    metadata = document.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _bad(source, "its metadata are not texts")
    ranges = sorted(
        (_entry(source, name, entry) for name, entry in document.items()),
        key=lambda one: (one[1], one[2]),
    )
    position = 0
    for spec, begin, end in ranges:
        if begin != position:
            kind = "overlaps another one" if begin < position else "has a hole before it"
            raise _bad(source, f"the tensor {quoted(spec.name)} {kind}")
        position = end
    if 8 + size + position != source.size:
        raise CorruptFileError(
            cannot_read(source.path, "its size is not that of its tensors"),
            facts=[
                ("expected", f"{nbytes_text(8 + size + position)}  from the header"),
                ("found", nbytes_text(source.size)),
            ],
        )
    return Header(
        tuple(spec for spec, _, _ in ranges),
        {spec.name: 8 + size + begin for spec, begin, _ in ranges},
        metadata,
        _notices(source),
    )


def _notices(source: SourceFile) -> tuple[str, ...]:
    if source.read(8, 1) == b"{":
        return ()
    return ("The header begins with space, which the format forbids and its own reader takes.",)


def _entry(source: SourceFile, name: str, entry: Any) -> tuple[TensorSpec, int, int]:
    what = f"the tensor {quoted(name)}"
    if not isinstance(entry, dict) or entry.keys() != _ENTRY or "\0" in name:
        raise _bad(source, f"{what} is not described by dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (_are_sizes(shape) and _are_sizes(offsets)) or len(offsets) != 2:
        raise _bad(source, f"{what} has sizes or offsets that are not numbers")
    dtype = find_safetensors_dtype(code) if isinstance(code, str) else None
    if dtype is None:
        raise UnsupportedFileError(
            cannot_read(source.path, f"{what} has a type that this version does not know"),
            facts=[("found", quoted(code))],
        )
    expected = _nbytes(dtype, shape)
    if expected is None or offsets[1] - offsets[0] != expected:
        raise CorruptFileError(
            cannot_read(source.path, f"{what} has offsets that do not fit its shape"),
            facts=[
                ("expected", f"{shape_text(shape)} {dtype}, whole bytes"),
                ("found", f"{offsets[1] - offsets[0]:,} bytes"),
            ],
        )
    return TensorSpec(name, tuple(shape), dtype), offsets[0], offsets[1]


def _are_sizes(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= MAX_RANK
        and all(type(value) is int and 0 <= value < MAX_INTEGER for value in values)
    )


def _nbytes(dtype: DType, shape: list[int]) -> int | None:
    """Return the size in bytes, or ``None`` where it overflows or fills no whole bytes."""
    if math.prod(size for size in shape if size) * dtype.bits >= MAX_INTEGER:
        return None
    bits = math.prod(shape) * dtype.bits
    return None if bits % 8 else bits // 8


def _bad(source: SourceFile, why: str) -> CorruptFileError:
    return CorruptFileError(cannot_read(source.path, why))


def sorted_specs(specs: Iterable[TensorSpec]) -> list[TensorSpec]:
    """Return tensors in the order of the reference writer: widest type first, then by name.

    So every tensor begins at a multiple of the width of its elements.
    """
    return sorted(specs, key=lambda spec: (-_RANK_OF_DTYPE[spec.dtype], spec.name.encode()))


def header_bytes(
    specs: Iterable[TensorSpec], metadata: Mapping[str, str], *, at_least: int = 0
) -> bytes:
    """Return the length field and the header of a file whose tensors follow each other.

    Args:
        specs: The tensors in the order of their values.
        metadata: Texts.
        at_least: Size of the result in bytes; space is added at the end, as the format allows.
    """
    document: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    position = 0
    for spec in specs:
        document[spec.name] = {
            "dtype": spec.dtype.safetensors,
            "shape": list(spec.shape),
            "data_offsets": [position, position + spec.nbytes],
        }
        position += spec.nbytes
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    size = max(8 + len(text), at_least)
    size += -size % 8
    return (size - 8).to_bytes(8, "little") + text.ljust(size - 8)
