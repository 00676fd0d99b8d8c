"""What holds for every operation, whatever it does; each class must be in the table of cases."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.operation_cases import CASES
from support.pattern_cases import joined, same_bytes

import converter.algebra
from converter.algebra.assembly import Assembled
from converter.algebra.base import Law, Operation
from converter.algebra.chain import Chain, chain
from converter.algebra.computed import Computed
from converter.algebra.one_sided import LeftOut, Made
from converter.algebra.values import Elementwise
from converter.tensors.dtype import get_dtype

some = settings(max_examples=35, deadline=None)
every_class = pytest.mark.parametrize("name", CASES)


def dtypes_of(arrays):
    return [get_dtype(array.dtype) for array in arrays]


def same(found, expected):
    assert len(found) == len(expected)
    return all(same_bytes(one, other) for one, other in zip(found, expected, strict=True))


SHARED = (Assembled, Computed, Elementwise, LeftOut, Made)  # what several operations have in common


def test_every_class_of_operation_has_cases():
    for module in pkgutil.iter_modules(converter.algebra.__path__, "converter.algebra."):
        importlib.import_module(module.name)
    named = {part.strip() for name in CASES for part in name.split(",")}
    # Chains have laws of their own; Agree only checks, and has no way back.
    # So has Average, which is proved by tests/unit/test_weights_edited.py.
    assert {cls.__name__ for cls in subclasses(Operation)} - named == {"Chain", "Agree", "Average"}


def subclasses(cls):
    for child in cls.__subclasses__():
        yield from subclasses(child)
        ours = child.__module__.startswith("converter.")  # tests make operations of their own
        if ours and child not in SHARED and child.__name__[0] != "_":
            yield child


@every_class
@some
@given(data=st.data())
def test_infer_agrees_with_apply(name, data):
    rule, arrays = data.draw(CASES[name])
    found = rule.apply(arrays)
    assert rule.infer([array.shape for array in arrays]) == tuple(array.shape for array in found)
    assert rule.infer_dtypes(dtypes_of(arrays)) == tuple(dtypes_of(found))
    assert all(array.flags.c_contiguous and array.dtype.isnative for array in found)


@every_class
@some
@given(data=st.data(), max_bytes=st.integers(1, 200))
def test_a_stream_gives_what_apply_gives(name, data, max_bytes):
    rule, arrays = data.draw(CASES[name])
    expected = rule.apply(arrays)
    shapes = [array.shape for array in expected]
    limit = None if isinstance(rule, Elementwise) else max_bytes
    found = joined(rule.stream(arrays, max_bytes), shapes, dtypes_of(expected), limit)
    assert same(found, expected)


@every_class
@some
@given(data=st.data())
def test_the_inverse_of_the_inverse_is_the_operation(name, data):
    rule, _ = data.draw(CASES[name])
    assert rule.inverse().inverse() == rule
    assert hash(rule.inverse().inverse()) == hash(rule)


@every_class
@some
@given(data=st.data())
def test_the_way_back_keeps_what_the_law_says(name, data):
    rule, arrays = data.draw(CASES[name])
    there = rule.apply(arrays)
    back = rule.inverse().apply(there)
    if rule.law is Law.EXACT:
        assert same(back, arrays)
    elif rule.law in (Law.CANONICAL, Law.DERIVED):
        # A representative was picked; going there again no longer changes anything.
        assert same(rule.inverse().apply(rule.apply(back)), back)
    else:
        assert rule.law is Law.ROUNDED
        for one, other in zip(back, arrays, strict=True):
            assert one.dtype == other.dtype
            assert one.shape == other.shape


@every_class
@some
@given(data=st.data(), max_bytes=st.integers(1, 200))
def test_a_chain_does_one_thing_after_the_other(name, data, max_bytes):
    rule, arrays = data.draw(CASES[name])
    there_and_back = Chain((rule, rule.inverse()))
    expected = rule.inverse().apply(rule.apply(arrays))
    assert same(there_and_back.apply(arrays), expected)
    assert there_and_back.inverse() == there_and_back
    shapes = [array.shape for array in expected]
    found = joined(there_and_back.stream(arrays, max_bytes), shapes, dtypes_of(expected))
    assert same(found, expected)
    assert same(chain(rule, rule.inverse()).apply(arrays), expected)


@every_class
@some
@given(data=st.data())
def test_no_source_is_changed(name, data):
    rule, arrays = data.draw(CASES[name])
    before = [array.copy(order="K") for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    rule.apply(arrays)
    assert same(arrays, before)
