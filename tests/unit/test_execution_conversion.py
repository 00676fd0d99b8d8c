"""One plan goes to arrays, to a state dict, to a weights list, and to JSON."""

from __future__ import annotations

import json

import ml_dtypes
import msgspec
import numpy as np
import pytest
from support.flat_files import MemoryCheckpoint, make_plan

from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange
from converter.errors import UsageError
from converter.execution.conversion import Conversion
from converter.execution.plan_report import PlanReport
from converter.planning.plan import Dropped, Plan

SWAP = Rearrange(Pattern.parse("a b -> b a"))


def conversion(to: str = "torch", dtype=np.float32) -> tuple[Conversion, dict]:
    random = np.random.default_rng(5)
    arrays = {
        name: random.standard_normal(shape).astype(dtype)
        for name, shape in {"a": (3, 5), "b": (7, 2), "c": (1, 4)}.items()
    }
    source = MemoryCheckpoint(arrays)
    plan = make_plan(
        source.manifest, [(["b"], ["y"], SWAP), (["a"], ["x"], SWAP)], ties={"again": "y"}
    )
    plan = Plan(
        plan.source,
        plan.target,
        to,
        "test",
        plan.steps,
        (Dropped("c", "unused"),),
        ("hot",),
        plan.ties,
    )
    return Conversion(plan, source), arrays


def test_arrays_in_the_order_of_the_target():
    subject, arrays = conversion()
    found = subject.arrays()
    assert list(found) == ["y", "x", "again"]
    np.testing.assert_array_equal(found["y"], arrays["b"].T)
    np.testing.assert_array_equal(found["x"], arrays["a"].T)


def test_get_weights_follows_the_manifest():
    subject, arrays = conversion("keras")
    first, second = subject.get_weights()
    np.testing.assert_array_equal(first, arrays["b"].T)
    np.testing.assert_array_equal(second, arrays["a"].T)


def test_a_plan_leads_to_one_family():
    with pytest.raises(UsageError) as caught:
        conversion("torch")[0].get_weights()
    assert str(caught.value) == (
        "cannot give get_weights(): the plan leads to torch, not to keras\n"
        "  hint  use state_dict(), or arrays()"
    )
    with pytest.raises(UsageError, match="leads to keras, not to torch"):
        conversion("keras")[0].state_dict()


def test_state_dict_of_arrays_on_request():
    subject, arrays = conversion()
    found = subject.state_dict("numpy")
    assert type(found["x"]) is np.ndarray
    np.testing.assert_array_equal(found["x"], arrays["a"].T)


@pytest.mark.frameworks
@pytest.mark.parametrize(
    "dtype", [np.float32, np.float16, np.int64, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]
)
def test_state_dict_of_tensors(dtype):
    torch = pytest.importorskip("torch")
    subject, arrays = conversion(dtype=dtype)
    found = subject.state_dict()
    assert list(found) == ["y", "x", "again"]
    assert str(found["x"].dtype) == f"torch.{np.dtype(dtype).name}"
    assert found["again"] is found["y"]
    expected = arrays["a"].T.astype(np.float32)
    assert torch.equal(found["x"].to(torch.float32), torch.from_numpy(expected.copy()))


def test_json_is_what_its_schema_says():
    subject, _ = conversion()
    text = subject.to_json()
    report = msgspec.json.decode(text, type=PlanReport, strict=True)
    assert report.laws == {"exact": 2}
    assert json.loads(text) == {
        "schema": 1,
        "source": "live",
        "to": "torch",
        "mapping": "test",
        "law": "exact",
        "laws": {"exact": 2},
        "nbytes": 116,
        "steps": [
            {
                "sources": [{"name": "b", "shape": [7, 2], "dtype": "float32"}],
                "targets": [{"name": "y", "shape": [2, 7], "dtype": "float32"}],
                "operation": "a b -> b a",
                "law": "exact",
                "rule": "b -> y",
                "layer": "",
                "module": "",
            },
            {
                "sources": [{"name": "a", "shape": [3, 5], "dtype": "float32"}],
                "targets": [{"name": "x", "shape": [5, 3], "dtype": "float32"}],
                "operation": "a b -> b a",
                "law": "exact",
                "rule": "a -> x",
                "layer": "",
                "module": "",
            },
        ],
        "dropped": [
            {"tensor": {"name": "c", "shape": [1, 4], "dtype": "float32"}, "why": "unused"}
        ],
        "ties": {"again": "y"},
        "assumptions": ["hot"],
        "kept": [],
        "notes": [],
    }
