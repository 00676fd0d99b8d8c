"""What holds for every axis pattern, against an oracle that moves one element at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pattern_cases import WHOLE, arrays, joined, pattern_cases, same_bytes

from converter.algebra.base import Law
from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange, identity
from converter.tensors.dtype import find_dtype

some = settings(max_examples=150, deadline=None)


def parsed(case):
    return Pattern.parse(case.text, case.num_sources, case.num_targets)


def operation(case):
    return Rearrange(parsed(case), case.sizes)


def sources(data, case):
    dtype = data.draw(st.sampled_from(WHOLE))
    return dtype, [data.draw(arrays(case.source_shape, dtype)) for _ in range(case.num_sources)]


@some
@given(pattern_cases())
def test_the_text_of_a_pattern_reads_back_as_the_same_pattern(case):
    pattern = parsed(case)
    again = Pattern.parse(str(pattern), case.num_sources, case.num_targets)
    assert again == pattern
    assert hash(again) == hash(pattern)
    assert pattern.inverse().inverse() == pattern


@some
@given(st.data(), pattern_cases())
def test_every_element_goes_where_the_axes_say(data, case):
    _, values = sources(data, case)
    found = operation(case).apply(values)
    expected = case.expected(values)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert same_bytes(one, other)
        assert one.flags.c_contiguous


@some
@given(st.data(), pattern_cases())
def test_shapes_and_dtypes_are_told_before_any_value(data, case):
    dtype, values = sources(data, case)
    rule = operation(case)
    found = rule.apply(values)
    assert rule.infer([value.shape for value in values]) == tuple(value.shape for value in found)
    assert rule.infer_dtypes([dtype] * len(values)) == (dtype,) * len(found)
    assert all(value.dtype == dtype.numpy for value in found)


@some
@given(st.data(), pattern_cases())
def test_the_inverse_gives_the_same_bytes_back(data, case):
    _, values = sources(data, case)
    rule = operation(case)
    assert rule.law is Law.EXACT
    assert rule.inverse().inverse() == rule
    back = rule.inverse().apply(rule.apply(values))
    assert all(same_bytes(one, other) for one, other in zip(back, values, strict=True))


@some
@given(st.data(), pattern_cases(), st.integers(1, 300))
def test_a_stream_gives_what_apply_gives_in_blocks_no_larger_than_asked(data, case, max_bytes):
    dtype, values = sources(data, case)
    rule = operation(case)
    expected = rule.apply(values)
    shapes = [value.shape for value in expected]
    found = joined(rule.stream(values, max_bytes), shapes, [dtype] * len(shapes), max_bytes)
    assert all(same_bytes(one, other) for one, other in zip(found, expected, strict=True))


@some
@given(pattern_cases())
def test_sizes_follow_from_either_side_and_what_is_given(case):
    pattern = parsed(case)
    known = {axis: size for axis, size in case.sizes.items() if axis != "a"}
    left = [case.source_shape] * case.num_sources
    right = [case.target_shape] * case.num_targets
    full = case.sizes
    if all(full.values()):
        assert pattern.unify(sources=left, sizes=known) == full
        assert pattern.unify(targets=right, sizes=known) == full
    assert pattern.unify(sources=left, targets=right, sizes=full) == full
    assert list(pattern.source_shapes(full)) == left
    assert list(pattern.target_shapes(full)) == right


@some
@given(st.data(), st.lists(st.integers(0, 4), max_size=5).map(tuple))
def test_the_identity_keeps_every_tensor_and_copies_no_contiguous_one(data, shape):
    dtype = data.draw(st.sampled_from(WHOLE))
    array = data.draw(arrays(shape, dtype, strided=False))
    for rule in (identity(shape), identity(len(shape))):
        (found,) = rule.apply([array])
        assert same_bytes(found, array)
        assert array.size == 0 or np.shares_memory(found, array)
        for block in rule.stream([array], 16):
            assert array.size == 0 or np.shares_memory(block.array, array)


def test_values_that_share_bytes_pass_where_no_element_moves():
    packed = find_dtype("float4_e2m1fn_x2")
    raw = np.arange(12, dtype=np.uint8)
    for text in ("a b -> a b", "a b -> (a b)", "(a b) -> a b", "a b -> a 1 b"):
        rule = Rearrange(Pattern.parse(text), {"a": 4, "b": 6})
        assert rule.infer_dtypes([packed]) == (packed,)
        assert same_bytes(rule.apply([raw])[0], raw)
        (block,) = rule.stream([raw], 4)
        assert (block.start, block.array.size) == (0, 12)


def test_big_endian_sources_become_native():
    source = np.arange(6, dtype=">f4").reshape(2, 3)
    (found,) = Rearrange(Pattern.parse("a b -> b a")).apply([source])
    assert found.dtype.isnative
    assert same_bytes(found, np.ascontiguousarray(source.T.astype("f4")))
