"""Every shared full-model file of Keras 1, 2 and 3 becomes a file that Keras 3.15 opens."""

from __future__ import annotations

import pytest
from support.shared_files import MODELS, WITHOUT_GRAPH, needs_files
from support.upgraded import require_same_weights, upgraded

from converter.errors import UnsupportedFileError

pytestmark = pytest.mark.frameworks


@needs_files
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
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
