"""What the catalogue and the outputs say beyond one layer for one module."""

from __future__ import annotations

import tomllib

import pytest
from support.drafting_bench import measure
from support.drafting_hypotheses import HYPOTHESES, WithPooler, plain

import converter
from converter.drafting.calling import inputs_to_try
from converter.drafting.leftovers import CONSTANT, UNUSED
from converter.validation.inputs import Input

pytestmark = pytest.mark.frameworks


@pytest.fixture(autouse=True)
def _fresh_names():
    import keras

    keras.backend.clear_session()


@pytest.mark.parametrize("pair", HYPOTHESES, ids=lambda pair: pair.name)
def test_names_that_mean_nothing_are_enough_and_outputs_prove_it(pair):
    found = measure(pair, named=False, run=True)
    assert found.is_right
    assert found.is_proved


@pytest.mark.parametrize("pair", HYPOTHESES, ids=lambda pair: pair.name)
def test_nothing_needs_to_run(pair):
    assert measure(pair, named=True, run=False).is_right


def test_arguments_are_found_by_what_their_names_mean_and_written_down():
    pair = next(one for one in HYPOTHESES if one.name == "an embedding that is not tied")
    document = tomllib.loads(converter.draft(pair.keras(), pair.torch()).text)
    assert document["inputs"] == [
        {"keras": "token_ids", "torch": "input_ids"},
        {"keras": "segment_ids", "torch": "token_type_ids"},
    ]


def test_open_sizes_follow_embedded_positions():
    """Two convolutions, one of stride 2, halve what an encoder of 12 positions takes."""
    features = Input("features", (None, 10), "float32")
    ids = Input("ids", (None,), "int32", 0.0, 30.0, is_ids=True)
    tried = [tuple(one.shape for one in each) for each in inputs_to_try([features, ids], [12])]
    assert tried[0] == ((None, 10), (None,))
    assert ((7, 10), (7,)) in tried
    assert ((12, 10), (12,)) in tried
    assert tried[-1] == ((24, 10), (5,))
    fixed = Input("image", (8, 8, 3), "float32")
    assert len(list(inputs_to_try([fixed], [12]))) == 1


def test_what_no_output_needs_is_dropped_with_that_reason():
    found = converter.draft(plain(), WithPooler())
    assert found.is_proved
    document = tomllib.loads(found.text)
    assert document["drop"] == [
        {"torch": "pooler.weight", "why": UNUSED},
        {"torch": "pooler.bias", "why": UNUSED},
    ]
    assert document["outputs"] == [{"keras": "out", "torch": "logits"}]


def test_what_an_output_needs_stays_left_over():
    """The same names and shapes; the guard above can fail."""
    found = converter.draft(plain(), WithPooler(is_used=True))
    assert not found.is_proved
    assert [one.name for one in found.draft.tensors] == ["pooler.weight", "pooler.bias"]
    assert "drop" not in tomllib.loads(found.text)


def test_a_buffer_that_the_module_makes_is_dropped_and_running_statistics_are_not():
    from torch import nn

    class WithBuffer(WithPooler):
        def __init__(self, *, is_constant: bool):
            super().__init__()
            self.is_constant = is_constant
            if is_constant:
                self.register_buffer("scale", nn.Linear(1, 1).weight.detach()[0] * 0 + 1)
            else:
                self.bn = nn.BatchNorm1d(6, affine=False, eps=0.0)  # the identity, until trained

        def forward(self, x):
            return super().forward(x * self.scale if self.is_constant else self.bn(x))

    made = converter.draft(plain(), WithBuffer(is_constant=True))
    assert made.is_proved
    drops = {one["torch"]: one["why"] for one in tomllib.loads(made.text)["drop"]}
    assert drops == {"pooler.weight": UNUSED, "pooler.bias": UNUSED, "scale": CONSTANT}
    assert not converter.draft(plain(), WithBuffer(is_constant=False)).is_proved


def test_a_draft_leaves_both_models_and_the_random_stream_as_they_were():
    """A buffer is tried in training, where statistics move and dropout draws random numbers."""
    import numpy as np
    import oracles
    import torch
    from torch import nn

    class Trained(WithPooler):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.ones(1))
            self.bn, self.dropout = nn.BatchNorm1d(6), nn.Dropout(0.4)

        def forward(self, x):
            self.bn(x)
            return super().forward(self.dropout(x * self.scale))

    model, module = plain(), Trained()
    oracles.randomise_keras(model)
    for value in module.state_dict().values():
        value.copy_(torch.rand(value.shape) * 3 + 1)
    module.bn.eval()
    ours = [one.tobytes() for one in model.get_weights()]
    theirs = {name: one.numpy().tobytes() for name, one in module.state_dict().items()}
    modes = [one.training for one in module.modules()]
    stream = torch.get_rng_state()
    converter.draft(model, module)
    assert [np.asarray(one).tobytes() for one in model.get_weights()] == ours
    assert {name: one.numpy().tobytes() for name, one in module.state_dict().items()} == theirs
    assert [one.training for one in module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), stream)
