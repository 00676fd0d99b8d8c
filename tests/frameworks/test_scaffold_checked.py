"""What proves a written module can fail: outputs that are others, weights that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import oracles
import pytest
from safetensors.numpy import load_file, save_file
from support.scaffold_models import MODELS

import converter
from converter.scaffold.checking import Task, check
from converter.scaffold.scaffolding import Wishes, scaffold_file

pytestmark = pytest.mark.frameworks


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """A model's file beside inputs and what Keras gave for them, in a folder of their own."""
    folder = tmp_path_factory.mktemp("a record")
    model = MODELS["u_net"]()
    oracles.randomise_keras(model)
    model.save(folder / "net.keras")
    random = np.random.default_rng(5)
    image = random.normal(size=(3, *model.inputs[0].shape[1:])).astype("float32")
    np.savez(folder / "inputs.npz", image)
    made = np.array(oracles.run_keras(model, image))
    np.savez(folder / "right.npz", made)
    made[1, 2, 3, 0] += 0.25
    np.savez(folder / "wrong.npz", made)
    return folder


def test_recorded_outputs_that_hold(recorded, tmp_path):
    wishes = Wishes(inputs=recorded / "inputs.npz", outputs=recorded / "right.npz")
    with converter.open(recorded / "net.keras") as checkpoint:
        found = scaffold_file(checkpoint, tmp_path / "net.py", wishes)
    assert (found.checked.verdict, found.is_complete) == ("pass", True)


def test_one_wrong_number_fails_the_command(command_line, recorded, tmp_path):
    given = ["--inputs", recorded / "inputs.npz", "--outputs", recorded / "wrong.npz"]
    answer = command_line("scaffold", recorded / "net.keras", tmp_path / "net.py", *given)
    assert answer.code == 1, answer.out + answer.err
    assert answer.out.splitlines()[-1].startswith("fail: ")


def test_weights_are_loaded_strictly(recorded, tmp_path):
    with converter.open(recorded / "net.keras") as checkpoint:
        wishes = Wishes(weights=tmp_path / "w.safetensors", check=False)
        found = scaffold_file(checkpoint, tmp_path / "net.py", wishes)
    state = load_file(tmp_path / "w.safetensors")
    name = min(state)
    del state[name]
    save_file(state, tmp_path / "w.safetensors")
    task = Task(str(tmp_path / "net.py"), found.source.class_name, str(tmp_path / "w.safetensors"))
    checked = check(task)
    assert (checked.loaded, checked.verdict) == (False, "fail")
    assert f'Missing key(s) in state_dict: "{name}"' in checked.why_not
