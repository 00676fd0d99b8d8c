"""Live Keras models on every backend that is installed: values out, values in, files both ways."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.frameworks

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "programs" / "every_backend.py"


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "jax"])
def test_a_live_model_goes_there_and_back(backend: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"ran on {backend}\n"


def test_without_a_setting_and_without_tensorflow_the_torch_backend_is_used(tmp_path: Path) -> None:
    """Keras itself would ask for TensorFlow."""
    if importlib.util.find_spec("tensorflow") is not None:
        pytest.skip("tensorflow is installed")
    environment = {name: text for name, text in os.environ.items() if name != "KERAS_BACKEND"}
    code = (
        "from converter._optional import require\n"
        "print(require('keras', why='cannot test', extra='keras').backend.backend())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": str(ROOT), "KERAS_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout == "torch\n", done.stderr
