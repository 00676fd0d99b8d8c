"""Patterns of real layers, against NumPy as a person would write it by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange


def numbers(*shape, start=0):
    return np.arange(start, start + np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


@dataclass(frozen=True)
class Layer:
    """A pattern, its sources, and the targets as plain NumPy gives them."""

    pattern: str
    sources: list
    targets: list
    sizes: dict = field(default_factory=dict)


KERNEL = numbers(3, 5, 2, 7)
GATES = numbers(5, 12)
Q, K, V = (numbers(6, 2, 5, start=100 * index) for index in range(3))
BIAS = numbers(2, 12)
Z, R, H = np.split(GATES, 3, axis=1)
BIAS_Z, BIAS_R, BIAS_H = np.split(BIAS, 3, axis=1)
ROWS = numbers(2 * 3 * 4, 5)

LAYERS = {
    "Dense": Layer("in out -> out in", [numbers(3, 4)], [numbers(3, 4).T]),
    "Conv2D": Layer("kh kw in out -> out in kh kw", [KERNEL], [KERNEL.transpose(3, 2, 0, 1)]),
    "Conv2DTranspose": Layer(
        "kh kw out in -> in out kh kw", [KERNEL], [KERNEL.transpose(3, 2, 0, 1)]
    ),
    "DepthwiseConv2D": Layer(
        "h w i m -> (i m) 1 h w",
        [KERNEL],
        [KERNEL.transpose(2, 3, 0, 1).reshape(14, 1, 3, 5)],
        {"i": 2},
    ),
    "GRU": Layer(
        "in ([z r n] u) -> ([r z n] u) in", [GATES], [np.concatenate([R, Z, H], axis=1).T]
    ),
    "GRU bias": Layer(
        "[a b] ([z r n] u) -> [a b] ([r z n] u)",
        [BIAS],
        list(np.concatenate([BIAS_R, BIAS_Z, BIAS_H], axis=1)),
    ),
    "packed attention": Layer(
        "[q k v] d h e -> ([q k v] h e) d",
        [Q, K, V],
        [np.concatenate([one.reshape(6, 10).T for one in (Q, K, V)])],
        {"h": 2},
    ),
    "interleaved heads": Layer(
        "[q k v] d h e -> (h [q v k] e) d",
        [Q, K, V],
        [np.stack([Q, V, K], axis=2).reshape(6, 2 * 3 * 5).T],
        {"h": 2},
    ),
    "separate to separate": Layer(
        "[q k v] d h e -> [v q k] e d h", [Q, K, V], [one.transpose(2, 0, 1) for one in (V, Q, K)]
    ),
    "Dense after Flatten": Layer(
        "(h w c) out -> out (c h w)",
        [ROWS],
        [ROWS.reshape(2, 3, 4, 5).transpose(3, 2, 0, 1).reshape(5, 24)],
        {"h": 2, "w": 3},
    ),
    "scalar": Layer(" -> ", [np.array(3.0)], [np.array(3.0)]),
    "scalar to vector": Layer("-> 1", [np.array(3.0)], [np.array([3.0])]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_what_numpy_makes_of_it_and_back(name):
    layer = LAYERS[name]
    pattern = Pattern.parse(layer.pattern, len(layer.sources), len(layer.targets))
    found = Rearrange(pattern, layer.sizes).apply(layer.sources)
    assert len(found) == len(layer.targets)
    for one, other in zip(found, layer.targets, strict=True):
        assert one.flags.c_contiguous
        assert one.shape == other.shape
        assert (one == other).all()
    back = Rearrange(pattern.inverse(), layer.sizes).apply(found)
    assert all((one == other).all() for one, other in zip(back, layer.sources, strict=True))


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  a   b->b a ", "a b -> b a"),
        ("(a) b -> b (a)", "a b -> b a"),
        ("->", " -> "),
        ("[ z  r ](  a b ) 1 -> ( b [r z] ) a", "[z r] (a b) 1 -> (b [r z]) a"),
        ("[a b] a b -> b a [b a]", "[a b] a b -> b a [b a]"),
    ],
)
def test_the_text_of_a_pattern_is_normal(text, normal):
    assert str(Pattern.parse(text)) == normal


def test_a_labelled_axis_is_a_list_only_where_the_count_of_tensors_says_so():
    text = "[q k v] d -> d [q k v]"
    assert Pattern.parse(text).target_shapes({"d": 5}) == ((5, 3),)
    assert Pattern.parse(text).source_shapes({"d": 5}) == ((3, 5),)
    assert Pattern.parse(text, num_sources=3).source_shapes({"d": 5}) == ((5,),) * 3
    assert Pattern.parse(text) != Pattern.parse(text, num_sources=3)


def test_sizes_are_found_through_several_shapes():
    pattern = Pattern.parse("[q k v] d h e -> ([q k v] h e) d", 3)
    assert pattern.unify(targets=[(30, 6)], sizes={"h": 2}) == {"d": 6, "h": 2, "e": 5}
    assert pattern.unify(sources=[(6, 2, 5)] * 3, sizes={"else": 4}) == {"d": 6, "h": 2, "e": 5}


def test_operations_are_equal_and_hash_alike_whatever_the_order_of_sizes():
    pattern = Pattern.parse("(h w c) out -> out (c h w)")
    one, other = Rearrange(pattern, {"h": 2, "w": 3}), Rearrange(pattern, {"w": 3, "h": 2})
    assert one == other
    assert hash(one) == hash(other)
    assert one != Rearrange(pattern, {"h": 3, "w": 3})
