"""Modules of models that Keras 2 saved and ran give the outputs that Keras 2 gave.

``scripts/record_tf_keras.py`` recorded them with tf_keras, which is not needed here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.scaffolding import run_source

import converter
from converter.scaffold.orders import input_order, output_order
from converter.scaffold.recorded import compare_recorded
from converter.scaffold.writing import write_source

pytestmark = pytest.mark.frameworks

FOLDER = Path(__file__).parents[1] / "fixtures" / "tf_keras"
MODELS = sorted(path for path in FOLDER.iterdir() if path.suffix in (".h5", ".keras"))

# What has no translation, and why; the module loads all the same.
STUBS = {
    "cells.h5": {"rnn": "cannot scaffold 'rnn': a stack with its own activations"},
    "old_direction.h5": {
        "bidirectional": "cannot scaffold 'bidirectional': its directions differ in their "
        "recurrent_activation"
    },
}


def _part(path: Path, kind: str, folder: Path) -> Path:
    """Write the inputs or the outputs of a record into a file of their own, in their order."""
    with np.load(path.with_suffix(".npz")) as found:
        names = [f"{kind}_{place}" for place in range(len(found)) if f"{kind}_{place}" in found]
        np.savez(folder / f"{kind}s.npz", **{name: found[name] for name in names})
    return folder / f"{kind}s.npz"


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_outputs_are_those_that_keras_2_gave(path, tmp_path):
    with converter.open(path) as checkpoint:
        source = write_source(checkpoint)
        module = run_source(source)
        state = converter.plan(checkpoint, mapping="by-kind", to="torch").state_dict()
        module.load_state_dict(state, strict=True)
    assert source.stubs == STUBS.get(path.name, {})
    if source.stubs:
        return
    graph = source.graph
    orders = (
        [input_order(graph, ref) for ref in graph.inputs],
        [output_order(graph, ref) for ref in graph.outputs],
    )
    inputs, outputs = (_part(path, kind, tmp_path) for kind in ("input", "output"))
    report = compare_recorded(module.eval(), inputs, outputs, orders)
    assert [row["error"] < 2e-6 for row in report["rows"]] == [True] * len(graph.outputs)
