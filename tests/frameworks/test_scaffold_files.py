"""``converter scaffold`` on files: those of strangers, what cannot be translated, one's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracles
import pytest
from support.scaffold_models import MODELS
from support.scaffolding import run_source

import converter
from converter.errors import CheckpointError, TargetExistsError, UsageError
from converter.scaffold.orders import input_order, output_order
from converter.scaffold.recorded import compare_recorded
from converter.scaffold.scaffolding import Wishes, scaffold_file
from converter.scaffold.writing import write_source

pytestmark = pytest.mark.frameworks

FOLDER = Path(__file__).parents[3] / "shared" / "checkpoints"
LARGE = "brainchop-model11ae.h5"  # its input has 256 ** 3 voxels: too many to run here
WITHOUT_GRAPH = frozenset({"music_compact_cnn-tf.hdf5", "music_compact_cnn-theano.hdf5"})
FILES = sorted(
    path
    for pattern in ("*.h5", "*.hdf5", "*.keras")
    for path in FOLDER.glob(pattern)
    if "inputs_and_outputs" not in path.name and ".weights" not in path.name
)
RECORDED = sorted(FOLDER.glob("dl4j-*_inputs_and_outputs.h5"))


def _scaffolded(source: Path, tmp_path: Path, **wishes):
    with converter.open(source) as checkpoint:
        return scaffold_file(checkpoint, tmp_path / "net.py", Wishes(**wishes))


@pytest.mark.skipif(not FILES, reason="the shared checkpoints are not there")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_shared_model_is_scaffolded_and_loads(path):
    with converter.open(path) as checkpoint:
        if path.name in WITHOUT_GRAPH:
            with pytest.raises(CheckpointError, match="holds no architecture"):
                write_source(checkpoint)
            return
        source = write_source(checkpoint)
        module = run_source(source)
        state = converter.plan(checkpoint, mapping="by-kind", to="torch").state_dict()
        module.load_state_dict(state, strict=True)
    assert source.stubs == {}


@pytest.mark.long
@pytest.mark.skipif(not FILES, reason="the shared checkpoints are not there")
@pytest.mark.parametrize(
    "path", [path for path in FILES if path.name not in WITHOUT_GRAPH], ids=lambda path: path.name
)
def test_every_shared_model_that_keras_opens_gives_its_outputs(path, tmp_path):
    found = _scaffolded(path, tmp_path, check=path.name != LARGE)
    if found.checked is not None:
        assert found.checked.loaded, found.checked.why_not
        assert found.checked.verdict in ("pass", "not compared"), found.checked


@pytest.mark.skipif(not RECORDED, reason="the shared checkpoints are not there")
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_recorded_outputs_are_reproduced(path, tmp_path):
    import h5py

    with h5py.File(path) as file:
        # "outputs" are what the model was trained towards; "predictions" are what it gave.
        for group in ("inputs", "predictions"):
            arrays = {name: file[group][name][()] for name in file[group]}
            np.savez(tmp_path / f"{group}.npz", **arrays)
    with converter.open(path.with_name(path.name.replace("inputs_and_outputs", "model"))) as model:
        source = write_source(model)
        module = run_source(source)
        module.load_state_dict(converter.plan(model, mapping="by-kind", to="torch").state_dict())
    orders = (
        [input_order(source.graph, ref) for ref in source.graph.inputs],
        [output_order(source.graph, ref) for ref in source.graph.outputs],
    )
    report = compare_recorded(module, tmp_path / "inputs.npz", tmp_path / "predictions.npz", orders)
    for row in report["rows"]:
        assert row["error"] < 1e-5


def _save(model, path: Path) -> Path:
    oracles.randomise_keras(model)
    model.save(path)
    return path


def test_the_command_writes_proves_and_says_so(tmp_path):
    source = _save(MODELS["u_net"](), tmp_path / "a net.keras")
    command = [sys.executable, "-m", "converter", "scaffold", str(source), "net.py"]
    answer = subprocess.run(
        [*command, "--weights", "net.safetensors"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    first, second, third, fourth = answer.stdout.splitlines()
    assert first.startswith("wrote net.py: class ")
    assert second == "wrote net.safetensors"
    assert third == "loads its weights, strictly, in a process of its own"
    assert fourth.startswith("pass: output mask, ")
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "it exists" in again.stderr


def test_json_says_what_was_written(tmp_path):
    source = _save(MODELS["flattened_twice"](), tmp_path / "m.keras")
    command = ["scaffold", str(source), str(tmp_path / "net.py"), "--json"]
    answer = subprocess.run(
        [sys.executable, "-m", "converter", *command], capture_output=True, text=True, check=True
    )
    found = json.loads(answer.stdout)
    assert found["verdict"] == "pass"
    assert found["loaded"] is True
    assert found["stubs"] == []


def _with_lambda(tmp_path: Path) -> Path:
    import keras

    x = rows = keras.Input((5,))
    x = keras.layers.Dense(4, name="before")(x)
    x = keras.layers.Lambda(lambda v: v * 2, name="double", output_shape=(4,))(x)
    model = keras.Model(rows, keras.layers.Dense(3, name="after")(x))
    return _save(model, tmp_path / "lambda.keras")


def test_what_is_code_becomes_a_stub_and_is_named(tmp_path):
    found = _scaffolded(_with_lambda(tmp_path), tmp_path)
    assert dict(found.source.stubs) == {"double": "a Lambda is Python code, which is not run"}
    assert not found.is_complete
    assert found.checked is not None
    assert found.checked.loaded
    assert "raise NotImplementedError" in found.source.text


def test_a_translation_of_ones_own_takes_the_place_of_the_stub(tmp_path):
    custom = tmp_path / "mine.py"
    custom.write_text(
        "from converter.scaffold.custom import translates\n"
        "@translates('Lambda')\n"
        "def double(t):\n"
        "    t.give(t.write((t.use('keras'), ' * 2')), 'keras')\n"
    )
    found = _scaffolded(_with_lambda(tmp_path), tmp_path, custom=custom)
    assert found.is_complete
    assert "self.after(x * 2)" in found.source.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "it raises ZeroDivisionError"),
        ("x = 1", "it registers none"),
    ],
)
def test_a_file_of_translations_that_is_none(tmp_path, text, message):
    custom = tmp_path / "mine.py"
    custom.write_text(text)
    with pytest.raises(UsageError) as caught:
        _scaffolded(_with_lambda(tmp_path), tmp_path, custom=custom)
    assert caught.value.summary == f"cannot use the translations of '{custom}': {message}"
    assert not (tmp_path / "net.py").exists()


def test_an_existing_file_stays(tmp_path):
    source = _save(MODELS["flattened_twice"](), tmp_path / "m.keras")
    (tmp_path / "net.py").write_text("mine")
    with pytest.raises(TargetExistsError):
        _scaffolded(source, tmp_path)
    assert (tmp_path / "net.py").read_text() == "mine"
