"""Scaffolded modules of the files of strangers: all load, and give the outputs that are known.

What became of each is in ``report/scaffold-files.md``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.scaffold_report import SharedFile, note
from support.scaffolding import run_source
from support.shared_files import FOLDER, MODELS, WITHOUT_GRAPH, needs_files

import converter
from converter.errors import CheckpointError
from converter.scaffold.orders import input_order, output_order
from converter.scaffold.recorded import compare_recorded
from converter.scaffold.scaffolding import Wishes, scaffold_file
from converter.scaffold.writing import Source, write_source

pytestmark = pytest.mark.frameworks

LARGE = "brainchop-model11ae.h5"  # its input has 256 ** 3 voxels; it is run on a smaller one below
RECORDED = sorted(FOLDER.glob("dl4j-*_inputs_and_outputs.h5"))


def _note(name: str, source: Source | None, reference: str, result: str) -> None:
    keras = str(source.graph.generation) if source is not None else ""
    lines = str(len(source.text.splitlines())) if source is not None else ""
    note(SharedFile(name, reference, keras, lines, result))


@needs_files
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_every_shared_model_is_scaffolded_and_loads(path):
    with converter.open(path) as checkpoint:
        if path.name in WITHOUT_GRAPH:
            with pytest.raises(CheckpointError, match="holds no architecture"):
                write_source(checkpoint)
            _note(path.name, None, "none", "refused: it holds no architecture")
            return
        source = write_source(checkpoint)
        module = run_source(source)
        state = converter.plan(checkpoint, mapping="by-kind", to="torch").state_dict()
        module.load_state_dict(state, strict=True)
    assert source.stubs == {}
    _note(path.name, source, "none", "loads strictly")


@pytest.mark.long
@needs_files
@pytest.mark.parametrize(
    "path",
    [path for path in MODELS if path.name not in WITHOUT_GRAPH | {LARGE}],
    ids=lambda path: path.name,
)
def test_every_shared_model_that_keras_opens_gives_its_outputs(path, tmp_path):
    with converter.open(path) as checkpoint:
        found = scaffold_file(checkpoint, tmp_path / "net.py", Wishes())
    checked = found.checked
    assert checked is not None
    assert checked.loaded, checked.why_not
    assert checked.verdict in ("pass", "not compared"), checked
    if checked.report is not None:
        floors = max(row["floors"] or 0.0 for row in checked.report["rows"])
        _note(path.name, found.source, "Keras 3.15", f"{floors:.1f}x the noise floor")
    else:
        _note(path.name, found.source, "Keras 3.15", f"not compared: {checked.why_not}")


def _on_a_smaller_cube(path: Path, target: Path, sizes: list[int]) -> None:
    """Copy a file of a model without dense layers and give it another size of input."""
    import h5py

    shutil.copy(path, target)
    with h5py.File(target, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        first = config["config"]["layers"][0]["config"]
        assert first["batch_input_shape"] == [None, 1, 256, 256, 256]
        first["batch_input_shape"] = [None, 1, *sizes]
        file.attrs["model_config"] = json.dumps(config)


@needs_files
def test_the_largest_shared_model_gives_its_outputs_on_a_smaller_cube(tmp_path):
    """Every layer of it is a convolution, so that it takes any size; its paddings reach 24."""
    _on_a_smaller_cube(FOLDER / LARGE, tmp_path / LARGE, [27, 31, 29])
    with converter.open(tmp_path / LARGE) as checkpoint:
        found = scaffold_file(checkpoint, tmp_path / "net.py", Wishes())
    with converter.open(FOLDER / LARGE) as checkpoint:
        whole = write_source(checkpoint).text
    assert found.source.text == whole.replace("256, 256, 256", "27, 31, 29")
    assert found.checked is not None
    assert found.checked.verdict == "pass", found.checked
    (row,) = found.checked.report["rows"]
    _note(LARGE, found.source, "Keras 3.15", f"27x31x29: {row['floors']:.1f}x the noise floor")


def _recorded(path: Path, tmp_path: Path) -> None:
    import h5py

    with h5py.File(path) as file:
        # "outputs" are what the model was trained towards; "predictions" are what it gave.
        for group in ("inputs", "predictions"):
            arrays = {name: file[group][name][()] for name in file[group]}
            np.savez(tmp_path / f"{group}.npz", **arrays)


@pytest.mark.skipif(not RECORDED, reason="the shared checkpoints are not there")
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_recorded_outputs_are_reproduced(path, tmp_path):
    _recorded(path, tmp_path)
    name = path.name.replace("inputs_and_outputs", "model")
    with converter.open(path.with_name(name)) as model:
        source = write_source(model)
        module = run_source(source)
        module.load_state_dict(converter.plan(model, mapping="by-kind", to="torch").state_dict())
    orders = (
        [input_order(source.graph, ref) for ref in source.graph.inputs],
        [output_order(source.graph, ref) for ref in source.graph.outputs],
    )
    report = compare_recorded(module, tmp_path / "inputs.npz", tmp_path / "predictions.npz", orders)
    worst = max(row["error"] for row in report["rows"])
    _note(name, source, "recorded", f"relative L2 error {worst:.1e}")
    assert worst < 1e-5
