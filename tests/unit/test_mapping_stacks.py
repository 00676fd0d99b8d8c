"""Experts: one Keras tensor for all of a layer, one PyTorch module for each."""

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
  ["experts_gate_and_up", "block_{i}/experts", "layers.{i}.experts", { when = "not apart" }],
  ["experts_gate_and_up_apart", "block_{i}/experts", "layers.{i}.experts", { when = "apart" }],
]
[conditions]
apart = { torch = "layers.{i}.experts.{x}", otherwise = true }
"""

_random = np.random.default_rng(0)
GATE_AND_UP = _random.normal(size=(3, 4, 10))  # (experts, inputs, gate then up)
DOWN = _random.normal(size=(3, 5, 4))
KERAS = {
    "block_0/experts/expert_feedforward_gate_dense": GATE_AND_UP,
    "block_0/experts/expert_feedforward_output_dense": DOWN,
}
APART = {
    f"layers.0.experts.{x}.{name}.weight": value
    for x in range(3)
    for name, value in (
        ("gate_proj", GATE_AND_UP[x, :, :5].T),
        ("up_proj", GATE_AND_UP[x, :, 5:].T),
        ("down_proj", DOWN[x].T),
    )
}
TOGETHER = {
    "layers.0.experts.gate_up_proj": GATE_AND_UP.transpose(0, 2, 1),
    "layers.0.experts.down_proj": DOWN.transpose(0, 2, 1),
}


def _plan(folder, weights, **more):
    (folder / "toy.toml").write_text(TEXT)
    np.savez(folder / "source.npz", **weights)
    return converter.plan(folder / "source.npz", mapping=str(folder / "toy.toml"), **more)


def _same(found, wanted):
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in wanted.items()
    }


def test_each_expert_is_a_module_where_nothing_says_otherwise(tmp_path):
    plan = _plan(tmp_path, KERAS, to="torch", require="exact")
    _same(plan.arrays(), APART)


@pytest.mark.parametrize("torch", [APART, TOGETHER], ids=["apart", "together"])
def test_both_forms_are_read_and_written_where_the_target_has_them(tmp_path, torch):
    _same(_plan(tmp_path, torch, to="keras", require="exact").arrays(), KERAS)
    np.savez(tmp_path / "like.npz", **torch)
    _same(_plan(tmp_path, KERAS, to="torch", like=tmp_path / "like.npz").arrays(), torch)


def test_an_expert_that_is_not_there_is_missing(tmp_path):
    np.savez(tmp_path / "like.npz", **KERAS)
    fewer = {name: value for name, value in APART.items() if ".2." not in name}
    with pytest.raises(PlanError, match="axis 'x' is 3 and 2"):
        _plan(tmp_path, fewer, to="keras", like=tmp_path / "like.npz")
