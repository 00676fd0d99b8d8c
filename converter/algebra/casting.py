"""Values from one floating type to another: one rounding, no silent overflow, NaN payloads kept.

NumPy and ml_dtypes do most of it, but not all that a law promises: ml_dtypes rounds ``float64`` to
``bfloat16`` and ``float8`` twice (by way of ``float32``), every narrowing turns values that are too
large into infinity or NaN, and the processor changes the payload of signalling NaNs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from converter.errors import OperationError
from converter.tensors.dtype import Array, DType, get_dtype

FLOAT64 = get_dtype("float64")


@lru_cache(maxsize=256)
def is_widening(source: DType, target: DType) -> bool:
    """Whether every value of ``source``, NaNs included, is a value of ``target``.

    Examples:
        >>> is_widening(get_dtype("bfloat16"), get_dtype("float32"))
        True
        >>> is_widening(get_dtype("bfloat16"), get_dtype("float16"))
        False
    """
    if source == target:
        return True
    narrow, wide = _finfo(source), _finfo(target)
    return (
        source.bits < target.bits
        and narrow.nmant <= wide.nmant
        and float(narrow.max) <= float(wide.max)
        and float(narrow.smallest_subnormal) >= float(wide.smallest_subnormal)
    )


def allows_arithmetic(dtype: DType) -> bool:
    """Whether values of this type can be cast, added and scaled: floating, with zero and sign."""
    return dtype.is_floating and not dtype.is_packed and dtype.name != "float8_e8m0fnu"


def convert(array: Array, source: DType, target: DType) -> Array:
    """Return the values in another floating type, each rounded once to the nearest, ties to even.

    NaNs keep sign and payload as far as the target has room; infinities that the target lacks
    become NaN.

    Args:
        array: Values of type ``source``, of rank 1.
        source: A type that allows arithmetic.
        target: Another one.

    Raises:
        OperationError: If a finite value is too large for the target.
    """
    if source == target:
        return array
    with np.errstate(all="ignore"):  # ml_dtypes warns of NaNs even when asked for them
        return _convert(array, source, target)


def _convert(array: Array, source: DType, target: DType) -> Array:
    if source == FLOAT64 and target.bits < 32 and target.name != "float16":
        result = _to_odd_float32(array).astype(target.numpy)
    else:
        result = array.astype(target.numpy)
    finite = np.isfinite(result)
    if finite.all():
        return result
    odd = np.nonzero(~finite)[0]
    values = array[odd]
    too_large = values[np.isfinite(values)]
    if too_large.size:
        raise OperationError(
            f"cannot cast {source} to {target}: {float(too_large[0])!r} is too large",
            facts=[("largest", repr(float(_finfo(target).max)))],
        )
    _keep_payloads(result, odd, values, source, target)
    return result


def _to_odd_float32(array: Array) -> npt.NDArray[np.float32]:
    """Return ``float64`` values as ``float32`` so that a second rounding gives the right result.

    An inexact value becomes that neighbour whose last bit is set; it can then be no tie, and lies
    on the right side of every one.
    """
    result = array.astype(np.float32)
    back = result.astype(np.float64)
    bits = result.view(np.uint32)
    inexact = (back != array) & ~np.isnan(array) & (bits & 1 == 0)
    outward = np.abs(back) < np.abs(array)
    bits[inexact & outward] += 1
    bits[inexact & ~outward] -= 1
    return result


def _keep_payloads(
    result: Array, where: npt.NDArray[np.intp], values: Array, source: DType, target: DType
) -> None:
    """Write sign and payload of the NaNs among ``values`` into ``result[where]``."""
    nan = np.isnan(values)
    if not nan.any():
        return
    sign, payload = _nan_fields(values[nan], source)
    unsigned = np.dtype(f"u{target.itemsize}")
    bits = _nan_bits(sign, payload, _mantissa_bits(source), target).astype(unsigned)
    result.view(unsigned)[where[nan]] = bits


def _finfo(dtype: DType) -> Any:
    finfo: Any = ml_dtypes.finfo  # without types
    return finfo(dtype.numpy)


def _mantissa_bits(dtype: DType) -> int:
    return int(_finfo(dtype).nmant)


def _nan_fields(
    values: Array, dtype: DType
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    bits = values.view(np.dtype(f"u{dtype.itemsize}")).astype(np.uint64)
    mantissa = _mantissa_bits(dtype)
    if dtype.name.endswith("fnuz"):  # the one NaN has the bits of a negative zero
        return np.zeros_like(bits), np.full_like(bits, 1 << (mantissa - 1))
    return bits >> np.uint64(dtype.bits - 1), bits & np.uint64((1 << mantissa) - 1)


def _nan_bits(
    sign: npt.NDArray[np.uint64], payload: npt.NDArray[np.uint64], width: int, dtype: DType
) -> npt.NDArray[np.uint64]:
    top = np.uint64(1 << (dtype.bits - 1))
    if dtype.name.endswith("fnuz"):
        return np.full_like(sign, top)
    mantissa = _mantissa_bits(dtype)
    if dtype.name == "float8_e4m3fn":  # the one NaN of each sign has all bits set
        return sign * top | np.uint64((1 << (dtype.bits - 1)) - 1)
    if mantissa >= width:
        payload = payload << np.uint64(mantissa - width)
    else:
        payload = payload >> np.uint64(width - mantissa)
    payload[payload == 0] = 1 << (mantissa - 1)  # without a payload it would be an infinity
    exponent = (1 << (dtype.bits - 1)) - (1 << mantissa)
    return sign * top | np.uint64(exponent) | payload
