"""The benchmark runs, and its comparison of values can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.frameworks
def test_a_quick_run_of_one_case(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    arguments = ["--quick", "--only", "20,000", "--json", str(tmp_path / "out.json")]
    run = subprocess.run(
        [sys.executable, str(SCRIPTS / "bench.py"), "--folder", str(tmp_path), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "weightferry and plain script wrote the same values" in run.stdout
    found = json.loads((tmp_path / "out.json").read_text())
    runs = found["results"]["20,000 small tensors"]
    assert set(runs) == {"cp + fsync", "weightferry", "plain script"}
    for one in runs.values():
        assert one["code"] == 0
        assert one["wall"] > 0
        assert one["peak"] >= one["anonymous"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize(
    ("second", "code", "says"),
    [
        ({"a": [1.0, -0.0]}, 0, ""),
        ({"a": [1.0, 0.0]}, 1, "different: a"),
        ({"b": [1.0, -0.0]}, 1, "in one file only"),
    ],
)
def test_values_are_compared_bit_for_bit(tmp_path, second, code, says):
    save_file = pytest.importorskip("safetensors.numpy").save_file
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    save_file({"a": np.array([1.0, -0.0])}, one)
    save_file({name: np.array(row) for name, row in second.items()}, two)
    run = subprocess.run(
        [sys.executable, str(SCRIPTS / "bench_same.py"), str(one), str(two)],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == code, run.stderr
    assert says in run.stderr
