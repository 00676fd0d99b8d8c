"""Tables whose members a checkpoint shows: Keras names a layer after a width, PyTorch counts."""

from __future__ import annotations

import numpy as np
import pytest
from support.toy_plans import Toy

from converter.errors import MappingFileError, PlanError
from converter.mapping.catalogue import load_catalogue
from converter.mapping.document import parse_mapping
from converter.mapping.explaining import explain
from converter.mapping.proofs import digest

TEXT = """
schema = 1
name = "toy"
keras = "k"
torch = "t"
rules = [
  ["dense", "stage_{s}", "stages.{s}"],
  ["dense", "linear_{width}", "decoder.{width}.proj"],
]
keras_prefixes = ["toy_backbone/", "toy_backbone_"]

[measured]
width = { keras = "stage_{s}/kernel[1]", torch = "stages.{s}.weight[0]" }
"""
WIDTHS = (5, 12, 7)


def _keras(widths=WIDTHS):
    found, before = {}, 3
    for stage, width in enumerate(widths):
        found[f"stage_{stage}/kernel"] = np.full((before, width), stage, "f4")
        before = width
    for width in widths:
        found[f"linear_{width}/kernel"] = np.full((width, 4), width, "f4")
    return found


def _torch(widths=WIDTHS):
    names = [f"stages.{stage}" for stage in range(len(widths))]
    names += [f"decoder.{stage}.proj" for stage in range(len(widths))]
    values = _keras(widths).values()
    return {f"{name}.weight": value.T for name, value in zip(names, values, strict=True)}


@pytest.fixture
def planned(tmp_path):
    return Toy(tmp_path, TEXT)


def _same(found, wanted):
    assert {name: one.tolist() for name, one in found.items()} == {
        name: one.tolist() for name, one in wanted.items()
    }


@pytest.mark.parametrize("widths", [WIDTHS, (64, 128), (128, 64)])
def test_one_rule_serves_every_size_in_both_directions(planned, widths):
    _same(planned(_keras(widths), to="torch").arrays(), _torch(widths))
    _same(planned(_torch(widths), to="keras").arrays(), _keras(widths))


@pytest.mark.parametrize("prefix", ["toy_backbone/", "toy_backbone_", "toy_backbone_3_"])
def test_names_behind_a_prefix_are_measured_too(planned, prefix):
    _same(
        planned({prefix + name: one for name, one in _keras().items()}, to="torch").arrays(),
        _torch(),
    )


def test_a_layer_of_another_width_has_no_rule(planned):
    strange = {**_keras(), "linear_9/kernel": np.zeros((9, 4), "f4")}
    with pytest.raises(PlanError, match=r"linear_9/kernel  no rule of 'toy' takes it"):
        planned(strange, to="torch")


def test_two_stages_of_one_width_cannot_be_told_apart(planned):
    second = {"stages.1.weight": np.zeros((5, 5)), "decoder.1.proj.weight": np.zeros((4, 5))}
    with pytest.raises(PlanError, match=r"decoder.1.proj.weight  no rule of 'toy' takes it"):
        planned({**_torch((5,)), **second}, to="keras")


def test_without_a_checkpoint_the_other_number_stays_open():
    mapping, kinds = parse_mapping(TEXT), load_catalogue().kinds
    (found,) = explain(mapping, kinds, "linear_160/kernel")
    assert (found.layer, found.module) == ("linear_160", "decoder.{width}.proj")
    (found,) = explain(mapping, kinds, "decoder.2.proj.weight")
    assert (found.layer, found.module) == ("linear_{width}", "decoder.2.proj")
    (found,) = explain(mapping, kinds, "stage_3/kernel")
    assert (found.layer, found.module) == ("stage_3", "stages.3")


def test_what_is_measured_decides_where_tensors_go():
    assert digest(parse_mapping(TEXT)) != digest(parse_mapping(TEXT.replace("[1]", "[0]")))


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("stages.{s}.weight[0]", "stages.{t}.weight[0]",
         "measured.width: both sides must have the same one number in their names"),
        ("stage_{s}/kernel[1]", "stage_{s}/kernel",
         "measured.width: 'stage_{s}/kernel' is not of the form TENSOR[AXIS]"),
        (', torch = "stages.{s}.weight[0]"', "", "measured.width: has no 'torch'"),
        ("[measured]", '[tables]\nwidth = ["a"]\n[measured]',
         "measured.width: is a table already"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_is_said(old, new, wrong):
    with pytest.raises(MappingFileError) as caught:
        parse_mapping(TEXT.replace(old, new))
    assert wrong in [f"{one.where}: {one.text}" for one in caught.value.problems]
