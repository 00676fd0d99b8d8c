"""NumPy archives (``.npz``): plain arrays only, without pickles.

The header of an array is Python source; it is matched against the exact text that NumPy writes and
never evaluated. Stored members are mapped, compressed ones inflated. Names are the members' names:
those of Keras where every one has a ``/``, those of PyTorch where none has and some have a ``.``.

Source: NumPy 2.4 ``numpy/lib/_format_impl.py``, "Format Version 1.0" and later.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from converter.errors import CorruptFileError, UnsupportedFileError
from converter.formats.base import Checkpoint
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read, nbytes_text, quoted, refuse_select
from converter.formats.zip_archive import ZipArchive
from converter.tensors.dtype import Array, DType, find_dtype
from converter.tensors.manifest import Family, Manifest
from converter.tensors.spec import TensorSpec

SUFFIX = ".npy"
MAX_HEADER_BYTES = 10_000
MAX_RANK = 64
MAX_ELEMENTS = 2**60
_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    r"\{'descr': '(?P<descr>[^']{1,20})', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>(?:[0-9]{1,20}L?(?:, ?|,?(?=\))))*)\),? ?\} *\n?"
)
_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}


@dataclass(frozen=True, slots=True)
class _Place:
    spec: TensorSpec
    member: str
    offset: int
    is_fortran: bool
    is_swapped: bool


class NpzCheckpoint(Checkpoint):
    """The arrays of a ``.npz`` file."""

    format = "npz"

    def __init__(
        self, path: Path, *, select: str | None = None, architecture: object = None
    ) -> None:
        """Open a file and read the headers of its arrays.

        Args:
            path: The file.
            select: Nothing can be selected; refused when given.
            architecture: Not used: the format has names.

        Raises:
            UsageError: If ``select`` is given.
            CheckpointError: If it is damaged or unsafe, or a member is no plain array.
        """
        del architecture
        refuse_select(path, select)
        self.path = path
        self._source = SourceFile(path)
        try:
            self._archive = ZipArchive(self._source)
            self._places = {
                name.removesuffix(SUFFIX): self._place(name) for name in self._archive.members
            }
        except BaseException:
            self._source.close()
            raise
        self._manifest = Manifest.of(
            (place.spec for place in self._places.values()), family=_family(self._places)
        )

    def _place(self, member: str) -> _Place:
        if not member.endswith(SUFFIX):
            raise CorruptFileError(
                cannot_read(self._source.path, f"the member {quoted(member)} is no array")
            )
        head = self._archive.peek(member, 256)  # nearly always the whole header
        width = 2 if head[6:7] == b"\x01" else 4
        start = 8 + width
        length = int.from_bytes(head[8:start], "little")
        if head[:6] != _MAGIC or head[6:8] not in (b"\1\0", b"\2\0", b"\3\0"):
            raise self._bad(member, "it is no array of NumPy")
        if length > MAX_HEADER_BYTES:
            raise self._bad(member, f"its header has {nbytes_text(length)}")
        if start + length > len(head):
            head = self._archive.peek(member, start + length)
        match = _HEADER.fullmatch(head[start : start + length].decode("latin-1"))
        if start + length > len(head) or match is None:
            raise self._bad(member, "its header is not one that NumPy writes")
        shape = tuple(int(size.rstrip("L")) for size in re.findall("[0-9]+L?", match["shape"]))
        dtype, is_swapped = self._dtype(member, match["descr"])
        spec = TensorSpec(member.removesuffix(SUFFIX), shape, dtype)
        size = self._archive.members[member].size - start - length
        if len(shape) > MAX_RANK or math.prod(n or 1 for n in shape) > MAX_ELEMENTS:
            raise self._bad(member, "its shape is absurd")
        if spec.nbytes != size:
            raise self._bad(member, f"its shape needs {nbytes_text(spec.nbytes)}, it has {size:,}")
        return _Place(spec, member, start + length, match["fortran"] == "True", is_swapped)

    def _dtype(self, member: str, descr: str) -> tuple[DType, bool]:
        match = re.fullmatch(r"([<>|])([biufc])([0-9]{1,2})", descr)
        bits = int(match[3]) * 8 if match else 0
        name = ""
        if match:
            name = "bool" if match[2] == "b" and bits == 8 else f"{_KINDS[match[2]]}{bits}"
        dtype = find_dtype(name)
        if match is None or dtype is None:
            raise UnsupportedFileError(
                cannot_read(
                    self._source.path, f"the member {quoted(member)} does not hold plain numbers"
                ),
                facts=[("found", f"NumPy type {quoted(descr)}")],
            )
        native = "<" if sys.byteorder == "little" else ">"
        return dtype, match[1] not in (native, "|") and bits > 8

    def _bad(self, member: str, why: str) -> CorruptFileError:
        return CorruptFileError(
            cannot_read(self._source.path, f"the member {quoted(member)} is damaged: {why}")
        )

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes, in the order of the file."""
        return self._manifest

    def read(self, name: str) -> Array:
        """Return one array as a read-only map; Fortran order shows in its strides."""
        place = self._places[name]
        spec = place.spec
        raw = self._archive.view(place.member)[place.offset :].view(spec.dtype.numpy)
        array: Array = raw.reshape(spec.shape, order="F" if place.is_fortran else "C")
        if place.is_swapped:
            array = array.byteswap()
            array.flags.writeable = False
        return array

    def release(self, name: str) -> None:
        """Drop the pages of one array."""
        self._archive.release(self._places[name].member)

    def close(self) -> None:
        """Close the file and remove what was inflated from it."""
        self._archive.close()
        self._source.close()


def _family(names: Collection[str]) -> Family | None:
    if names and all("/" in name for name in names):
        return "keras"
    if any("/" in name for name in names):
        return None
    return "torch" if any("." in name for name in names) else None
