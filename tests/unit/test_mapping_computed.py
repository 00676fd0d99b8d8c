"""Tensors that one side keeps and the other computes: made there, recognised here."""

from __future__ import annotations

import numpy as np
import pytest
from support.toy_plans import Toy

import converter
from converter.errors import ConverterError, PlanError
from converter.validation.randomised import random_arrays

TEXT = """
schema = 1
name = "toy"
keras = "k"
torch = "t"
rules = [["clip_vision_embeddings", "embedding", "embeddings"]]
"""
KERAS = {
    "embedding/class_embedding": np.arange(5, dtype="f4"),
    "embedding/position_ids": np.arange(7)[None],
    "embedding/position_embedding/embeddings": np.arange(35, dtype="f4").reshape(7, 5),
}
TORCH = {
    "embeddings.class_embedding": KERAS["embedding/class_embedding"],
    "embeddings.position_embedding.weight": KERAS["embedding/position_embedding/embeddings"],
}


@pytest.fixture
def planned(tmp_path):
    return Toy(tmp_path, TEXT)


def test_the_numbers_of_positions_are_made_as_many_as_there_are_rows(planned):
    plan = planned(TORCH, to="keras")
    found = plan.arrays()
    assert found.keys() == KERAS.keys()
    assert all(found[name].tobytes() == KERAS[name].tobytes() for name in KERAS)
    (step,) = (one for one in plan.steps if not one.sources)
    assert (step.operation.describe(), str(step.law)) == ("count 0, 1, 2, ... in (1, 7)", "exact")
    assert plan.plan.law == "exact"


def test_they_are_made_as_the_target_has_them(planned):
    like = {**KERAS, "embedding/position_ids": np.zeros((1, 7), "i4")}
    found = planned(TORCH, to="keras", like=like, require="exact").arrays()
    assert found["embedding/position_ids"].dtype == np.int32
    assert found["embedding/position_ids"].tolist() == [[0, 1, 2, 3, 4, 5, 6]]


def test_what_counts_is_left_out_and_what_does_not_is_refused(planned):
    plan = planned(KERAS, to="torch")
    assert plan.arrays().keys() == TORCH.keys()
    (step,) = (one for one in plan.steps if not one.targets)
    assert step.operation.describe() == "leave out: 0, 1, 2, ... along its last axis"
    zeros = {**KERAS, "embedding/position_ids": np.array([[0, 1, 2, 0, 0, 0, 0]])}
    with pytest.raises(ConverterError) as caught:
        planned(zeros, to="torch").arrays()
    text = str(caught.value)
    assert "that must be 0, 1, 2, ... along its last axis: 4 of 7 values differ" in text
    for line in ("first     index (0, 3)", "expected  3", "found     0"):
        assert line in text


def test_as_many_numbers_as_rows_are_needed(planned):
    like = {**KERAS, "embedding/position_ids": np.zeros((1, 8), "i8")}
    with pytest.raises(PlanError) as caught:
        planned(TORCH, to="keras", like=like)
    (problem,) = caught.value.problems
    assert problem.where == "'embedding/position_ids'"
    assert problem.kind == "mismatched"
    assert problem.text == "cannot fit '1 n -> 1 n': axis 'n' is 7 and 8"


def test_a_target_that_counts_otherwise_is_seen_when_values_are_compared(tmp_path, planned):
    wrong = {**KERAS, "embedding/position_ids": np.array([[0, 1, 2, 3, 4, 6, 5]])}
    (tmp_path / "toy.toml").write_text(TEXT)
    np.savez(tmp_path / "torch.npz", **TORCH)
    for values, verdict in ((KERAS, "pass"), (wrong, "fail")):
        np.savez(tmp_path / "keras.npz", **values)
        report = converter.validate(
            tmp_path / "torch.npz", tmp_path / "keras.npz", mapping=str(tmp_path / "toy.toml")
        )
        assert report.verdict == verdict


def test_random_weights_leave_what_is_computed_as_it_is(planned, tmp_path):
    plan = planned(KERAS, to="torch").plan
    found = random_arrays(plan, converter.open(tmp_path / "source.npz"), seed=3)
    assert found["embedding/position_ids"].tolist() == KERAS["embedding/position_ids"].tolist()
    assert (
        found["embedding/class_embedding"].tolist() != KERAS["embedding/class_embedding"].tolist()
    )
