"""The files of strangers, which are not part of this repository: tests skip where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "checkpoints"


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
