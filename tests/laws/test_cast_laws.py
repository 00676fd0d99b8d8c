"""Casts: every bit pattern of the narrow types, and one rounding against exact fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pattern_cases import FLOATS, arrays, same_bytes

from converter.algebra.base import Law
from converter.algebra.values import Cast, Offset, Scale
from converter.errors import OperationError
from converter.tensors.dtype import find_dtype

NARROW = [dtype for dtype in FLOATS if dtype.bits <= 16]
PAIRS = [(one, other) for one in FLOATS for other in FLOATS]
WIDENING = [
    (one, other) for one, other in PAIRS if one != other and Cast(one, other).law is Law.EXACT
]


def names(pairs):
    return sorted(f"{one} to {other}" for one, other in pairs)


def in_double(values):
    """Return values in double precision, without the warnings of ml_dtypes about NaNs."""
    with np.errstate(all="ignore"):
        return values.astype(np.float64)


def every_value(dtype):
    return np.arange(1 << dtype.bits, dtype=f"u{dtype.itemsize}").view(dtype.numpy)


def finite_values(dtype):
    """Return all finite values, sorted, each once, as fractions with their bit patterns."""
    values = every_value(dtype)
    finite = values[np.isfinite(in_double(values))]
    return {Fraction(float(value)): value for value in finite}


def test_these_casts_are_exact():
    float8 = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"]
    expected = [f"{name} to {wide}" for name in float8
                for wide in ("bfloat16", "float16", "float32", "float64")]  # fmt: skip
    expected += [f"{name} to {wide}" for name in ("bfloat16", "float16")
                 for wide in ("float32", "float64")]  # fmt: skip
    assert names(WIDENING) == sorted([*expected, "float32 to float64"])


@pytest.mark.parametrize(("narrow", "wide"), WIDENING, ids=lambda dtype: dtype.name)
def test_a_widening_cast_keeps_every_value_and_every_nan(narrow, wide):
    values = every_value(narrow) if narrow in NARROW else special_float32()
    there = Cast(narrow, wide)
    (widened,) = there.apply([values])
    assert np.array_equal(in_double(widened), in_double(values), equal_nan=True)
    assert same_bytes(there.inverse().apply([widened])[0], values)
    assert there.inverse().law is Law.ROUNDED


def special_float32():
    bits = np.array([0x7F800001, 0xFF800001, 0x7FC00000, 0x80000000, 1, 0x7F7FFFFF, 0x7F800000])
    return bits.astype(np.uint32).view(np.float32)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_widening_single_precision_keeps_every_bit(data):
    values = data.draw(arrays((64,), find_dtype("float32")))
    there = Cast(find_dtype("float32"), find_dtype("float64"))
    assert same_bytes(there.inverse().apply(there.apply([values]))[0], values)


@pytest.mark.parametrize("target", NARROW, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("source", ["float64", "float32"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_narrowing_cast_rounds_once_to_the_nearest_value(source, target, data):
    """Near ties is where two roundings show; ties go to the value whose last bit is 0."""
    known = _tables[target.name]
    middles = known["middles"]
    index = data.draw(st.integers(0, len(middles) - 1))
    middle = middles[index]
    nudge = data.draw(st.sampled_from([0, 1, -1]))
    value = np.array([float(middle)]).astype(source)
    value = np.nextafter(value, value.dtype.type(np.inf * nudge)) if nudge else value
    (found,) = Cast(find_dtype(source), target).apply([value])
    below, above = known["values"][index], known["values"][index + 1]
    exact = Fraction(float(value[0]))
    if exact != middle:
        nearest = below if exact < middle else above
    else:
        nearest = below if known["bits"][below] % 2 == 0 else above
    assert Fraction(float(found[0])) == nearest


def _table(dtype):
    by_value = finite_values(dtype)
    values = sorted(by_value)
    middles = [(one + other) / 2 for one, other in pairwise(values)]
    unsigned = f"u{dtype.itemsize}"
    bits = {value: int(np.array(found).view(unsigned)) for value, found in by_value.items()}
    return {"values": values, "middles": middles, "bits": bits}


_tables = {dtype.name: _table(dtype) for dtype in NARROW}


@pytest.mark.parametrize("dtype", NARROW, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("rule", [Offset(0.3), Scale(0.7), Scale(0.7, divide=True)], ids=str)
def test_arithmetic_is_rounded_once_from_the_wide_result(rule, dtype):
    values = every_value(dtype)
    values = values[np.isnan(in_double(values)) | (abs(in_double(values)) < 100)]
    taken = in_double(values)
    with np.errstate(all="ignore"):
        match rule:
            case Offset():
                exact = taken + 0.3
            case Scale(divide=True):
                exact = taken / 0.7
            case _:
                exact = taken * 0.7
    (found,) = rule.apply([values])
    (expected,) = Cast(find_dtype("float64"), dtype).apply([exact])
    assert same_bytes(found, expected)


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("float32", "float16", "65520.0"),
        ("float64", "float32", "1e+39"),
        ("float32", "float8_e4m3fn", "1000.0"),
        ("bfloat16", "float16", "1e+05"),
    ],
)
def test_a_finite_value_never_becomes_infinite_in_silence(source, target, text):
    source, target = find_dtype(source), find_dtype(target)
    with np.errstate(all="ignore"):
        values = np.array([1, np.inf, np.nan, float(text)]).astype(source.numpy)
    with pytest.raises(OperationError, match=f"cannot cast {source} to {target}: .* is too large"):
        Cast(source, target).apply([values])
    Cast(source, target).apply([values[:3]])


@pytest.mark.parametrize("name", ["int32", "bool", "complex64", "float8_e8m0fnu", "uint8"])
def test_only_floating_types_are_cast(name):
    with pytest.raises(OperationError, match=f"{name} is no floating type"):
        Cast(find_dtype(name), find_dtype("float32"))
    assert Cast(find_dtype(name), find_dtype(name)).law is Law.EXACT
