"""The files of strangers, which are not part of this repository: tests skip where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import oracles
import pytest
from record_shared_outputs import as_given, sampled

FOLDER = Path(__file__).parents[3] / "shared" / "checkpoints"
RECORDS = Path(__file__).parents[1] / "fixtures" / "shared_outputs"


def keras_files() -> list[Path]:
    """Return the files of Keras, of all generations, by name; recorded outputs are not among them.

    Some hold weights and no architecture.
    """
    found = (path for pattern in ("*.h5", "*.hdf5", "*.keras") for path in FOLDER.glob(pattern))
    return sorted(path for path in found if "inputs_and_outputs" not in path.name)


# Those that hold weights alone, though their names do not say so.
WITHOUT_GRAPH = frozenset({"music_compact_cnn-tf.hdf5", "music_compact_cnn-theano.hdf5"})
MODELS = [path for path in keras_files() if ".weights" not in path.name]

needs_files = pytest.mark.skipif(not MODELS, reason="the shared checkpoints are not there")


@dataclass(frozen=True)
class Recorded:
    """What Keras gave for one file, as ``scripts/record_shared_outputs.py`` wrote it down.

    Attributes:
        path: The model.
        inputs: In Keras' order of axes.
        outputs: Some values of each output, flattened in Keras' order.
        steps: Every how manieth value that is.
    """

    path: Path
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    steps: list[int]

    def errors(self, outputs: Sequence[np.ndarray]) -> list[float]:
        """Return the relative L2 error of each output, whole ones in Keras' order of axes."""
        return [
            oracles.relative_error(sampled(made, step), wanted)
            for made, wanted, step in zip(outputs, self.outputs, self.steps, strict=True)
        ]


def recorded(path: Path) -> Recorded:
    """Return what was recorded for a file."""
    with np.load(RECORDS / f"{path.name}.npz") as found:
        count = sum(name.startswith("output_") for name in found)
        outputs = [found[f"output_{place}"] for place in range(count)]
        steps = [int(found[f"step_{place}"]) for place in range(count)]
        return Recorded(path, as_given(found), outputs, steps)


def recorded_models() -> list[Path]:
    """Return the files for which there is a record."""
    return [path for path in MODELS if (RECORDS / f"{path.name}.npz").exists()]
