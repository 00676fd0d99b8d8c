"""Models that Keras 2 saved and ran give the same outputs when Keras 3 runs their upgraded files.

``scripts/record_tf_keras.py`` recorded them with tf_keras, which is not needed here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import oracles
import pytest
from support.upgraded import opened, require_same_weights, upgraded

pytestmark = pytest.mark.frameworks

FOLDER = Path(__file__).parents[1] / "fixtures" / "tf_keras"
MODELS = sorted(path for path in FOLDER.iterdir() if path.suffix in (".h5", ".keras"))


def _arrays(path: Path, kind: str) -> list[np.ndarray]:
    with np.load(path.with_suffix(".npz")) as found:
        return [
            found[f"{kind}_{place}"] for place in range(len(found)) if f"{kind}_{place}" in found
        ]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_outputs_are_those_that_keras_2_gave(path, tmp_path):
    target = tmp_path / "new.keras"
    found = upgraded(path, target)
    assert found.refused == {}
    inputs = _arrays(path, "input")
    given = oracles.run_keras(opened(target), inputs if len(inputs) > 1 else inputs[0])
    given = given if isinstance(given, list | tuple) else [given]
    for new, old in zip(given, _arrays(path, "output"), strict=True):
        assert oracles.relative_error(new, old) < 2e-6
    assert require_same_weights(path, target, found) > 0
