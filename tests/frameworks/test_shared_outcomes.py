"""Every file of strangers: who wrote it, what is in it, what becomes of it; a table for the report.

Oracle: ``SOURCES.md`` beside the files, where others recorded writer, tensors and values with the
frameworks themselves.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support import outcomes
from support.keras_models import mtcnn_pnet
from support.tensor_files import SHARED

import converter
from converter.errors import UnknownFormatError

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared checkpoints are not there"),
]

# Arrays of Keras 1 are joined (12 of an LSTM are 3), halves of a bias of CuDNN are added: fewer
# tensors, and for CuDNN fewer values, than the file has arrays.
JOINED = frozenset(
    {
        "dl4j-bidirectional_lstm_no_return_sequences_theano_1.h5",
        "dl4j-embedding_lstm_tensorflow_1.h5",
        "textgenrnn-default.weights.legacy.hdf5",
    }
)
CUDNN_BIASES = {"textgenrnn-default.weights.legacy.hdf5": 2 * 4 * 128}
LIST = "mtcnn-pnet-keras-weights.joblib.lz4"  # of arrays without names
ARCHITECTURES = {
    "dronet-model_struct.json": "dronet.weights.legacy.h5",
    "hls4ml-lstm.json": "hls4ml-lstm.weights.legacy.h5",
}


@dataclass(frozen=True)
class Recorded:
    """A row of the table in ``SOURCES.md``."""

    file: str
    writer: str
    values: int | None
    tensors: int | None


def recorded() -> list[Recorded]:
    page = SHARED / "SOURCES.md"
    if not page.is_file():
        return []
    rows = []
    for line in page.read_text(encoding="utf-8").partition("## What each file is")[2].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not cells[0].startswith("`"):
            continue
        count = re.match(r"(\d+) in (\d+)", cells[4])
        values, tensors = (int(count[1]), int(count[2])) if count else (None, None)
        rows.append(Recorded(cells[0].strip("`"), cells[3], values, tensors))
    return rows


ROWS = recorded()
COMPANIONS = [row for row in ROWS if row.file.endswith(("_inputs_and_outputs.h5", ".json"))]
CHECKPOINTS = [row for row in ROWS if row not in COMPANIONS]


def named(row: Recorded) -> str:
    return row.file


def version_in(row: Recorded) -> str:
    """Return what a writer must name: the program, and the version where one was recorded."""
    if row.writer.startswith("Keras 1.x"):
        return r"^Keras 1 \(no version recorded"
    keras = re.match(r"Keras ([0-9.]+)(-tf)?", row.writer)
    if keras:
        return f"^{'tf.keras' if keras[2] else 'Keras'} {re.escape(keras[1])}\\b"
    known = {"PyTorch": "^PyTorch ", "numpy arrays": "^joblib ", "-": "^$"}
    return known.get(row.writer, f"^{re.escape(row.writer)} ")


def architecture_of_the_list(folder: Path) -> Path:
    """Return the model that gives the arrays of the list their names."""
    mtcnn_pnet().save(folder / "pnet.keras")
    return folder / "pnet.keras"


def test_every_file_has_its_row() -> None:
    names = {path.name for path in SHARED.iterdir() if path.is_file()}
    assert names == {row.file for row in ROWS} | {"SOURCES.md"}
    assert len(CHECKPOINTS) > 50


@pytest.mark.parametrize("row", CHECKPOINTS, ids=named)
def test_a_checkpoint_is_told_and_converted(
    row: Recorded, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    target = tmp_path / "model.safetensors"
    options = {"architecture": architecture_of_the_list(tmp_path)} if row.file == LIST else {}
    with converter.open(SHARED / row.file, **options) as source:
        manifest = source.manifest
        assert re.search(version_in(row), manifest.writer or ""), manifest.writer
        if row.tensors is not None and row.file not in JOINED:
            assert len(manifest) == row.tensors
        values = sum(math.prod(spec.shape) for spec in manifest)
        if row.values is not None:
            assert values == row.values - CUDNN_BIASES.get(row.file, 0)
        before = {name: np.array(source.read(name)) for name in manifest.tensors}
        is_keras = manifest.family == "keras"
        converter.convert(source, target, to="torch")
    with converter.open(target) as written:
        if is_keras:
            back = tmp_path / "back.npz"
            like = options.get("architecture", SHARED / row.file)
            converter.convert(written, back, to="keras", like=like)
            outcome = "converted by kind"
        else:
            back, outcome = target, "copied to safetensors"
    with converter.open(back) as again:
        for name, array in before.items():
            found = again.read(name)
            assert found.shape == array.shape
            assert found.tobytes() == array.tobytes(), name
    said = manifest.writer or "not recorded"
    outcomes.add(request.node, outcomes.Outcome(row.file, said, len(manifest), outcome))


@pytest.mark.parametrize("row", COMPANIONS, ids=named)
def test_a_companion_is_no_checkpoint(row: Recorded, request: pytest.FixtureRequest) -> None:
    path = SHARED / row.file
    with pytest.raises(UnknownFormatError):
        converter.open(path)
    if path.suffix == ".json":
        own = SHARED / ARCHITECTURES.get(row.file, f"{path.stem}.weights.legacy.h5")
        with converter.open(own, architecture=path) as found:
            assert all(layer.class_name for layer in found.manifest.layers)
        outcome = f"companion: the architecture of {own.name}"
    else:
        own = SHARED / row.file.replace("_inputs_and_outputs", "_model")
        assert own.is_file()
        outcome = f"companion: recorded inputs and outputs of {own.name}"
    outcomes.add(request.node, outcomes.Outcome(row.file, row.writer or "-", 0, outcome))


def test_another_training_of_the_same_network_is_different() -> None:
    report = converter.validate(SHARED / "burn-mnist.pt", SHARED / "burn-mnist.safetensors")
    assert [row.verdict for row in report.rows] == ["fail"] * report.compared == ["fail"] * 20


def test_the_table_names_every_outcome() -> None:
    rows = [
        outcomes.Outcome("b.h5", "Keras 2.1.3 (TensorFlow)", 3, "converted by kind"),
        outcomes.Outcome("a.json", "-", 0, "companion: the architecture of b.h5"),
    ]
    assert outcomes.summary(rows) == "2 files: 1 companion, 1 converted by kind"
    assert outcomes.table(rows).splitlines()[2:] == [
        "| a.json | - | 0 | companion: the architecture of b.h5 |",
        "| b.h5 | Keras 2.1.3 (TensorFlow) | 3 | converted by kind |",
    ]
