"""Tensors that follow from their shape and a number, and copies: what is made, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from converter.algebra import computed
from converter.algebra.computed import Count, Frequencies
from converter.algebra.copies import TakeOne
from converter.errors import OperationError
from converter.tensors.dtype import get_dtype

F32, BF16, I64 = get_dtype("float32"), get_dtype("bfloat16"), get_dtype("int64")
F4, U8 = get_dtype("float4_e2m1fn_x2"), get_dtype("uint8")

REFUSALS = [
    (
        "count",
        lambda: Count((2, 3), I64).inverse().apply([np.array([[0, 1, 2], [0, 2, 1]])]),
        "cannot leave out a tensor that must be 0, 1, 2, ... along its last axis: "
        "2 of 6 values differ\n"
        "  first     index (1, 1)\n"
        "  expected  1\n"
        "  found     2",
    ),
    (
        "count of another type",
        lambda: Count((3,), I64).inverse().apply([np.arange(3, dtype="i4")]),
        "cannot apply 'leave out: 0, 1, 2, ... along its last axis' to int32: it is for int64",
    ),
    ("count in floats", lambda: Count((3,), F32), "cannot count in a tensor of float32"),
    (
        "count in half bytes",
        lambda: Count((3,), F4),
        "cannot count in a tensor of float4_e2m1fn_x2",
    ),
    ("count in one number", lambda: Count((), I64), "cannot count in a tensor of rank 0"),
    (
        "count too far",
        lambda: Count((257,), U8),
        "cannot count to 256 in uint8",
    ),
    (
        "frequencies",
        lambda: Frequencies(10000, (2,), F32).inverse().apply([np.array([1.0, 0.02], "f4")]),
        "cannot leave out a tensor that must be the frequencies of a rotary embedding of base "
        "10,000: 1 of 2 values differ\n"
        "  first     index (1,)\n"
        "  expected  0.009999999776482582\n"
        "  found     0.019999999552965164",
    ),
    (
        "frequencies of more axes",
        lambda: Frequencies(10000, (2, 2), F32),
        "the frequencies of a rotary embedding are of rank 1, not 2",
    ),
    (
        "whole frequencies",
        lambda: Frequencies(10000, (2,), I64),
        "is int64: only floating-point values are computed",
    ),
    (
        "frequencies of nothing",
        lambda: Frequencies(0, (2,), F32),
        "a rotary embedding of base 0 has no frequencies",
    ),
    (
        "copies that differ",
        lambda: TakeOne(3).apply(
            [np.zeros((2, 3), "f4")] * 2 + [np.array([[0, 0, 0], [0, -0.0, 1]], "f4")]
        ),
        "cannot take one of several tensors that must be the same: number 3 of 3 differs from "
        "the first\n"
        "  first at  index (1, 1)\n"
        "  found     0.0 and -0.0",
    ),
    (
        "copies of another shape",
        lambda: TakeOne(2).infer([(2, 3), (3, 2)]),
        "what should be copies of one tensor has different shapes\n  found  (2, 3) and (3, 2)",
    ),
]


@pytest.mark.parametrize(("name", "call", "text"), REFUSALS)
def test_a_refusal_says_what_and_where(name, call, text):
    with pytest.raises(OperationError) as caught:
        call()
    assert str(caught.value) == text, name


@pytest.mark.parametrize("base", [2, 10000, 500000, 5000000])
@pytest.mark.parametrize("axes", [2, 6, 10, 64, 128])
def test_the_frequencies_are_those_of_transformers(base, axes):
    """Its formula; torch's powers in float32 are off by 2 units in the last place at most."""
    torch = pytest.importorskip("torch")
    exponents = torch.arange(0, axes, 2, dtype=torch.int64).float() / axes
    wanted = (1.0 / (float(base) ** exponents)).numpy()
    made = Frequencies(base, (axes // 2,), F32)
    (found,) = made.apply([])
    assert np.abs(found.view("i4") - wanted.view("i4")).max() <= 2
    assert made.inverse().apply([wanted]) == ()
    assert made.inverse().apply([np.nextafter(wanted, np.float32(2))]) == ()


@pytest.mark.parametrize("wrong", [1 + 2.0**-16, -1.0, np.nan, 0.0])
def test_a_frequency_further_off_is_another_one(wrong):
    made = Frequencies(10000, (5,), F32)
    values = made.apply([])[0].copy()
    values[3] *= np.float32(wrong)
    with pytest.raises(OperationError, match=r"1 of 5 values differ\n  first     index \(3,\)"):
        made.inverse().apply([values])


def test_frequencies_of_16_bits_are_recognised_by_their_own_precision():
    made = Frequencies(10000, (7,), BF16)
    values = Frequencies(10000, (7,), F32).apply([])[0].astype(BF16.numpy)
    assert made.inverse().apply([values]) == ()
    with pytest.raises(OperationError, match="6 of 7 values differ"):
        made.inverse().apply([Frequencies(20000, (7,), F32).apply([])[0].astype(BF16.numpy)])


def test_where_chunks_meet_nothing_shows(monkeypatch):
    monkeypatch.setattr(computed, "_CHUNK", 4)
    made = Count((3, 5), I64)
    values = np.tile(np.arange(5), (3, 1))
    assert made.apply([])[0].tolist() == values.tolist()
    blocks = [block.array for block in made.stream([], 1 << 20)]
    assert [block.size for block in blocks] == [4, 4, 4, 3]
    assert np.concatenate(blocks).tolist() == values.ravel().tolist()
    assert made.inverse().apply([values]) == ()
    values[1, 4], values[2, 3] = 9, 9
    with pytest.raises(OperationError, match=r"2 of 15 values differ\n  first     index \(1, 4\)"):
        made.inverse().apply([values])


def test_a_count_of_any_size_is_made_in_little_memory():
    made = Count((1, 1 << 40), I64)
    blocks = made.stream([], 1 << 20)
    first, second = next(blocks), next(blocks)
    assert first.array.nbytes <= 1 << 20
    assert second.array[0] == second.start == first.array.size
