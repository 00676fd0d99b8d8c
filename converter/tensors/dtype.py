"""The element types a tensor can have, and their names in each format.

The list is that of the safetensors specification, which every other format here is a subset of,
plus ``complex128`` (NumPy, PyTorch). Types narrower than a byte are *packed*: two or four elements
share bytes, NumPy has no such layout, and so their arrays are the raw bytes as ``uint8``; only
operations that keep every byte in its place accept them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DType:
    """One element type.

    Attributes:
        name: The name NumPy, ml_dtypes and PyTorch use, such as ``"bfloat16"``.
        bits: Width of one element, in bits.
        safetensors: The name in a safetensors header, or ``None`` where that format has none.
    """

    name: str
    bits: int
    safetensors: str | None

    @property
    def is_packed(self) -> bool:
        """Whether several elements share a byte."""
        return self.bits % 8 != 0

    @property
    def is_floating(self) -> bool:
        """Whether a cast between precisions makes sense."""
        return self.name.startswith(("float", "bfloat"))

    @property
    def itemsize(self) -> int:
        """Width of one element, in bytes.

        Raises:
            ValueError: If the type is packed.
        """
        if self.is_packed:
            raise ValueError(f"{self.name} is packed: {self.bits} bits an element")
        return self.bits // 8

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype of an array of this type; ``uint8`` where the type is packed."""
        if self.is_packed:
            return np.dtype(np.uint8)
        if self.name in _ML_DTYPES:
            scalar: type[Any] = getattr(ml_dtypes, self.name)
            return np.dtype(scalar)
        return np.dtype(self.name)

    def nbytes(self, shape: Shape) -> int:
        """Return the size of a tensor of this type, in bytes.

        Raises:
            ValueError: If the elements of a packed type do not fill whole bytes.
        """
        bits = math.prod(shape) * self.bits
        if bits % 8:
            raise ValueError(f"{math.prod(shape)} elements of {self.name} do not fill whole bytes")
        return bits // 8

    def __str__(self) -> str:
        return self.name


_ML_DTYPES = frozenset(
    {
        "bfloat16",
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e5m2",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
    }
)

# Source: safetensors 0.8.0, safetensors/src/tensor.rs, enum Dtype.
DTYPES = tuple(
    DType(name, bits, code)
    for name, bits, code in (
        ("bool", 8, "BOOL"),
        ("float4_e2m1fn_x2", 4, "F4"),
        ("float6_e2m3fn", 6, "F6_E2M3"),
        ("float6_e3m2fn", 6, "F6_E3M2"),
        ("uint8", 8, "U8"),
        ("int8", 8, "I8"),
        ("float8_e5m2", 8, "F8_E5M2"),
        ("float8_e4m3fn", 8, "F8_E4M3"),
        ("float8_e8m0fnu", 8, "F8_E8M0"),
        ("float8_e4m3fnuz", 8, "F8_E4M3FNUZ"),
        ("float8_e5m2fnuz", 8, "F8_E5M2FNUZ"),
        ("int16", 16, "I16"),
        ("uint16", 16, "U16"),
        ("float16", 16, "F16"),
        ("bfloat16", 16, "BF16"),
        ("int32", 32, "I32"),
        ("uint32", 32, "U32"),
        ("float32", 32, "F32"),
        ("complex64", 64, "C64"),
        ("float64", 64, "F64"),
        ("int64", 64, "I64"),
        ("uint64", 64, "U64"),
        ("complex128", 128, None),
    )
)

_BY_NAME = {dtype.name: dtype for dtype in DTYPES}
_BY_SAFETENSORS = {dtype.safetensors: dtype for dtype in DTYPES if dtype.safetensors}


def find_dtype(name: str) -> DType | None:
    """Return the type of this name, or ``None``.

    Examples:
        >>> find_dtype("bfloat16").bits
        16
        >>> find_dtype("float128") is None
        True
    """
    return _BY_NAME.get(name)


def get_dtype(name: str | np.dtype[Any] | DType) -> DType:
    """Return the type of this name or NumPy dtype.

    Raises:
        ValueError: If there is none: objects, texts, dates, long doubles, structures.
    """
    if isinstance(name, DType):
        return name
    text = name if isinstance(name, str) else name.name
    dtype = _BY_NAME.get(text)
    if dtype is None:
        raise ValueError(f"no tensor has elements of type {text!r}")
    return dtype


def find_safetensors_dtype(code: str) -> DType | None:
    """Return the type that a safetensors header calls ``code``, or ``None``.

    Examples:
        >>> find_safetensors_dtype("BF16").name
        'bfloat16'
    """
    return _BY_SAFETENSORS.get(code)
