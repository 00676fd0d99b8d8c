"""Values are calculated and compared chunk by chunk; where chunks meet, nothing shows."""

from __future__ import annotations

import numpy as np
import pytest

from converter.algebra import constants, values
from converter.algebra.values import Cast, Expect, Offset
from converter.errors import OperationError
from converter.tensors.dtype import find_dtype

FLOAT16, FLOAT32 = find_dtype("float16"), find_dtype("float32")


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(values, "_CHUNK", 4)
    monkeypatch.setattr(constants, "_CHUNK", 4)


@pytest.mark.parametrize("size", [0, 3, 4, 5, 11])
def test_every_chunk_is_calculated(size):
    array = np.arange(size, dtype=np.float16)
    assert (Offset(1.0).apply([array])[0] == array + 1).all()
    (cast,) = Cast(FLOAT16, FLOAT32).apply([array.reshape(1, size)])
    assert cast.dtype == np.float32
    assert cast.shape == (1, size)
    assert (cast == array).all()


def test_differences_are_counted_over_all_chunks_and_the_first_is_named():
    array = np.ones((3, 4), np.float32)
    array[0, 3], array[1, 1], array[2, 2] = 5, 6, 7
    with pytest.raises(OperationError) as caught:
        Expect(1.0, (3, 4), FLOAT32).apply([array])
    assert str(caught.value) == (
        "cannot leave out a tensor that must be 1.0 everywhere: 3 of 12 values differ\n"
        "  first     index (0, 3)\n"
        "  expected  1.0\n"
        "  found     5.0"
    )
