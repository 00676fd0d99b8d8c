"""Between files of one family: names that share a tensor, counters, and reasons."""

from __future__ import annotations

import pytest

from converter.algebra.agreement import Agree
from converter.errors import PlanError
from converter.planning.copy import make_copy_plan
from converter.planning.sides import Side
from converter.tensors.dtype import get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec


def side(*names: str, label: str = "a.pt", size: int = 3, **options: object) -> Side:
    specs = [TensorSpec(name, (size,), get_dtype("float32")) for name in names]
    return Side("torch", Manifest.of(specs, family="torch", **options), label=label)


def test_either_name_of_a_shared_tensor_will_do():
    source = side("a.w", ties={"b.w": "a.w"})
    target = side("b.w", ties={"a.w": "b.w"})
    plan = make_copy_plan(source, target)
    assert [(step.sources, step.targets) for step in plan.steps] == [(("a.w",), ("b.w",))]


def test_a_tensor_that_the_source_has_twice_is_compared():
    plan = make_copy_plan(side("a.w", "b.w"), side("a.w", ties={"b.w": "a.w"}))
    assert [step.sources for step in plan.steps] == [("a.w",), ("b.w", "a.w")]
    assert plan.steps[1].operation == Agree()


def test_one_tensor_for_two_is_read_twice():
    plan = make_copy_plan(side("a.w", ties={"b.w": "a.w"}), side("a.w", "b.w"))
    assert [(step.sources, step.targets) for step in plan.steps] == [
        (("a.w",), ("a.w",)),
        (("a.w",), ("b.w",)),
    ]


def test_tied_tensors_of_two_shapes_are_a_problem():
    both = Manifest.of(
        [TensorSpec("a.w", (3,), get_dtype("float32")), TensorSpec("b.w", (4,), get_dtype("int8"))]
    )
    with pytest.raises(PlanError, match=r"mismatched  b\.w  is tied to 'a\.w' in t\.onnx"):
        make_copy_plan(
            Side("torch", both, label="a.pt"),
            side("a.w", label="t.onnx", ties={"b.w": "a.w"}),
        )


def test_counters_of_training_are_left_out():
    plan = make_copy_plan(side("a.w", "bn.num_batches_tracked"), side("a.w"))
    assert [drop.name for drop in plan.dropped] == ["bn.num_batches_tracked"]


def test_what_is_unusual_about_the_target_is_said_with_the_problems():
    target = side("a.w", label="t.onnx", notices=("It is folded.",))
    with pytest.raises(PlanError) as error:
        make_copy_plan(side("b.w"), target)
    assert error.value.lines()[1:] == [
        "  missing     a.w  a.pt has no such tensor",
        "  unexpected  b.w  t.onnx has no place for it",
        "  notice      t.onnx  It is folded.",
        "  written     nothing",
    ]
