"""Two tensors that must be one are compared bit for bit, chunk by chunk."""

from __future__ import annotations

import numpy as np
import pytest

from converter.algebra import agreement
from converter.algebra.agreement import Agree
from converter.errors import OperationError


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(agreement, "_CHUNK", 16)


def test_equal_bits_agree_also_where_they_are_no_numbers():
    values = np.array([np.nan, -0.0, 1.0] * 5, np.float32).reshape(5, 3)
    assert Agree().apply([values, np.asfortranarray(values)]) == ()
    assert Agree().apply([np.array(1.0), np.array(1.0)]) == ()


@pytest.mark.parametrize("index", [(0, 0), (4, 2), (2, 1)])
def test_one_other_bit_is_found_and_named(index):
    values = np.zeros((5, 3), np.float32)
    other = values.copy()
    other[index] = -0.0
    with pytest.raises(OperationError) as caught:
        Agree().apply([values, other])
    assert str(caught.value) == (
        f"two tied tensors have different values\n  first at  ({index[0]}, {index[1]})"
    )
