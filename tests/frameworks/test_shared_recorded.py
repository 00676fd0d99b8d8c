"""Files of strangers give what Keras gave: as PyTorch modules, and as files of Keras 3.15.

``scripts/record_shared_outputs.py`` recorded tf_keras, which is Keras 2, or for files of Keras 3
Keras 3.15 on TensorFlow; neither is needed here. Of 34 models 32 are recorded so. The two others:
brainchop's cube has 256 ** 3 voxels (``test_scaffold_shared.py`` runs it on a smaller one), and
TensorFlow has no one-dimensional convolution of channels first on a CPU, for which its author's own
record is used.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import h5py
import numpy as np
import oracles
import pytest
import torch
from support.scaffold_report import SharedFile, note
from support.scaffolding import run_source
from support.shared_files import (
    FOLDER,
    MODELS,
    WITHOUT_GRAPH,
    needs_files,
    recorded,
    recorded_models,
)
from support.upgraded import opened, upgraded

import converter
from converter.scaffold.orders import input_order, output_order
from converter.scaffold.writing import Source, write_source

pytestmark = [pytest.mark.frameworks, needs_files]

TENSORFLOW = os.environ.get("WEIGHTFERRY_TENSORFLOW_PYTHON")
SCRIPT = Path(__file__).parents[2] / "scripts" / "record_shared_outputs.py"
NOT_RECORDED = frozenset(
    {"brainchop-model11ae.h5", "dl4j-conv1d_k3_s1_d2_cf_valid_model.h5"} | WITHOUT_GRAPH
)
LIMIT = 2e-6

each_model = pytest.mark.parametrize("path", recorded_models(), ids=lambda path: path.name)


def _scaffolded(path: Path) -> tuple[Source, torch.nn.Module]:
    with converter.open(path) as checkpoint:
        source = write_source(checkpoint)
        module = run_source(source)
        state = converter.plan(checkpoint, mapping="by-kind", to="torch").state_dict()
        module.load_state_dict(state, strict=True)
    return source, module.eval()


def _run(source: Source, module: torch.nn.Module, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Run a module on inputs in Keras' order of axes; its outputs come back in that order."""
    graph = source.graph
    given = []
    for array, ref in zip(inputs, graph.inputs, strict=True):
        first = input_order(graph, ref) == "first"
        given.append(torch.from_numpy(np.moveaxis(array, -1, 1).copy() if first else array))
    with torch.no_grad():
        outputs = module(*given)
    made = []
    for one, ref in zip(
        outputs if isinstance(outputs, tuple) else [outputs], graph.outputs, strict=True
    ):
        first = output_order(graph, ref) == "first" and one.ndim > 2
        made.append(np.moveaxis(one.numpy(), 1, -1) if first else one.numpy())
    return made


@each_model
def test_the_module_gives_what_keras_gave(path):
    record = recorded(path)
    source, module = _scaffolded(path)
    worst = max(record.errors(_run(source, module, record.inputs)))
    lines, generation = str(len(source.text.splitlines())), str(source.graph.generation)
    by = "Keras 3.15, recorded" if generation == "3" else "tf_keras 2.21, recorded"
    note(SharedFile(path.name, by, generation, lines, f"relative L2 error {worst:.1e}"))
    assert worst < LIMIT
    with torch.no_grad():  # and weights that are a little too large would be seen
        for parameter in module.parameters():
            parameter.mul_(1.001)
    assert max(record.errors(_run(source, module, record.inputs))) > 10 * LIMIT


@each_model
def test_the_upgraded_file_gives_what_keras_gave(path, tmp_path):
    record = recorded(path)
    upgraded(path, tmp_path / "new.keras")
    inputs = record.inputs
    made = oracles.run_keras(
        opened(tmp_path / "new.keras"), inputs if len(inputs) > 1 else inputs[0]
    )
    made = made if isinstance(made, list | tuple) else [made]
    assert max(record.errors(made)) < LIMIT


def test_every_model_is_recorded_but_for_those_with_a_reason():
    assert {path.name for path in MODELS} - {path.name for path in recorded_models()} == (
        NOT_RECORDED
    )


RECORDED_BY_AUTHORS = sorted(FOLDER.glob("dl4j-*_inputs_and_outputs.h5"))


@pytest.mark.parametrize("path", RECORDED_BY_AUTHORS, ids=lambda path: path.name)
def test_the_upgraded_file_gives_what_its_author_recorded(path, tmp_path):
    source = path.with_name(path.name.replace("inputs_and_outputs", "model"))
    upgraded(source, tmp_path / "new.keras")
    with h5py.File(path) as file:
        (inputs,) = (file["inputs"][name][()] for name in file["inputs"])
        (outputs,) = (file["predictions"][name][()] for name in file["predictions"])
    made = oracles.run_keras(opened(tmp_path / "new.keras"), inputs)
    assert oracles.relative_error(made, outputs) < LIMIT


@pytest.mark.long
@pytest.mark.skipif(TENSORFLOW is None, reason="WEIGHTFERRY_TENSORFLOW_PYTHON names no interpreter")
def test_the_records_are_what_tensorflow_gives(tmp_path):
    """The records that are committed are those of the script, value for value."""
    answer = subprocess.run(
        [str(TENSORFLOW), str(SCRIPT), str(FOLDER), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    for path in recorded_models():
        record = recorded(path)
        with np.load(tmp_path / f"{path.name}.npz") as fresh:
            for place, wanted in enumerate(record.outputs):
                assert oracles.relative_error(fresh[f"output_{place}"], wanted) < LIMIT, path.name
