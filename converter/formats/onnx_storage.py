"""Where the values of an ONNX tensor lie, checked against what the tensor says it is.

Values are in one of seven fields, or in another file in the same folder or below. Whatever lies
there byte by byte is mapped; what is written as numbers of varying length is decoded when it is
read.

Source: onnx 1.23.2, onnx/onnx.proto, ``TensorProto``, and docs/ExternalData.md.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from converter.errors import (
    CheckpointError,
    CorruptFileError,
    UnsafeFileError,
    UnsupportedFileError,
    shape_text,
)
from converter.formats.beside import open_beside
from converter.formats.onnx_graph import (
    DOUBLE_DATA,
    FLOAT_DATA,
    INT32_DATA,
    INT64_DATA,
    RAW_DATA,
    UINT64_DATA,
    Tensor,
)
from converter.formats.onnx_wire import LENGTH, Wire
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read, nbytes_text, quoted
from converter.tensors.dtype import Array, DType, get_dtype
from converter.tensors.spec import TensorSpec

MAX_RANK = 32
MAX_ELEMENTS = 2**48

# Number in the file to element type, and the typed field that may hold its values.
_TYPES = {
    1: ("float32", FLOAT_DATA),
    2: ("uint8", INT32_DATA),
    3: ("int8", INT32_DATA),
    4: ("uint16", INT32_DATA),
    5: ("int16", INT32_DATA),
    6: ("int32", INT32_DATA),
    7: ("int64", INT64_DATA),
    9: ("bool", INT32_DATA),
    10: ("float16", INT32_DATA),
    11: ("float64", DOUBLE_DATA),
    12: ("uint32", UINT64_DATA),
    13: ("uint64", UINT64_DATA),
    14: ("complex64", FLOAT_DATA),
    15: ("complex128", DOUBLE_DATA),
    16: ("bfloat16", INT32_DATA),
    17: ("float8_e4m3fn", INT32_DATA),
    18: ("float8_e4m3fnuz", INT32_DATA),
    19: ("float8_e5m2", INT32_DATA),
    20: ("float8_e5m2fnuz", INT32_DATA),
    24: ("float8_e8m0fnu", INT32_DATA),
}
_FOREIGN = {
    8: "string",
    21: "uint4",
    22: "int4",
    23: "float4e2m1",
    25: "uint2",
    26: "int2",
}
_AS_BYTES = frozenset({FLOAT_DATA, DOUBLE_DATA, RAW_DATA})
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_EXTERNAL_KEYS = frozenset({"location", "offset", "length", "checksum"})
NUMBER_TO_TYPE: Mapping[int, str] = {number: name for number, (name, _) in _TYPES.items()}


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor with its values.

    Attributes:
        tensor: What the file says.
        spec: Name, shape and type of it.
        source: The file that the values are in.
        offset: Where they begin, or ``None`` where they are numbers of varying length.
        numbers: Those numbers, decoded; empty otherwise.
    """

    tensor: Tensor
    spec: TensorSpec
    source: SourceFile
    offset: int | None
    numbers: Array

    def read(self) -> Array:
        """Return the values as a read-only array.

        Raises:
            CorruptFileError: If a truth value is neither true nor false.
        """
        if self.offset is None:
            return self.numbers
        raw = self.source.view(self.offset, self.spec.nbytes)
        if self.spec.dtype.name == "bool" and raw.size and raw.max() > 1:
            raise CorruptFileError(
                cannot_read(
                    self.source.path,
                    f"the tensor {quoted(self.spec.name)} holds what is no truth value",
                )
            )
        return raw.view(self.spec.dtype.numpy).reshape(self.spec.shape)

    def release(self) -> None:
        """Give back the memory that reading took."""
        if self.offset is not None:
            self.source.release(self.offset, self.spec.nbytes)


class Storage:
    """Finds the values of the tensors of one file."""

    def __init__(self, source: SourceFile, wire: Wire) -> None:
        """Look into ``source``; ``wire`` is its content while it is being parsed."""
        self._wire = wire
        self._source = source
        self._beside: dict[str, SourceFile] = {}

    @property
    def beside(self) -> Mapping[str, SourceFile]:
        """The files that hold values, by the name that the model gives them."""
        return self._beside

    def close(self) -> None:
        """Close the files that hold values."""
        for source in self._beside.values():
            source.close()

    def find(self, tensor: Tensor) -> Stored:
        """Return a tensor with the place of its values.

        Raises:
            CorruptFileError: If values and description contradict each other.
            UnsafeFileError: If its sizes or its other file are no checkpoint's.
            UnsupportedFileError: If it is of a type that is not converted, or part of a tensor.
        """
        found = _TYPES.get(tensor.data_type)
        if found is None:
            raise self._foreign(tensor)
        name, typed = found
        spec = TensorSpec(tensor.name, self._shape(tensor), get_dtype(name))
        if tensor.is_segment:
            raise UnsupportedFileError(self._text(tensor, "is only a segment of a tensor"))
        if tensor.is_external:
            source, offset = self._external(tensor, spec)
            return Stored(tensor, spec, source, offset, _NOTHING)
        return self._inside(tensor, spec, typed)

    def _shape(self, tensor: Tensor) -> tuple[int, ...]:
        shape = tuple(tensor.dims)
        if len(shape) > MAX_RANK:
            raise UnsafeFileError(self._text(tensor, f"has {len(shape)} axes"))
        # NumPy would take any negative size for "as many as there are".
        if any(size < 0 for size in shape):
            raise CorruptFileError(
                self._text(tensor, "has a negative size"), facts=[("shape", shape_text(shape))]
            )
        if math.prod(size for size in shape if size) > MAX_ELEMENTS:
            raise UnsafeFileError(
                self._text(tensor, "is larger than any tensor"),
                facts=[("shape", shape_text(shape))],
            )
        return shape

    def _inside(self, tensor: Tensor, spec: TensorSpec, typed: int) -> Stored:
        fields = [one for one in tensor.data if one.span.stop > one.span.start]
        numbers = {one.number for one in fields}
        if not numbers and spec.nbytes == 0:
            return Stored(tensor, spec, self._source, None, _empty(spec))
        if len(numbers) != 1 or not numbers <= {RAW_DATA, typed}:
            raise CorruptFileError(
                self._text(tensor, "does not have its values in one field that fits its type"),
                facts=[("type", str(spec.dtype)), ("fields", _numbers_text(numbers))],
            )
        (number,) = numbers
        if number == RAW_DATA and len(fields) > 1:
            raise CorruptFileError(self._text(tensor, "has its values twice"))
        if number in _AS_BYTES and len(fields) == 1 and fields[0].wire == LENGTH:
            span = fields[0].span
            self._check_size(tensor, spec, span.stop - span.start)
            return Stored(tensor, spec, self._source, span.start, _NOTHING)
        return Stored(tensor, spec, self._source, None, self._decode(tensor, spec, number))

    def _decode(self, tensor: Tensor, spec: TensorSpec, number: int) -> Array:
        """Return values that do not lie one after the other as the type has them."""
        fields = [one for one in tensor.data if one.number == number]
        if number in (FLOAT_DATA, DOUBLE_DATA):  # every number with a tag of its own
            raw = b"".join(bytes(self._wire.data[one.span.start : one.span.stop]) for one in fields)
            self._check_size(tensor, spec, len(raw))
            decoded: Array = np.frombuffer(raw, spec.dtype.numpy)
        else:
            values = [value for one in fields for value in self._wire.numbers(one)]
            self._check_size(tensor, spec, len(values) * spec.dtype.itemsize)
            decoded = self._narrow(tensor, values, spec.dtype, is_unsigned=number == UINT64_DATA)
        decoded = decoded.reshape(spec.shape)
        decoded.flags.writeable = False
        return decoded

    def _narrow(
        self, tensor: Tensor, values: list[int], dtype: DType, *, is_unsigned: bool
    ) -> Array:
        if is_unsigned:
            values = [value & (2**64 - 1) for value in values]
        # Floating types narrower than float32 are bit patterns in int32_data.
        holder = f"uint{dtype.bits}" if dtype.is_floating or dtype.name == "bool" else dtype.name
        limits = np.iinfo(holder)
        top = 1 if dtype.name == "bool" else int(limits.max)
        if any(not int(limits.min) <= value <= top for value in values):
            raise CorruptFileError(self._text(tensor, f"has a value that is no {dtype}"))
        return np.array(values, holder).view(dtype.numpy)

    def _external(self, tensor: Tensor, spec: TensorSpec) -> tuple[SourceFile, int]:
        entries = self._entries(tensor)
        if any(one.span.nbytes for one in tensor.data):
            raise CorruptFileError(self._text(tensor, "has values here and in another file"))
        source = self._open(entries["location"])
        offset = self._number(tensor, entries.get("offset", "0"))
        length = self._number(tensor, entries.get("length", str(spec.nbytes)))
        self._check_size(tensor, spec, length)
        if offset + length > source.size:
            raise CorruptFileError(
                self._text(tensor, "lies beyond the end of its file"),
                facts=[
                    ("file", quoted(entries["location"])),
                    ("expected", f"{nbytes_text(length)} at byte {offset:,}"),
                    ("found", f"a file of {nbytes_text(source.size)}"),
                ],
            )
        if "checksum" in entries and _sha1(source) != entries["checksum"].lower():
            raise CorruptFileError(
                cannot_read(source.path, "its SHA-1 is not the one that the model says")
            )
        return source, offset

    def _entries(self, tensor: Tensor) -> dict[str, str]:
        entries: dict[str, str] = {}
        for key, text, _ in tensor.external:
            if key in entries or key not in _EXTERNAL_KEYS:
                raise UnsafeFileError(
                    self._text(tensor, "says in an unknown way where its values are"),
                    facts=[("key", quoted(key))],
                )
            entries[key] = text
        if "location" not in entries:
            raise CorruptFileError(self._text(tensor, "does not say which file has its values"))
        return entries

    def _open(self, location: str) -> SourceFile:
        if location in self._beside:
            return self._beside[location]
        path = self._source.path
        try:
            source = open_beside(path, location.removeprefix("./"))
        except (UnsafeFileError, CheckpointError) as error:
            if isinstance(error, UnsafeFileError):
                raise
            raise CheckpointError(
                error.summary,
                facts=[*error.facts, ("model", quoted(path.name))],
                hint="copy the file of weights together with the model",
            ) from error
        self._beside[location] = source
        others = [one for name, one in self._beside.items() if name != location]
        if source.identity in {one.identity for one in (self._source, *others)}:
            raise UnsafeFileError(cannot_read(path, "it takes one file for two"))
        if os.fstat(source.fileno()).st_nlink > 1:
            raise UnsafeFileError(
                cannot_read(source.path, "it is a file of several names (hard links)")
            )
        return source

    def _number(self, tensor: Tensor, text: str) -> int:
        if _NUMBER.fullmatch(text) is None:
            raise CorruptFileError(
                self._text(tensor, "says a place that is no number"),
                facts=[("found", quoted(text))],
            )
        return int(text)

    def _check_size(self, tensor: Tensor, spec: TensorSpec, found: int) -> None:
        if found != spec.nbytes:
            raise CorruptFileError(
                self._text(tensor, "does not have as many values as it says"),
                facts=[
                    ("expected", f"{nbytes_text(spec.nbytes)} for {shape_text(spec.shape)}"),
                    ("found", nbytes_text(found)),
                ],
            )

    def _foreign(self, tensor: Tensor) -> CheckpointError:
        name = _FOREIGN.get(tensor.data_type)
        if name is None:
            return CorruptFileError(self._text(tensor, f"is of no type ({tensor.data_type})"))
        return UnsupportedFileError(
            self._text(tensor, f"is of type {name}, which is not converted")
        )

    def _text(self, tensor: Tensor, why: str) -> str:
        return cannot_read(self._source.path, f"the tensor {quoted(tensor.name)} {why}")


_NOTHING: Array = np.empty(0, np.uint8)


def _empty(spec: TensorSpec) -> Array:
    array: Array = np.empty(spec.shape, spec.dtype.numpy)
    array.flags.writeable = False
    return array


def is_convertible(tensor: Tensor) -> bool:
    """Whether a tensor is of a type that a checkpoint can have here."""
    return tensor.data_type not in _FOREIGN


def _numbers_text(numbers: set[int]) -> str:
    return ", ".join(str(number) for number in sorted(numbers)) or "none"


def _sha1(source: SourceFile) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    for offset in range(0, source.size, 2**20):
        digest.update(source.read(offset, min(2**20, source.size - offset)))
    return digest.hexdigest()
