"""Numbers between two arrays, verdicts, and values bit for bit: no framework needed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import msgspec
import numpy as np
import pytest

from converter.cli import schema
from converter.formats.base import Checkpoint
from converter.tensors.dtype import Array, get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec
from converter.validation.compare import compare
from converter.validation.findings import Finding, LayerError
from converter.validation.judging import judge_output
from converter.validation.outcomes import Control
from converter.validation.report import SMALLEST_FLOOR, Report, Row, judge
from converter.validation.values import compare_values


class InMemory(Checkpoint):
    """Arrays by name; counts what is read and given back."""

    path: Path | None = None
    format = "live"

    def __init__(self, arrays: Mapping[str, Array], label: str = "memory") -> None:
        self.arrays, self._label, self.open = dict(arrays), label, 0

    @property
    def manifest(self) -> Manifest:
        return Manifest.of(
            [TensorSpec(name, a.shape, get_dtype(a.dtype)) for name, a in self.arrays.items()]
        )

    @property
    def label(self) -> str:
        return self._label

    def read(self, name: str) -> Array:
        self.open += 1
        return self.arrays[name]

    def release(self, name: str) -> None:
        self.open -= 1


def test_numbers_of_a_known_difference() -> None:
    found = compare(np.array([[3.0, 0.0], [0.0, 4.5]]), np.array([[3.0, 0.0], [0.0, 4.0]]))
    assert (found.relative_l2, found.max_absolute, found.max_relative) == (0.1, 0.5, 0.125)
    assert found.where == (1, 1)
    assert found.cosine == pytest.approx(27 / 5 / math.hypot(3, 4.5), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300], ids=["tiny", "one", "huge"])
def test_squares_neither_overflow_nor_vanish(scale: float) -> None:
    a, b = np.array([3.0, 4.5]) * scale, np.array([3.0, 4.0]) * scale
    assert compare(a, b).relative_l2 == pytest.approx(0.1)
    assert compare(a, b).cosine == pytest.approx(compare(a / scale, b / scale).cosine)


def test_zero_norms() -> None:
    zero, one = np.zeros(3), np.ones(3)
    assert compare(zero, zero).relative_l2 == 0.0
    assert compare(one, zero).relative_l2 == math.inf
    assert compare(zero, one).relative_l2 == 1.0
    assert compare(np.ones((0, 4)), np.ones((0, 4))).where == ()


def test_shapes_are_never_broadcast() -> None:
    with pytest.raises(ValueError, match="differ"):
        compare(np.ones((2, 3)), np.ones((1, 3)))
    row = judge_output("a", "b", np.ones((2, 3)), np.ones((1, 3)), 1e-7)
    assert (row.verdict, row.error) == ("fail", None)
    assert row.note == "shapes differ: (2, 3) and (1, 3)"


def test_nan_alike_warns_and_elsewhere_fails() -> None:
    nan = np.array([1.0, np.nan, -np.inf])
    alike = judge_output("a", "a", nan, nan.copy(), 1e-7)
    assert alike.verdict == "warn"
    assert alike.note == "2 elements are infinite or NaN on both sides"
    one_side = judge_output("a", "a", nan, np.array([1.0, 2.0, -np.inf]), 1e-7)
    assert one_side.verdict == "fail"
    signs = judge_output("a", "a", np.array([1.0, np.inf]), np.array([1.0, -np.inf]), 1e-7)
    assert signs.verdict == "fail"
    nothing = judge_output("a", "a", np.full(3, np.nan), np.full(3, np.nan), 1e-7)
    assert (nothing.verdict, nothing.error) == ("fail", None)
    assert "no element could be compared" in nothing.note


def test_integers_must_be_equal() -> None:
    ids = np.arange(1000)
    assert judge_output("a", "a", ids, ids, 1e-7).verdict == "pass"
    other = ids.copy()
    other[7] += 1
    row = judge_output("a", "a", ids, other, 1.0)
    assert (row.verdict, row.note) == ("fail", "1 of 1,000 integers differ")


@pytest.mark.parametrize(
    ("error", "floor", "verdict"),
    [
        (30 * 2.0**-20, 2.0**-20, "pass"),
        (31 * 2.0**-20, 2.0**-20, "warn"),
        (300 * 2.0**-20, 2.0**-20, "warn"),
        (301 * 2.0**-20, 2.0**-20, "fail"),
        (0.0, 0.0, "pass"),
        (SMALLEST_FLOOR, 0.0, "pass"),
        (1e-3, 0.0, "fail"),
        (math.inf, 1e-7, "fail"),
        (math.nan, 1e-7, "fail"),
    ],
)
def test_verdict_by_noise_floor(error: float, floor: float, verdict: str) -> None:
    assert judge(error, floor) == verdict


def test_report_as_text_and_as_json() -> None:
    rows = (
        Row("probs", "output", "pass", (3, 10), 2e-7, 1e-7, 1e-6, 1e-6, (2, 1), 1.0),
        Row("aux", "aux", "fail", (3,), math.inf, 1e-7, math.nan, math.inf, (0,), 0.0),
    )
    report = Report("outputs", rows, 2, ("Careful.",), {"seed": 0})
    assert report.lines() == [
        "fail: 2 outputs compared, 1 fail",
        "  pass  probs / output  3x10  relative L2 2.00e-07  floor 1.00e-07  2.0x floor"
        "  largest 1.00e-06 at [2, 1]",
        "  fail  aux  3  relative L2 inf  floor 1.00e-07  infinite floor  largest nan at [0]",
        "  note  Careful.",
    ]
    plain = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert plain["verdict"] == "fail"
    assert plain["rows"][1]["error"] == "inf"
    assert plain["rows"][0]["floors"] == pytest.approx(2.0)


def test_causes_and_the_trace_are_told() -> None:
    finding = Finding(
        "bn",
        "norm",
        2e-3,
        1e-7,
        cause="epsilon",
        sentence="Keras has epsilon 0.001, PyTorch 1e-05.",
        evidence={"mean and variance exchanged": 1.2, "epsilon": 1.1e-7},
        by_weights=True,
        fix="norm.eps = 1e-3",
    )
    unknown = Finding("head", "", math.inf, 0.0)
    trace = (LayerError("bn", "norm", 2e-3, 1e-7, 3e-3), LayerError("head", "", math.nan))
    row = Row("a", "a", "fail", (3,), 0.1)
    report = Report("outputs", (row,), 1, findings=(finding, unknown), trace=trace)
    assert report.lines()[2:] == [
        "  cause  bn / norm  epsilon  relative L2 2.00e-03, floor 1.00e-07",
        "    Keras has epsilon 0.001, PyTorch 1e-05.",
        "    left when undone: epsilon 1.1e-07, mean and variance exchanged 1.2e+00",
        "    other weights can repair it: norm.eps = 1e-3",
        "  cause  head  unknown  relative L2 inf, floor 0.00e+00",
        "    None of the known causes explains the difference.",
    ]
    plain = msgspec.convert(
        json.loads(json.dumps(report.to_json(), allow_nan=False)), schema.Report
    )
    assert plain.findings[0].evidence["epsilon"] == 1.1e-7
    assert (plain.trace[1].error, plain.trace[1].floor) == ("nan", None)


def test_a_broken_plan_that_is_not_seen_is_a_warning() -> None:
    row = Row("a", "a", "pass", (3,), 0.0, 1e-7)
    seen = Control("swapped", "'b' and 'c' exchanged", 5e4, is_detected=True)
    missed = Control("gates", "of 'g'", 0.0, is_detected=False, note="equal values")
    assert Report("outputs", (row,), 1, controls=(seen,)).verdict == "pass"
    report = Report("outputs", (row,), 1, controls=(seen, missed))
    assert report.verdict == "warn"
    assert report.passed
    assert report.lines()[2:] == [
        "  controls  2 broken plans compared, 1 not seen: too weak to prove anything",
        "    gates: of 'g': 0.0x floor (equal values)",
    ]


def test_nothing_compared_is_no_pass() -> None:
    assert Report("outputs", (), 0).verdict == "fail"


def test_equal_values_leave_no_row_and_nothing_open() -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.ones((), np.int64)}
    first, second = InMemory(arrays), InMemory(arrays)
    report = compare_values(first, second)
    assert (report.verdict, report.compared, report.rows) == ("pass", 2, ())
    assert first.open == second.open == 0


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (np.array([0.0]), np.array([-0.0])),
        (np.array([1], np.uint32).view(np.float32), np.array([0], np.uint32).view(np.float32)),
        (
            np.array([0x7FC00000], np.uint32).view("f4"),
            np.array([0x7FC00001], np.uint32).view("f4"),
        ),
        (np.array([1.0], ml_dtypes.bfloat16), np.array([1.0078125], ml_dtypes.bfloat16)),
        (np.array([True]), np.array([False])),
    ],
    ids=["negative zero", "denormal", "nan payload", "bfloat16", "bool"],
)
def test_values_differ_by_one_bit(one: Array, two: Array) -> None:
    report = compare_values(InMemory({"a": one}), InMemory({"a": two}))
    assert report.verdict == "fail"
    assert report.rows[0].note == "1 of 1 elements differ in bits"


def test_values_of_large_tensors_are_compared_to_the_end() -> None:
    one = np.zeros((3, 1 << 21), np.float64)  # 48 MiB: three blocks
    two = one.copy()
    two[2, -1] = 1.0
    row = compare_values(InMemory({"a": one}), InMemory({"a": two})).rows[0]
    assert row.where == (2, (1 << 21) - 1)


def test_missing_shape_and_dtype_are_all_told() -> None:
    first = InMemory({"a": np.ones(2), "b": np.ones((2, 3)), "c": np.ones(3)}, "one.npz")
    second = InMemory(
        {"b": np.ones((3, 2)), "c": np.ones(3, np.float32), "d": np.ones(1)}, "two.npz"
    )
    rows = {row.name: row.note for row in compare_values(first, second).rows}
    assert rows == {
        "a": "not in two.npz",
        "b": "(2, 3) and (3, 2)",
        "c": "float64 and float32",
        "d": "not in one.npz",
    }
