"""Query, key and value as the rows of one tensor, the keys with fewer heads than the queries."""

from __future__ import annotations

import numpy as np
import pytest

import converter
from converter.errors import PlanError

TEXT = """
schema = 1
name = "toy"
keras = "k"
torch = "t"
rules = [
  ["attention_packed_uneven", "{b}", "{b}.qkv", { sizes = { h1 = "q", h2 = "kv", h3 = "kv" } }],
]
[sizes]
q = "num_attention_heads"
kv = "num_key_value_heads"
[tables]
b = { block_0 = "layers.0" }
"""

_random = np.random.default_rng(0)
KERAS = {
    "block_0/query/kernel": _random.normal(size=(5, 6, 3)),  # (inputs, heads, size of a head)
    "block_0/key/kernel": _random.normal(size=(5, 2, 3)),
    "block_0/value/kernel": _random.normal(size=(5, 2, 3)),
}
TORCH = {
    "layers.0.qkv.weight": np.concatenate([one.reshape(5, -1).T for one in KERAS.values()]),
}
HEADS = {"num_attention_heads": 6, "num_key_value_heads": 2}


def _plan(folder, weights, **more):
    (folder / "toy.toml").write_text(TEXT)
    np.savez(folder / "source.npz", **weights)
    mapping = str(folder / "toy.toml")
    return converter.plan(folder / "source.npz", mapping=mapping, require="exact", **more)


def _same(found, wanted):
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in wanted.items()
    }


def test_the_heads_are_one_below_the_other(tmp_path):
    _same(_plan(tmp_path, KERAS, to="torch").arrays(), TORCH)


def test_and_are_taken_apart_by_their_numbers(tmp_path):
    _same(_plan(tmp_path, TORCH, to="keras", sizes=HEADS).arrays(), KERAS)


def test_or_by_the_shapes_of_a_keras_model(tmp_path):
    np.savez(tmp_path / "like.npz", **KERAS)
    _same(_plan(tmp_path, TORCH, to="keras", like=tmp_path / "like.npz").arrays(), KERAS)


def test_without_numbers_the_sizes_to_give_are_named(tmp_path):
    with pytest.raises(PlanError) as caught:
        _plan(tmp_path, TORCH, to="keras")
    text = str(caught.value)
    assert "nothing determines the size of 'h1' and 'h2' and 'h3'" in text
    assert "hint          give it: --set q=SIZE --set kv=SIZE\n" in text


def test_numbers_that_contradict_the_shapes_are_refused(tmp_path):
    np.savez(tmp_path / "like.npz", **KERAS)
    longer = {"layers.0.qkv.weight": np.zeros((33, 5))}
    with pytest.raises(PlanError, match="the PyTorch tensor has another shape"):
        _plan(tmp_path, longer, to="keras", like=tmp_path / "like.npz")
    with pytest.raises(PlanError, match="no multiple of 10"):
        _plan(tmp_path, longer, to="keras", sizes=HEADS)
