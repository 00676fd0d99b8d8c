"""Activations kept in memory up to a budget, beyond it in files."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from converter.validation.shelf import Shelf

STATUS = Path("/proc/self/status")


def test_within_the_budget_an_array_is_kept_as_it_is() -> None:
    array = np.arange(6.0)
    assert Shelf(48).keep(array) is array
    assert Shelf(47).keep(array) is not array


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_, ml_dtypes.bfloat16], ids=str)
def test_what_lies_in_a_file_has_the_same_values(dtype: type) -> None:
    random = np.random.default_rng(0)
    shelf = Shelf(0)
    arrays = [(random.standard_normal(shape) * 9).astype(dtype) for shape in ((3, 5, 7), (2,), ())]
    strided = arrays[0].transpose(2, 0, 1)
    kept = [shelf.keep(one) for one in [*arrays, strided]]
    for one, other in zip([*arrays, strided], kept, strict=True):
        assert other.dtype == one.dtype
        assert other.flags.writeable
        assert other.flags.c_contiguous
        assert np.array_equal(one.astype(np.float64), other.astype(np.float64))
    kept[0][...] = 0
    assert np.array_equal(kept[3], strided)


def test_an_array_larger_than_a_file_has_one_of_its_own() -> None:
    large = np.arange(70 << 18, dtype=np.float32).reshape(70, -1)  # 70 MiB
    shelf = Shelf(0)
    before, kept, after = shelf.keep(large[:3]), shelf.keep(large), shelf.keep(large[3:6])
    assert np.array_equal(kept, large)
    assert np.array_equal(before, large[:3])
    assert np.array_equal(after, large[3:6])


def test_what_nobody_refers_to_makes_room_again() -> None:
    shelf = Shelf(100)
    first = shelf.keep(np.zeros(20, np.float32))
    second = np.zeros(20, np.float32)
    assert shelf.keep(second) is not second
    view = first[:2]
    del first
    assert shelf.keep(second) is not second  # a view holds it
    del view
    assert shelf.keep(second) is second


@pytest.mark.skipif(not STATUS.exists(), reason="memory is read from /proc")
def test_files_are_no_memory_of_the_process_and_are_gone_with_the_arrays() -> None:
    shelf, array = Shelf(1 << 20), np.ones(1 << 22, np.float32)  # 16 MiB
    before, others = anonymous(), mapped()  # frameworks map files too, where they were used before
    kept = [shelf.keep(array) for _ in range(12)]
    assert anonymous() - before < 24 << 20
    assert len(mapped() - others) == 3
    assert all(float(one[-1]) == 1.0 for one in kept)
    del kept, shelf
    assert mapped() <= others


def anonymous() -> int:
    """Return the bytes of this process that no file stands behind."""
    line = next(one for one in STATUS.read_text().splitlines() if one.startswith("RssAnon"))
    return int(line.split()[1]) << 10


def mapped() -> set[str]:
    """Return the lines of temporary files without a name that are mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {one for one in lines if "(deleted)" in one and " rw-s " in one}
