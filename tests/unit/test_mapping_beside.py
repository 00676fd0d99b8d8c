"""A row about two Keras layers: the bias of a convolution that the BatchNorm behind it takes in."""

from __future__ import annotations

import numpy as np
import pytest
import support_mapping as sketch

import converter
from converter.errors import MappingFileError
from converter.mapping.catalogue import load_catalogue
from converter.mapping.check import find_problems
from converter.mapping.document import parse_mapping
from converter.mapping.explaining import explain

ROWS = """
  ["conv2d", "s{s}_conv", "stages.{s-1}.conv", { without = ["bias"] }],
  ["batch_norm_absorbing_bias", "s{s}_bn", "stages.{s-1}.norm", { beside = "s{s}_conv" }],
"""
MAPPING = sketch.mapping(ROWS)
NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def weights(random):
    found = {}
    for stage, width in ((1, 5), (2, 7)):
        found[f"s{stage}_conv/kernel"] = random.normal(size=(3, 2, 4, width)).astype("float32")
        found[f"s{stage}_conv/bias"] = random.normal(size=width).astype("float32")
        for slot in NORM:
            found[f"s{stage}_bn/{slot}"] = random.uniform(0.5, 1.5, width).astype("float32")
    return found


@pytest.fixture
def file(tmp_path):
    arrays = weights(np.random.default_rng(0))
    np.savez(tmp_path / "model.npz", **arrays)
    return tmp_path / "model.npz", arrays


def test_the_mean_is_smaller_by_the_bias_and_the_law_says_canonical(file):
    path, arrays = file
    plan = converter.plan(path, mapping=MAPPING, to="torch")
    found = plan.arrays()
    wanted = arrays["s2_bn/moving_mean"].astype("float64") - arrays["s2_conv/bias"]
    assert np.array_equal(found["stages.1.norm.running_mean"], wanted.astype("float32"))
    assert "stages.1.conv.bias" not in found
    (step,) = (one for one in plan.plan.steps if one.targets == ("stages.1.norm.running_mean",))
    assert step.sources == ("s2_bn/moving_mean", "s2_conv/bias")
    assert (str(step.law), step.operation.describe()) == ("canonical", "+ #0 - #1")


def test_the_way_back_gives_a_bias_of_zero_and_loses_nothing_after_that(file, tmp_path):
    path, _ = file
    converter.plan(path, mapping=MAPPING, to="torch").save(tmp_path / "model.safetensors")
    back = converter.plan(tmp_path / "model.safetensors", mapping=MAPPING, to="keras")
    found = back.arrays()
    assert not found["s1_conv/bias"].any()
    layers = {layer.path: layer.tensors for layer in back.plan.target.layers}
    assert layers["s1_conv"] == {"kernel": "s1_conv/kernel", "bias": "s1_conv/bias"}
    np.savez(tmp_path / "again.npz", **found)
    there = converter.plan(path, mapping=MAPPING, to="torch").arrays()
    again = converter.plan(tmp_path / "again.npz", mapping=MAPPING, to="torch").arrays()
    assert {name: one.tobytes() for name, one in again.items()} == {
        name: one.tobytes() for name, one in there.items()
    }


def test_a_bias_that_is_not_there_is_said_to_be_missing(file, tmp_path):
    _, arrays = file
    del arrays["s1_conv/bias"]
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(converter.PlanError) as caught:
        converter.plan(tmp_path / "less.npz", mapping=MAPPING, to="torch")
    (problem,) = caught.value.problems
    assert (problem.kind, problem.text) == ("missing", "less.npz lacks 's1_conv/bias'")


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ('["batch_norm_absorbing_bias", "bn", "bn"]',
         "kind 'batch_norm_absorbing_bias' takes a tensor of a second Keras layer: "
         'beside = "..."'),
        ('["batch_norm", "bn", "bn", { beside = "conv" }]',
         "kind 'batch_norm' takes nothing of a second Keras layer"),
        ('["conv2d", "conv", "conv", { without = ["biass"] }]',
         "kind 'conv2d' has no slot 'biass'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_kind_is_a_problem(row, text):
    (problem,) = find_problems(sketch.mapping(row), load_catalogue())
    assert problem.text == text


def test_the_second_layer_needs_a_name_that_follows_from_the_first():
    row = '["batch_norm_absorbing_bias", "bn{s}", "bn{s}", { beside = "conv{s}_{i}" }]'
    with pytest.raises(MappingFileError) as caught:
        parse_mapping(f'schema = 1\nname = "toy"\nkeras = "k"\ntorch = "t"\nrules = [{row}]')
    (problem,) = caught.value.problems
    assert problem.where == "rules[0][3].beside"
    assert problem.text == "placeholder {i} is not in the Keras column"


def test_the_rule_that_takes_the_bias_is_found():
    (found,) = explain(MAPPING, load_catalogue().kinds, "s2_conv/bias")
    assert found.rule.kind == "batch_norm_absorbing_bias"
    assert found.keras_names == ["s2_bn/moving_mean", "s2_conv/bias"]
    assert found.module == "stages.1.norm"
