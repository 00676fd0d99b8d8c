"""What a pickle of NumPy arrays is made of: arrays, their types, and where their bytes lie."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converter.errors import CorruptFileError
from converter.formats.numpy_header import Layout, find_number
from converter.formats.source_file import Bytes
from converter.formats.wording import cannot_read, nbytes_text
from converter.tensors.dtype import Array, DType, find_dtype

# Encoding to how many bytes of the file one byte of an array takes at most.
_GROWTH = {"raw": 1, "utf-8": 2, "raw_unicode_escape": 6, "string_escape": 4}


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in the file.

    Attributes:
        start: The first one.
        length: How many, as they are in the file.
        encoding: How they are written; ``"raw"`` is as they are.
    """

    start: int
    length: int
    encoding: str = "raw"

    def can_hold(self, nbytes: int) -> bool:
        """Whether ``nbytes`` bytes may be written in it."""
        if self.encoding == "raw":
            return nbytes == self.length
        return nbytes <= self.length <= _GROWTH[self.encoding] * nbytes + 2

    def decoded(self, data: memoryview) -> bytes | memoryview:
        """Return the bytes.

        Raises:
            ValueError: If they are not written as they should be.
        """
        part = data[self.start : self.start + self.length]
        if self.encoding == "raw":
            return part
        if self.encoding == "string_escape":
            return codecs.escape_decode(bytes(part))[0]
        return bytes(part).decode(self.encoding).encode("latin-1")


@dataclass(frozen=True, slots=True)
class Beside:
    """The name of a file that holds the whole array, beside the pickle."""

    name: str


@dataclass(slots=True, eq=False)
class PickledDType:
    """The type of an array.

    Attributes:
        code: What NumPy calls it, without byte order (``"f4"``).
        order: Its byte order, or ``None`` where it is no plain type.
    """

    code: str
    order: str | None = "|"

    def find(self) -> tuple[DType, bool] | None:
        """Return the type, and whether its bytes are to be swapped."""
        if self.code.startswith("ml_dtypes."):
            dtype = find_dtype(self.code.removeprefix("ml_dtypes."))
            return None if dtype is None or dtype.is_packed else (dtype, False)
        order = {"=": "|", None: "?"}.get(self.order, self.order)
        return find_number(f"{order}{self.code}")


@dataclass(slots=True, eq=False)
class PickledArray:
    """An array; empty until the pickle has said what it is.

    Attributes:
        layout: How its elements lie.
        blob: Where they are.
        axes: Order of the axes, where it is not that of the layout.
    """

    layout: Layout | None = None
    blob: Blob | Beside | bytes = b""
    axes: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each axis."""
        assert self.layout is not None  # noqa: S101  # arrays without one are no arrays to callers
        shape = self.layout.shape
        return shape if self.axes is None else tuple(shape[axis] for axis in self.axes)

    def read(self, data: Bytes, path: Path) -> Array:
        """Return the elements, read-only; of an array that is in the pickle.

        Raises:
            CorruptFileError: If there are more or fewer bytes than the shape needs.
        """
        assert self.layout is not None  # noqa: S101
        assert not isinstance(self.blob, Beside)  # noqa: S101  # read from its own file
        needed = self.layout.dtype.nbytes(self.layout.shape)
        try:
            raw = self.blob.decoded(data.data) if isinstance(self.blob, Blob) else self.blob
        except ValueError as error:
            raise CorruptFileError(
                cannot_read(path, "its pickle is damaged: an array is no sequence of bytes")
            ) from error
        if len(raw) != needed:
            raise wrong_size(path, needed, len(raw))
        array = self.layout.array(np.frombuffer(raw, dtype=np.uint8))
        return array if self.axes is None else array.transpose(self.axes)


def wrong_size(path: Path, needed: int, found: int) -> CorruptFileError:
    """Return the error for an array whose bytes are more or fewer than its shape needs."""
    return CorruptFileError(
        cannot_read(path, "its pickle is damaged: an array has a wrong size"),
        facts=[("expected", nbytes_text(needed)), ("found", nbytes_text(found))],
    )
