"""One tensor that Keras keeps twice: DINOv2's positions, as trained and for its images."""

from __future__ import annotations

import numpy as np
import pytest
from support.toy_plans import Toy

import converter
from converter.errors import ConverterError, PlanError
from converter.planning.plan import Plan
from converter.validation.randomised import random_arrays

TEXT = """
schema = 1
name = "toy"
keras = "k"
torch = "t"
rules = [["dinov2_embeddings", "embeddings", "embeddings"]]
"""
POSITIONS = np.arange(35, dtype="f4").reshape(1, 7, 5)
KERAS = {
    "embeddings/cls_token": np.ones((1, 1, 5), "f4"),
    "embeddings/mask_token": np.full((1, 5), 2, "f4"),
    "embeddings/interpolated_position_embeddings": POSITIONS,
    "embeddings/position_embeddings": POSITIONS,
}
TORCH = {
    "embeddings.cls_token": KERAS["embeddings/cls_token"],
    "embeddings.mask_token": KERAS["embeddings/mask_token"],
    "embeddings.position_embeddings": POSITIONS,
}


@pytest.fixture
def planned(tmp_path):
    return Toy(tmp_path, TEXT)


def _same(found, wanted):
    assert {name: one.tobytes() for name, one in found.items()} == {
        name: one.tobytes() for name, one in wanted.items()
    }


def test_it_is_written_twice_and_read_once(planned):
    there = planned(KERAS, to="torch", require="exact")
    _same(there.arrays(), TORCH)
    back = planned(TORCH, to="keras", require="exact")
    _same(back.arrays(), KERAS)
    told = {step.operation.describe() for plan in (there, back) for step in plan.steps}
    assert {"one of 2 copies", "2 copies"} <= told


def test_two_that_differ_are_refused(planned):
    trained = {**KERAS, "embeddings/interpolated_position_embeddings": POSITIONS + 1}
    with pytest.raises(ConverterError) as caught:
        planned(trained, to="torch").arrays()
    text = str(caught.value)
    assert "tensors that must be the same: number 2 of 2 differs from the first" in text
    assert "first at  index (0, 0, 0)" in text
    assert "1.0 and 0.0" in text


def test_one_resized_for_other_images_is_refused_before_anything_is_read(planned):
    resized = {**KERAS, "embeddings/interpolated_position_embeddings": np.ones((1, 5, 5), "f4")}
    for call in (
        lambda: planned(resized, to="torch"),
        lambda: planned(TORCH, to="keras", like=resized),
    ):
        with pytest.raises(PlanError) as caught:
            call()
        (problem,) = caught.value.problems
        assert problem.kind == "mismatched"
        assert "what should be copies of one tensor has different shapes" in problem.text


def test_random_weights_are_the_same_in_both(planned, tmp_path):
    plan = planned(KERAS, to="torch")
    assert isinstance(plan.plan, Plan)
    found = random_arrays(plan.plan, converter.open(tmp_path / "source.npz"), seed=3)
    one, other = (found[name] for name in KERAS if "position" in name)
    assert one.tobytes() == other.tobytes() != POSITIONS.tobytes()
