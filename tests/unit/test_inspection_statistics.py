"""Every statistic against NumPy, whatever the shape, the strides, the dtype and the pieces."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from converter.inspection.pieces import pieces, read_pieces
from converter.inspection.statistics import Meter, has_numbers, measure_tensor
from converter.live.opening import open_live
from converter.tensors.dtype import get_dtype

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7)


def measured(array, unit_axis=None, limit=64):
    """Measure an array in pieces of a few bytes."""
    meter = Meter(array.shape, get_dtype(array.dtype), unit_axis)
    for piece in pieces(array, limit):
        meter.add(piece)
    return meter.result()


@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(-100, 100, width=32)), st.integers(1, 99))
def test_all_numbers_are_those_of_numpy(array, limit):
    found = measured(array, limit=limit)
    wide = array.astype(np.float64)
    assert found.elements == array.size
    assert found.zeros == np.count_nonzero(array == 0)
    assert found.norm == pytest.approx(np.linalg.norm(wide.ravel()), rel=1e-12)
    if not array.size:
        assert (found.mean, found.std, found.minimum, found.maximum) == (None,) * 4
        return
    assert found.mean == pytest.approx(wide.mean(), rel=1e-12, abs=1e-12)
    assert found.std == pytest.approx(wide.std(), rel=1e-9, abs=1e-6)
    assert (found.minimum, found.maximum) == (wide.min(), wide.max())


def test_a_small_spread_around_a_large_mean_keeps_its_digits():
    """Squares minus squares would give 0 or less here."""
    array = 1e8 + np.random.default_rng(1).standard_normal((37, 11))
    found = measured(array, limit=80)
    assert found.std == pytest.approx(array.std(), rel=1e-7)


def test_squares_that_overflow_or_vanish_do_not():
    for scale in (1e200, 1e-200):
        array = np.array([3.0, 4.0, 0.0]) * scale
        assert measured(array, limit=8).norm == pytest.approx(5 * scale, rel=1e-12)


def test_what_is_not_finite_is_counted_and_left_out():
    array = np.array([[1, np.nan, 3], [np.inf, -np.inf, -5]], np.float32)
    found = measured(array, limit=8)
    assert (found.nan, found.infinite, found.elements) == (1, 2, 6)
    finite = np.array([1.0, 3.0, -5.0])
    assert found.mean == pytest.approx(finite.mean())
    assert found.std == pytest.approx(finite.std())
    assert (found.minimum, found.maximum) == (-5, 3)
    assert found.norm == pytest.approx(np.linalg.norm(finite))


def test_nothing_finite_leaves_no_numbers():
    found = measured(np.full((3,), np.nan, np.float32))
    assert (found.mean, found.minimum, found.norm, found.nan) == (None, None, 0.0, 3)


@given(
    hnp.arrays(np.int8, hnp.array_shapes(min_dims=1, max_dims=4, max_side=6),
               elements=st.sampled_from([0, 0, 0, 0, 1])),
    st.data(),
)  # fmt: skip
def test_dead_units_are_the_slices_that_are_all_zero(array, data):
    axis = data.draw(st.integers(0, array.ndim - 1))
    limit = data.draw(st.integers(1, 40))
    order = data.draw(st.permutations(range(array.ndim)))
    array = array.transpose(order)  # strides that are not C's
    others = tuple(one for one in range(array.ndim) if one != axis)
    found = measured(array, axis, limit)
    assert found.dead == tuple(np.flatnonzero(~array.any(axis=others)))
    assert found.units == array.shape[axis]


NARROW = [
    ("bfloat16", np.float32, np.array([1.5, -3e38, 0, np.inf]).astype(ml_dtypes.bfloat16)),
    ("float16", np.float32, np.array([1 + 2**-10, 2.0], np.float16)),
    ("float32", np.float64, np.array([1 + 2**-20, 2.0], np.float32)),
    ("float32", np.float32, np.array([1 + 2**-20, 2.0], np.float32)),
    ("float64", np.float64, np.array([0.1, 2.0])),
    ("int32", np.int32, np.array([1, 2])),
    ("bfloat16", np.float32, np.array([np.nan, 1.0], np.float32)),
]


@pytest.mark.parametrize(("name", "stored", "values"), NARROW, ids=lambda value: str(value)[:20])
def test_the_effective_dtype_is_the_narrowest_that_holds_every_value(name, stored, values):
    assert measured(values.astype(stored), limit=4).effective_dtype == name


def test_one_value_late_in_a_tensor_decides_on_its_effective_dtype():
    values = np.ones(20_000, np.float32)
    assert measured(values, limit=1 << 20).effective_dtype == "bfloat16"
    values[-1] = 0.1
    assert measured(values, limit=1 << 20).effective_dtype == "float32"


def test_the_digest_is_of_the_values_not_of_the_strides():
    array = np.arange(35, dtype=np.float32).reshape(5, 7)
    turned = np.ascontiguousarray(array.T).T
    assert measured(array).digest == measured(turned, limit=12).digest
    assert measured(array).digest != measured(array + 1).digest


def test_types_without_plain_numbers_have_no_statistics():
    assert not has_numbers(get_dtype("complex64"))
    assert not has_numbers(get_dtype("float4_e2m1fn_x2"))
    checkpoint = open_live({"a": np.zeros(3, np.complex64), "b": np.zeros(3, np.float32)})
    assert measure_tensor(checkpoint, "a") is None
    assert measure_tensor(checkpoint, "b").elements == 3


@given(hnp.arrays(np.int16, SHAPES), st.integers(1, 60))
def test_pieces_are_the_whole_in_order(array, limit):
    found = list(pieces(array, limit))
    joined = [value for piece in found for value in piece.array.reshape(-1)]
    assert joined == array.reshape(-1).tolist()
    assert all(piece.array.nbytes <= max(limit, array.itemsize) for piece in found)
    for piece in found:
        corner = (0,) * piece.array.ndim
        assert array[piece.place(corner)] == piece.array[corner]


def test_a_tensor_gives_its_memory_back_while_it_is_read():
    """Without that a memory map of 10 GB would be resident at its end."""

    class Counting(type(open_live({"a": np.zeros(1, np.int8)}))):
        released = 0

        def release(self, name):
            Counting.released += 1

    checkpoint = Counting({"a": np.zeros(80 << 20, np.int8)})
    assert sum(piece.array.size for piece in read_pieces(checkpoint, "a")) == 80 << 20
    assert Counting.released == math.ceil(80 / 32)
