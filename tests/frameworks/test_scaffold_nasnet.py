"""NASNet in PyTorch gives the outputs that TensorFlow gives.

Keras 3.15 refuses NASNetMobile on torch with three lines of its constructor (keras issue
18451 of June 2023: "it runs, but its predictions are incorrect"); NASNetLarge, the same code with
other numbers, it builds. Both are therefore built by their public constructors under TensorFlow, in
another environment, and what that computes is recorded.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import oracles
import pytest
from support.scaffold_report import Application, note

import converter
from converter.scaffold.scaffolding import Wishes, scaffold_file

TENSORFLOW = os.environ.get("WEIGHTFERRY_TENSORFLOW_PYTHON")
PROGRAM = Path(__file__).with_name("programs") / "record_model.py"

pytestmark = [pytest.mark.frameworks]


def _record(name: str, size: tuple[int, int], folder: Path) -> str:
    settings = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    answer = subprocess.run(
        [str(TENSORFLOW), str(PROGRAM), name, *map(str, size), str(folder)],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


@pytest.mark.long
@pytest.mark.skipif(TENSORFLOW is None, reason="WEIGHTFERRY_TENSORFLOW_PYTHON names no interpreter")
@pytest.mark.parametrize("size", [(96, 96), (97, 75)], ids=["even", "odd"])
@pytest.mark.parametrize("name", ["NASNetMobile", "NASNetLarge"])
def test_outputs_are_those_of_tensorflow(name, size, tmp_path):
    import keras

    assert _record(name, size, tmp_path).startswith("tensorflow 3.")
    recorded = {"inputs": tmp_path / "inputs.npz", "outputs": tmp_path / "outputs.npz"}
    with converter.open(tmp_path / "model.keras") as checkpoint:
        found = scaffold_file(checkpoint, tmp_path / "net.py", Wishes(**recorded))
    assert found.checked is not None
    assert found.checked.verdict == "pass", found.checked
    (row,) = found.checked.report["rows"]
    shown = "x".join(map(str, size))
    note(Application(name, shown, "yes", "TensorFlow", found.lines, f"{row['floors']:.1f}"))
    # What TensorFlow saved runs on the torch backend, too: the network does not need the refusal.
    with np.load(recorded["inputs"]) as given, np.load(recorded["outputs"]) as wanted:
        model = keras.saving.load_model(tmp_path / "model.keras")
        same = oracles.run_keras(model, given["image"])
        assert oracles.relative_error(same, wanted["logits"]) < 1e-5


def test_the_public_constructor_is_refused_on_the_torch_backend_and_its_network_is_not():
    """The refusal is three lines of the constructor; behind them the network is built."""
    import keras
    from keras.src.applications.nasnet import NASNet

    with pytest.raises(ValueError, match="not available with the torch backend"):
        keras.applications.NASNetMobile(weights=None)
    numbers = {"penultimate_filters": 1056, "num_blocks": 4, "stem_block_filters": 32}
    settings = {"skip_reduction": False, "filter_multiplier": 2, "weights": None, "classes": 7}
    model = NASNet((97, 75, 3), **numbers, **settings, default_size=224)
    assert len(model.layers) == 771
