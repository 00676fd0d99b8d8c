"""Models that have an architecture's layer names and are something else: never silently converted.

The common case is transfer learning: a backbone of keras.applications, and on it a Flatten and a
Dense that is called 'predictions' like the original head, which reads pooled features.
"""

from __future__ import annotations

import numpy as np
import oracles
import pytest

import converter
from converter.errors import PlanError
from converter.mapping.catalogue import load_catalogue
from converter.mapping.expansion import expand
from converter.mapping.identify import identify
from converter.mapping.library import get
from converter.tensors.manifest import Manifest

pytestmark = pytest.mark.frameworks


def _transfer_learning():
    import keras
    from keras.src.applications.densenet import DenseNet

    backbone = DenseNet([1, 1, 1, 1], include_top=False, weights=None, input_shape=(64, 96, 3))
    features = keras.layers.Flatten()(backbone.output)
    outputs = keras.layers.Dense(5, name="predictions")(features)
    model = keras.Model(backbone.input, outputs)
    oracles.randomise_keras(model)
    return model


def test_a_flattened_image_under_the_name_of_a_pooled_head_is_not_that_mapping():
    model = _transfer_learning()
    assert identify(converter.open(model).manifest) is None
    plan = converter.plan(model)
    assert plan.plan.mapping == "by-kind"
    # By kind, the rows are in PyTorch's order: channels first.
    kernel = model.get_layer("predictions").get_weights()[0]
    channels, height, width = kernel.shape[0] // 6, 2, 3
    wanted = kernel.reshape(height, width, channels, 5).transpose(3, 2, 0, 1).reshape(5, -1)
    assert np.array_equal(plan.arrays()["predictions.weight"], wanted)


def test_and_asked_for_by_name_it_is_an_error_that_names_the_layer():
    with pytest.raises(PlanError) as caught:
        converter.plan(_transfer_learning(), mapping="densenet")
    found = {problem.where: problem for problem in caught.value.problems}
    assert "predictions" in found
    assert found["predictions"].text.startswith("reads features flattened from ")


def test_without_a_graph_the_size_of_the_head_still_contradicts():
    model = _transfer_learning()
    arrays = {one.name: one for one in converter.open(model).manifest}
    bare = Manifest.of(arrays.values(), family="keras")
    found = expand(get("densenet"), load_catalogue(), keras=bare)
    head = next(pairing for pairing in found.pairings if pairing.layer == "predictions")
    assert head.sizes["in"] * 6 == arrays["predictions/kernel"].shape[0]
