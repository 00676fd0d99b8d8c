"""The demo of the README, from training to the last bit."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.frameworks
def test_the_demo_passes_and_says_so(tmp_path: Path):
    """As ``python3 scripts/demo.py`` runs it, without preparing the environment it runs in."""
    code = (
        "import sys, pathlib, environment, demo\n"
        "environment.enter = lambda: None\n"
        "demo.OUTPUT = pathlib.Path(sys.argv[1])\n"
        "sys.exit(demo.main())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "demo")],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "<All keys matched successfully>" in answer.stdout
    assert "the outputs agree within rounding" in answer.stdout
    assert "a new model: 0 of 11 arrays are the same" in answer.stdout
    assert "after that: 11 of 11 arrays are the same, bit for bit" in answer.stdout
    assert answer.stdout.endswith("demo passed\n")
