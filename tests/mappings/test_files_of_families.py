"""Files that Keras saved of models whose layers keep what PyTorch computes, there and back.

The names of variables inside a layer of keras_hub are not in its files: they are known by their
order, and some are guessed from the name of the layer around them.
"""

from __future__ import annotations

import numpy as np
import oracles
import pytest

import converter
from converter.live.sources import build_source
from converter.mapping import library
from converter.proving.randomising import randomise_weights

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles]

CASES = {
    "clip": "both",
    "siglip": "both",
    "smollm3": "lm",
    "dinov2": "registers",
    "segformer": "segmenter",
    "vit": "classifier",
}


# A task of keras_hub is compiled when it is made, and files hold weights only.
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
@pytest.mark.parametrize("name", CASES)
def test_a_file_is_the_model_and_what_comes_back_is_loaded_by_keras(name, tmp_path):
    case = library.get(name).proofs[CASES[name]]
    oracles.prepare(case)
    model = build_source(case.keras, family="keras")
    module = build_source(case.torch, family="torch")
    randomise_weights(model, module, None)
    wanted = converter.plan(model, like=module)
    model.save_weights(tmp_path / "model.weights.h5")
    there = converter.plan(tmp_path / "model.weights.h5", like=module)
    assert there.plan.mapping == name
    assert _bits(there.arrays()) == _bits(wanted.arrays())

    module.load_state_dict(there.state_dict(), strict=False)
    back = converter.plan(module, like=tmp_path / "model.weights.h5")
    back.save(tmp_path / "back.weights.h5")
    other = build_source(case.keras, family="keras")
    other.load_weights(tmp_path / "back.weights.h5")
    pairs = zip(other.get_weights(), model.get_weights(), strict=True)
    assert all(np.array_equal(one, two) for one, two in pairs)


def _bits(arrays):
    return {name: array.tobytes() for name, array in arrays.items()}
