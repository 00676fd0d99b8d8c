"""Which HDF5 element types are tensors, and which of our dtypes they are.

Only the types that Keras writes are taken: the predefined integers and floats of either byte
order, h5py's enumeration of booleans, h5py's compound of two floats, and two opaque bytes, which
is how Keras stores bfloat16. Anything else in a file is named when it is asked for, not converted.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from converter.tensors.dtype import DType, Shape, find_dtype


@dataclass(frozen=True, slots=True)
class ElementType:
    """The element type of one HDF5 dataset.

    Attributes:
        dtype: Our dtype, or ``None`` where no tensor has such elements.
        swapped: Whether the bytes of an element are in the order foreign to this machine.
        text: What messages call it.
    """

    dtype: DType | None
    swapped: bool
    text: str


@dataclass(frozen=True, slots=True)
class Hdf5Dataset:
    """One dataset.

    Attributes:
        path: Names from the root down, joined by ``/``.
        shape: Size of each axis.
        element: The type of its elements.
        offset: Position of the first byte in the HDF5 file, ``None`` where the values are not in
            one piece (chunked, compact) or there are none.
    """

    path: str
    shape: Shape
    element: ElementType
    offset: int | None


# Source: HDF5 2.0 H5Tpublic.h, the predefined standard types.
_PREDEFINED = {
    "float16": "IEEE_F16",
    "float32": "IEEE_F32",
    "float64": "IEEE_F64",
    **{f"int{bits}": f"STD_I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"STD_U{bits}" for bits in (8, 16, 32, 64)},
}


def plain_type(message: bytes) -> ElementType | None:
    """Return the type that the bytes of a datatype message say; ``None`` for unusual ones."""
    if message[0] in (0x15, 0x35) and message[4:8] == b"\2\0\0\0":
        return BFLOAT16
    return _messages().get(message[: _WIDTHS.get(message[0], 0)])


def element_type(type_id: Any) -> ElementType:
    """Return what an HDF5 type (``h5py.h5t.TypeID``) is to us."""
    found = _predefined().get(type_id.encode())
    if found is not None:
        return found
    from h5py import h5t

    kind = type_id.get_class()
    if kind == h5t.OPAQUE and type_id.get_size() == 2:
        return BFLOAT16
    if kind in (h5t.ENUM, h5t.COMPOUND):
        return _composed(type_id)
    return ElementType(None, swapped=False, text=_CLASSES.get(kind, f"class {kind}"))


# Source: keras 3.15.1, saving_lib.H5IOStore.__setitem__: bfloat16 goes through NumPy as void16. The
# attribute dtype="bfloat16" is missing in its legacy HDF5 files.
BFLOAT16 = ElementType(find_dtype("bfloat16"), swapped=False, text="bfloat16")

# Length of a datatype message without padding, by class and version.
# Source: HDF5 File Format Specification 3.0, IV.A.2.d: fixed-point and floating-point properties.
_WIDTHS = {0x10: 12, 0x30: 12, 0x11: 20, 0x31: 20}

# Width in bits to position and size of the exponent, size of the mantissa and bias, IEEE 754.
_FLOATS = {16: (10, 5, 10, 15), 32: (23, 8, 23, 127), 64: (52, 11, 52, 1023)}


@cache
def _messages() -> dict[bytes, ElementType]:
    """Return the standard integers and floats by the bytes of their datatype message."""
    found = {}
    for name in _PREDEFINED:
        dtype = find_dtype(name)
        assert dtype is not None  # noqa: S101 -- all of them are in our list
        for order in (0, 1):
            swapped = bool(order) == bool(np.little_endian) and dtype.bits > 8
            element = ElementType(dtype, swapped=swapped, text=name)
            for version in (0x10, 0x30):
                if name.startswith("float"):
                    at, exponent, mantissa, bias = _FLOATS[dtype.bits]
                    message = struct.pack(
                        "<BBBBI2H4BI", version | 1, 0x20 | order, dtype.bits - 1, 0,
                        dtype.itemsize, 0, dtype.bits, at, exponent, 0, mantissa, bias,
                    )  # fmt: skip
                else:
                    signed = 0x08 if name.startswith("int") else 0
                    message = struct.pack(
                        "<BBBBI2H", version, signed | order, 0, 0, dtype.itemsize, 0, dtype.bits
                    )
                if order == 0 or message not in found:
                    found[message] = element
    return found


# Source: HDF5 2.0 H5Tpublic.h, enum H5T_class_t.
_CLASSES = {
    0: "integers of an unusual width",
    1: "floats of an unusual layout",
    2: "times",
    3: "texts",
    4: "bit fields",
    5: "opaque bytes",
    6: "records",
    7: "references",
    8: "an enumeration",
    9: "texts or lists of any length",
    10: "arrays",
    11: "complex numbers",
}


@cache
def _predefined() -> dict[bytes, ElementType]:
    """Return the types by the bytes that HDF5 writes for them."""
    from h5py import h5t

    native = "LE" if np.little_endian else "BE"
    types = {}
    for name, code in _PREDEFINED.items():
        for order in ("LE", "BE"):
            foreign = order != native and not name.endswith("int8")
            type_id = getattr(h5t, f"{code}{order}")
            types[type_id.encode()] = ElementType(find_dtype(name), swapped=foreign, text=name)
    return types


def _composed(type_id: Any) -> ElementType:
    """Return what an enumeration or a record is, where h5py reads it as booleans or complex."""
    try:
        dtype = type_id.dtype
    except TypeError:
        return ElementType(None, swapped=False, text=_CLASSES[type_id.get_class()])
    if dtype.kind not in "bc":
        return ElementType(None, swapped=False, text=_CLASSES[type_id.get_class()])
    swapped = not dtype.isnative
    return ElementType(find_dtype(dtype.name), swapped=swapped, text=dtype.name)
