"""Hypotheses that explain, that do not fit, and that could not be tried."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from converter.validation.weighing import Outcome, Weighing


def raising(error: Exception) -> Callable[[], float]:
    def run() -> float:
        raise error

    return run


@pytest.mark.parametrize("error", [RuntimeError("size 3 at axis 1"), ValueError("no such shape")])
def test_a_hypothesis_that_does_not_fit_is_refuted(error: Exception) -> None:
    weighing = Weighing(0.5, 1e-7)
    assert weighing.attempt(Outcome("epsilon", 0.0), raising(error)) == math.inf
    found = weighing.finding("bn", "features.1", "'bn'")
    assert found.untried == ()
    assert found.sentence == (
        "'bn' differs (relative L2 error 5.0e-01, floor 1e-07), and none of 1 causes tried "
        "explains it."
    )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AttributeError("no attribute 'epz'"), "AttributeError: no attribute 'epz'"),
        (KeyError("kernel"), "KeyError: 'kernel'"),
        (TypeError("two\nlines"), "TypeError: two"),
        (NameError(), "NameError: "),
    ],
)
def test_a_hypothesis_that_could_not_be_tried_is_said(error: Exception, told: str) -> None:
    weighing = Weighing(0.5, 1e-7)
    weighing.attempt(Outcome("epsilon", 0.0), raising(error))
    weighing.attempt(Outcome("gate_order", 0.0), lambda: 1e-8)
    found = weighing.finding("bn", "features.1", "'bn'")
    assert found.cause == "gate_order"
    assert found.untried == (f"hypothesis epsilon could not be tried: {told}",)
    assert found.lines()[-1] == f"  hypothesis epsilon could not be tried: {told}"


def test_what_stops_the_program_is_let_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        Weighing(0.5, 1e-7).attempt(Outcome("epsilon", 0.0), _interrupted)


def _interrupted() -> float:
    raise KeyboardInterrupt


def test_the_special_cause_is_named_before_the_general_one_and_both_best_are_said() -> None:
    weighing = Weighing(0.5, 1e-7)
    for cause, left in (("other_weights", 0.0), ("gamma_beta_swapped", 2e-8), ("epsilon", 3e-8)):
        weighing.attempt(Outcome(cause, 0.0), lambda left=left: left)
    found = weighing.finding("bn", "features.1", "'bn'")
    assert found.cause == "gamma_beta_swapped"
    assert found.sentence == (
        "'bn': gamma and beta are exchanged (relative L2 error 5.0e-01, floor 1e-07; 2.0e-08 is "
        "left when it is undone). It cannot be told from: epsilon."
    )


def test_computing_in_float64_alone_names_no_cause() -> None:
    weighing = Weighing(0.5, 1e-7)
    weighing.attempt(Outcome("", 0.0), lambda: 0.0)
    found = weighing.finding("bn", "features.1", "'bn'")
    assert (found.cause, dict(found.evidence)) == ("", {})
