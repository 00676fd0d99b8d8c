"""The header of one array as NumPy writes it, matched as text and never evaluated.

The header is Python source. It is compared with the exact text that NumPy writes, its shape with
the bytes that are there, and its type with a table of plain numbers.

Source: NumPy 2.4 ``numpy/lib/_format_impl.py``, "Format Version 1.0" and later.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from converter.errors import CorruptFileError, UnsupportedFileError
from converter.formats.source_file import Bytes
from converter.formats.wording import cannot_read, nbytes_text, quoted
from converter.tensors.dtype import Array, DType, find_dtype
from converter.tensors.spec import TensorSpec

SUFFIX = ".npy"
MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000
MAX_RANK = 64
MAX_ELEMENTS = 2**58  # also beside an empty axis: NumPy counts bytes in 63 bits
_HEADER = re.compile(
    r"\{'descr': '(?P<descr>[^']{1,20})', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>(?:[0-9]{1,20}L?(?:, ?|,?(?=\))))*)\),? ?\} *\n?"
)
_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where and how the elements of one array lie.

    Attributes:
        shape: Size of each axis.
        dtype: Type of the elements.
        offset: First byte of the elements, from the start of the array's file or member.
        is_fortran: Whether the first axis runs fastest.
        is_swapped: Whether the bytes are in the other order than this machine's.
        version: Of the array's header; empty where it has none.
    """

    shape: tuple[int, ...]
    dtype: DType
    offset: int
    is_fortran: bool
    is_swapped: bool
    version: str = ""

    def spec(self, name: str) -> TensorSpec:
        """Return name, shape and dtype."""
        return TensorSpec(name, self.shape, self.dtype)

    def array(self, raw: Bytes) -> Array:
        """Return the elements, given all their bytes, read-only and in native byte order."""
        found: Array = raw.view(self.dtype.numpy)
        found = found.reshape(self.shape, order="F" if self.is_fortran else "C")
        if self.is_swapped:
            found = found.byteswap()
        found.flags.writeable = False
        return found


@dataclass(frozen=True, slots=True)
class HeaderReader:
    """Reads the header of one array.

    Attributes:
        path: The file, for messages.
        what: What messages call the array (``"the member 'w.npy'"``).
        size: Size of header and elements, in bytes.
        peek: Returns the first bytes, at most as many as asked for.
    """

    path: Path
    what: str
    size: int
    peek: Callable[[int], bytes]

    def read(self) -> Layout:
        """Return where and how the elements lie.

        Raises:
            CorruptFileError: If it is no array, or its shape is not that of its bytes.
            UnsupportedFileError: If its elements are no plain numbers.
        """
        head = self.peek(256)  # nearly always the whole header
        start = 10 if head[6:7] == b"\x01" else 12
        length = int.from_bytes(head[8:start], "little")
        if head[:6] != MAGIC or head[6:8] not in (b"\1\0", b"\2\0", b"\3\0"):
            raise self._bad("it is no array of NumPy")
        if length > MAX_HEADER_BYTES:
            raise self._bad(f"its header has {nbytes_text(length)}")
        if start + length > len(head):
            head = self.peek(start + length)
        match = _HEADER.fullmatch(head[start : start + length].decode("latin-1"))
        if start + length > len(head) or match is None:
            raise self._bad("its header is not one that NumPy writes")
        shape = tuple(int(size.rstrip("L")) for size in re.findall("[0-9]+L?", match["shape"]))
        if len(shape) > MAX_RANK or math.prod(n or 1 for n in shape) > MAX_ELEMENTS:
            raise self._bad("its shape is absurd")
        found = find_number(match["descr"])
        if found is None:
            raise UnsupportedFileError(
                cannot_read(self.path, f"{self.what} does not hold plain numbers"),
                facts=[("found", f"NumPy type {quoted(match['descr'])}")],
            )
        dtype, is_swapped = found
        needed, there = dtype.nbytes(shape), self.size - start - length
        if needed != there:
            raise self._bad(f"its shape needs {nbytes_text(needed)}, it has {there:,}")
        is_fortran = match["fortran"] == "True"
        version = f"{head[6]}.{head[7]}"
        return Layout(shape, dtype, start + length, is_fortran, is_swapped, version)

    def _bad(self, why: str) -> CorruptFileError:
        return CorruptFileError(cannot_read(self.path, f"{self.what} is damaged: {why}"))


def find_number(descr: str) -> tuple[DType, bool] | None:
    """Return the type that NumPy calls ``descr``, and whether its bytes are to be swapped.

    Examples:
        >>> find_number("|b1")[0].name, find_number("<f2")[0].name
        ('bool', 'float16')
        >>> find_number("|O") is None
        True
    """
    match = re.fullmatch(r"([<>|])([biufc])([0-9]{1,2})", descr)
    if match is None:
        return None
    bits = int(match[3]) * 8
    name = "bool" if match[2] == "b" and bits == 8 else f"{_KINDS[match[2]]}{bits}"
    dtype = find_dtype(name)
    native = "<" if sys.byteorder == "little" else ">"
    return None if dtype is None else (dtype, match[1] not in (native, "|") and bits > 8)
