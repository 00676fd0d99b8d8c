"""Chains: simplified or not, streamed or not, the bytes are the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pattern_cases import arrays, joined, same_bytes

from converter.algebra.base import Law
from converter.algebra.chain import Chain, chain, simplified
from converter.algebra.joins import Concat, SignedSum, Split
from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange, identity
from converter.algebra.values import Cast, Constant, Derive, Offset, Scale
from converter.tensors.dtype import find_dtype

FLOAT16, BFLOAT16, FLOAT32 = map(find_dtype, ("float16", "bfloat16", "float32"))
some = settings(max_examples=200, deadline=None)


@st.composite
def moves(draw, shape, *, everything):
    """Return an operation on one tensor of a shape, and the shape that it gives."""
    rank = len(shape)
    names = draw(st.permutations("abcdefghijklm"))[:rank]
    kind = draw(st.sampled_from(["permute", "flatten", "cut", "one", "drop", "labels", "same"]))
    order = draw(st.permutations(names))
    sizes = dict(zip(names, shape, strict=True))
    left, right = " ".join(names), " ".join(order)
    if kind == "flatten" and rank > 1:
        right = f"({order[0]} {order[1]}) {' '.join(order[2:])}"
    if kind == "cut" and rank and shape[0] % 2 == 0:
        left = f"(x y) {' '.join(names[1:])}"
        right = f"y {' '.join(names[1:])} x"
        sizes = {"x": 2}
    if kind == "one":
        right = f"{right} 1"
    if kind == "drop" and rank and shape[-1] == 1:
        left, right = f"{' '.join(names[:-1])} 1", " ".join(names[:-1])
    if kind == "labels" and rank and shape[0] == 4:
        left = f"[p q r s] {' '.join(names[1:])}"
        right = f"{' '.join(names[1:])} [s q p r]"
    if kind == "same":
        right = left
    pattern = Pattern.parse(f"{left} -> {right}")
    known = {axis: size for axis, size in sizes.items() if axis in pattern.axes}
    needed = {"x"} if "(x y)" in left else set()
    given_sizes = {axis: known[axis] for axis in known if axis in needed or draw(st.booleans())}
    if everything:
        given_sizes = pattern.unify(sources=[shape], sizes=given_sizes)
    rule = Rearrange(pattern, given_sizes)
    return rule, rule.infer([shape])[0]


@st.composite
def chains(draw, *, only_moves=False):
    shape = draw(st.lists(st.sampled_from([0, 1, 2, 4, 6]), max_size=3).map(tuple))
    dtype, source, rules = FLOAT16, shape, []
    for _ in range(draw(st.integers(0, 5))):
        step = 9 if only_moves else draw(st.integers(0, 5))
        rule, shape = draw(moves(shape, everything=only_moves or step == 0))
        rules.append(rule)
        match step:
            case 0:
                rules.append(rule.inverse())
                shape = rules[-1].infer([shape])[0]
            case 1 if dtype is not FLOAT32:
                rules.append(Cast(dtype, FLOAT32))
                dtype = FLOAT32
            case 2:
                rules.append(Offset(0.1))
            case 3 if dtype is FLOAT32:
                rules.append(Cast(FLOAT32, BFLOAT16))
                dtype = BFLOAT16
    return rules, source


def values_of(data, shape):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = rng.normal(size=shape).astype(np.float16)
    values[rng.random(shape) < 0.2] = -0.0
    values[rng.random(shape) < 0.1] = np.nan
    return values


@some
@given(st.data(), chains())
def test_a_simplified_chain_gives_the_same_bytes(data, drawn):
    rules, shape = drawn
    values = values_of(data, shape)
    (expected,) = Chain(tuple(rules)).apply([values])
    (found,) = chain(*rules).apply([values])
    assert same_bytes(found, expected)
    assert len(simplified(rules)) <= len(rules)


@some
@given(st.data(), chains(), st.integers(1, 64))
def test_a_chain_streams_what_it_gives(data, drawn, max_bytes):
    rules, shape = drawn
    values = values_of(data, shape)
    rule = Chain(tuple(rules))
    (expected,) = rule.apply([values])
    dtypes = rule.infer_dtypes([FLOAT16])
    assert rule.infer([shape]) == (expected.shape,)
    assert dtypes[0].numpy == expected.dtype
    (found,) = joined(rule.stream([values], max_bytes), [expected.shape], dtypes, max(max_bytes, 4))
    assert same_bytes(found, expected)


@some
@given(st.data(), chains(only_moves=True))
def test_the_inverse_of_a_chain_is_the_inverses_backwards(data, drawn):
    rules, shape = drawn
    rule = Chain(tuple(rules))
    values = data.draw(arrays(shape, FLOAT16))
    assert rule.law is Law.EXACT
    assert rule.inverse().inverse() == rule
    assert same_bytes(rule.inverse().apply(rule.apply([values]))[0], values)
    assert same_bytes(chain(rule, rule.inverse()).apply([values])[0], values)


def test_moves_join_to_one_pattern_where_the_patterns_tell():
    def joined_text(first, second, **sizes):
        rules = [Rearrange(Pattern.parse(text)) for text in (first, second)]
        rules[1] = Rearrange(rules[1].pattern, sizes)
        return chain(*rules).describe()

    assert joined_text("a b -> b a", "x y -> (y x)") == "a b -> (a b)"
    assert joined_text("a b c -> (c a) b", "o i -> i o") == "a b c -> b (c a)"
    assert joined_text("a b -> b a", "(h w) c -> w c h", h=2) == "a (_h _w) -> _w a _h"
    assert joined_text("[p q] a -> ([q p] a)", "x -> 1 x") == "[p q] a -> 1 ([q p] a)"
    assert joined_text("a b -> a b 1", "x y 1 -> y x") == "a b -> b a"
    assert joined_text("a b -> (a b)", "(x y) -> y x", x=2) == (
        "a b -> (a b), then (x y) -> y x"
    ), "cut elsewhere, perhaps"


def test_nothing_is_simplified_that_could_change_a_bit():
    there = Cast(FLOAT32, BFLOAT16)
    assert simplified([there, there.inverse()]) == (there, there.inverse())
    assert simplified([there.inverse(), there]) == ()
    assert simplified([Offset(1.0), Offset(-1.0)]) == (Offset(1.0), Offset(-1.0))
    assert simplified([Offset(0.0)]) == (Offset(0.0),), "it turns a negative zero positive"
    assert simplified([Scale(2.0), Scale(2.0).inverse()]) == (Scale(2.0), Scale(2.0).inverse())
    assert simplified([Split(0, (1, 2)), Concat(0, (1, 2))]) == ()
    assert simplified([SignedSum((1, 1)), SignedSum((1, 1)).inverse()]) != ()


def test_chains_in_chains_are_opened_and_what_is_alone_stays_itself():
    move = Rearrange(Pattern.parse("a b -> b a"))
    assert chain(Chain((move, Chain((Offset(1.0),)))), identity(2)) == Chain((move, Offset(1.0)))
    assert chain(identity(2)) == identity(2)
    assert chain(identity(2), move) == move
    assert chain() == Chain(())
    assert Chain(()).describe() == "as it is"


def test_the_law_of_a_chain_is_the_weakest():
    move = Rearrange(Pattern.parse("a b -> b a"))
    assert Chain((move, Offset(1.0))).law is Law.ROUNDED
    assert Chain((Constant(1.0, (2, 3), FLOAT32), move)).law is Law.CANONICAL
    assert Chain((Derive(0, (), find_dtype("int64")),)).law is Law.DERIVED
    assert Chain((move, Cast(BFLOAT16, FLOAT32))).law is Law.EXACT
    assert Chain((move, Cast(BFLOAT16, FLOAT32))).inverse().law is Law.ROUNDED


def test_a_cast_of_one_of_several_tensors_streams_behind_a_split():
    rule = chain(Split(0, (1, 3)), Cast(FLOAT16, FLOAT32, 1, 2))
    values = np.arange(8, dtype=np.float16).reshape(4, 2)
    dtypes = rule.infer_dtypes([FLOAT16])
    assert dtypes == (FLOAT16, FLOAT32)
    expected = rule.apply([values])
    found = joined(rule.stream([values], 8), rule.infer([(4, 2)]), dtypes)
    assert all(same_bytes(one, other) for one, other in zip(found, expected, strict=True))
    assert rule.inverse().infer_dtypes(dtypes) == (FLOAT16,)
