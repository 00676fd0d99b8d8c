"""Every shared full-model file of Keras 1, 2 and 3 becomes a file that Keras 3.15 opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.upgraded import require_same_weights, upgraded

from converter.errors import UnsupportedFileError

pytestmark = pytest.mark.frameworks

FOLDER = Path(__file__).parents[3] / "shared" / "checkpoints"
WITHOUT_GRAPH = frozenset({"music_compact_cnn-tf.hdf5", "music_compact_cnn-theano.hdf5"})
FILES = sorted(
    path
    for pattern in ("*.h5", "*.hdf5", "*.keras")
    for path in FOLDER.glob(pattern)
    if "inputs_and_outputs" not in path.name and ".weights" not in path.name
)


@pytest.mark.skipif(not FILES, reason="the shared checkpoints are not there")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_keras_opens_it_and_has_the_weights_of_the_source(path, tmp_path):
    target = tmp_path / "new.keras"
    if path.name in WITHOUT_GRAPH:
        with pytest.raises(UnsupportedFileError, match="holds no architecture"):
            upgraded(path, target)
        assert not target.exists()
        return
    found = upgraded(path, target)
    assert found.refused == {}
    assert require_same_weights(path, target, found) > 0
