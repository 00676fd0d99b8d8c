"""Strided copies, tile by tile: with tiny tiles any array is large."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.pattern_cases import WHOLE, arrays

from converter.algebra import copying
from converter.tensors.dtype import find_dtype

some = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def tiny_tiles(monkeypatch):
    monkeypatch.setattr(copying, "_SMALL_BYTES", 0)
    monkeypatch.setattr(copying, "_SHORT_RUN", 3)
    monkeypatch.setattr(copying, "TILE_BYTES", 64)


@some
@given(data=st.data())
def test_tiles_copy_every_byte_to_its_place(tiny_tiles, data):
    shape = data.draw(st.lists(st.integers(0, 9), max_size=4).map(tuple))
    dtype = data.draw(st.sampled_from(WHOLE))
    source = data.draw(arrays(shape, dtype))
    order = data.draw(st.permutations(range(source.ndim)))
    target = np.empty([shape[axis] for axis in order], dtype.numpy).transpose(np.argsort(order))
    copying.copy_strided(target, source)
    assert target.tobytes() == source.tobytes()


@some
@given(data=st.data())
def test_views_with_gaps_steps_and_repeats_are_copied_too(tiny_tiles, data):
    source = np.arange(10 * 11 * 12, dtype=np.int16).reshape(10, 11, 12)
    steps = tuple(slice(None, None, data.draw(st.sampled_from([1, 2, 3, -1]))) for _ in range(3))
    view = source[steps].transpose(data.draw(st.permutations(range(3))))
    if data.draw(st.booleans()):
        view = np.broadcast_to(view[:1], view.shape)
    around = np.zeros((*view.shape[:2], view.shape[2] + 3), np.int16)
    target = around[:, :, 2:-1]
    copying.copy_strided(target, view)
    assert (target == view).all()
    assert not around[:, :, :2].any()
    assert not around[:, :, -1].any()


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((700, 300), (1, 0)),
        ((3, 3, 160, 170), (3, 2, 0, 1)),
        ((170, 160, 3, 3), (2, 3, 1, 0)),
        ((60, 50, 40), (2, 1, 0)),
        ((2, 90000), (1, 0)),
        ((3, 200, 200, 3), (3, 1, 2, 0)),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "bfloat16", "float32", "complex64", "complex128"])
def test_large_arrays_are_copied_as_numpy_does(shape, order, dtype):
    rng = np.random.default_rng(0)
    itemsize = find_dtype(dtype).itemsize
    raw = rng.integers(0, 256, size=(*shape, itemsize), dtype=np.uint8)
    source = raw.reshape(-1).view(find_dtype(dtype).numpy).reshape(shape).transpose(order)
    found = copying.contiguous(source)
    assert found.flags.c_contiguous
    as_bytes = raw.transpose(*order, len(order))
    assert found.tobytes() == as_bytes.tobytes()


def test_what_is_contiguous_and_native_is_not_copied():
    array = np.zeros((3, 4))
    assert copying.contiguous(array) is array
    swapped = array.astype(">f8")
    assert copying.contiguous(swapped).dtype == np.dtype("f8")


@pytest.mark.parametrize(("shape", "dtype"), [((2, 3), "f4"), ((3, 2), "f8")])
def test_arrays_that_do_not_fit_are_refused(shape, dtype):
    with pytest.raises(ValueError, match=r"cannot copy \(3, 2\) float32 to"):
        copying.copy_strided(np.zeros(shape, dtype), np.zeros((3, 2), "f4"))
