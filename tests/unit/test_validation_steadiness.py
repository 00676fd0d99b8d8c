"""Whether an answer depends on what is beside a sample: batch statistics do, pairs do not."""

from __future__ import annotations

import numpy as np
import pytest

from converter.validation.steadiness import unsteadiness

_random = np.random.default_rng(5)
INPUTS = {"images": _random.normal(size=(3, 7)), "texts": _random.normal(size=(3, 7))}


def _similar(inputs):
    """CLIP: a number for each image with each text."""
    return {"similarity": inputs["images"] @ inputs["texts"].T}


def _centred(inputs):
    """The same of what is centred over the batch, as BatchNorm does it in training."""
    return _similar({name: one - one.mean(0) for name, one in inputs.items()})


def test_numbers_for_pairs_of_samples_are_steady():
    assert unsteadiness(_similar, INPUTS, _similar(INPUTS), side="The side") == ("", False)


def test_statistics_of_the_batch_show_in_pairs_too():
    sentence, is_random = unsteadiness(_centred, INPUTS, _centred(INPUTS), side="The side")
    assert not is_random
    assert sentence == (
        "The side gives another answer for a sample when another one is beside it "
        "(output 'similarity'): it computes with statistics of the batch, as in training."
    )


@pytest.mark.parametrize("size", [3, 4])
def test_an_axis_that_is_as_long_as_the_batch_hides_nothing(size):
    weights = _random.normal(size=(7, size))

    def run(inputs):
        return {"out": (inputs["images"] - inputs["images"].mean(0)) @ weights}

    assert unsteadiness(run, INPUTS, run(INPUTS), side="The side")[0]
