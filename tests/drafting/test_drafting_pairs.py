"""Drafts of hand-written pairs: right by names, by order alone, and proved by running both."""

from __future__ import annotations

import pytest
from support.drafting_pairs import PAIRS

import converter

pytestmark = pytest.mark.frameworks


@pytest.fixture(autouse=True)
def _fresh_names():
    import keras

    keras.backend.clear_session()


def _pairs(proposal) -> dict[str, str]:
    return {pair.candidate.unit.path: pair.candidate.place.module for pair in proposal.draft.pairs}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_running_both_models_settles_and_proves_every_pair(pair):
    proposal = converter.draft(pair.keras(), pair.torch())
    assert _pairs(proposal) == pair.truth
    assert proposal.draft.is_complete
    assert proposal.is_proved
    assert "# Proved: " in proposal.text


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_names_graph_and_shapes_are_enough(pair):
    """Also for three branches of equal shapes, in another order, under names that mean nothing."""
    proposal = converter.draft(pair.keras(), pair.torch(), prove=False)
    assert _pairs(proposal) == pair.truth
    assert not proposal.is_proved
    assert "# NOT PROVED: " in proposal.text


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_both_models_keep_their_own_weights(pair):
    import numpy as np

    model, module = pair.keras(), pair.torch()
    before = [one.copy() for one in model.get_weights()]
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    converter.draft(model, module)
    assert all(
        np.array_equal(one, two) for one, two in zip(before, model.get_weights(), strict=True)
    )
    assert all(bool((kept[name] == value).all()) for name, value in module.state_dict().items())


def test_a_module_that_computes_something_else_is_never_proved():
    """The same names and shapes, another activation: the guard above can fail."""
    import torch

    pair = next(one for one in PAIRS if one.name == "classic")
    module = pair.torch()
    module.net[2] = torch.nn.Tanh()
    proposal = converter.draft(pair.keras(), module)
    assert proposal.draft.is_complete
    assert not proposal.is_proved
    assert proposal.proof.why_not == "'net.4' gets what no layer gets"


def test_what_is_left_over_is_listed_on_both_sides():
    import torch

    pair = next(one for one in PAIRS if one.name == "classic")
    module = pair.torch()
    module.net[11] = torch.nn.Linear(9, 8)
    proposal = converter.draft(pair.keras(), module, prove=False)
    assert [one.name for one in proposal.draft.layers] == ["fc2"]
    assert [one.name for one in proposal.draft.tensors] == ["net.11.weight", "net.11.bias"]
    assert not proposal.draft.is_complete


def test_equal_values_on_both_sides_prove_who_is_who():
    """A pair that was converted once: the mapping is learned from it, whatever the names are."""
    pair = next(one for one in PAIRS if one.name == "branches")
    model, module = pair.keras(), pair.torch()
    first = converter.draft(model, module)
    module.load_state_dict(
        converter.plan(model, like=module, mapping=first.draft.mapping).state_dict()
    )
    learned = converter.draft(model, module, prove=False)
    assert _pairs(learned) == pair.truth
    assert {rule.certainty.label for rule in learned.draft.rules} == {"proved"}


def test_the_file_converts(tmp_path):
    """What was written is a mapping file like any other."""
    pair = next(one for one in PAIRS if one.name == "encoder")
    model, module = pair.keras(), pair.torch()
    file = tmp_path / "mine.toml"
    converter.draft(model, module).save(file)
    plan = converter.plan(model, like=module, mapping=str(file))
    module.load_state_dict(plan.state_dict(), strict=True)
    back = converter.plan(module, like=model, mapping=str(file)).get_weights()
    assert all(
        one.tobytes() == two.tobytes() for one, two in zip(model.get_weights(), back, strict=True)
    )


def test_a_module_on_the_meta_device_is_drafted_and_not_run():
    """Names and shapes are enough for a draft, and nothing can be proved with them."""
    import torch

    pair = next(one for one in PAIRS if one.name == "classic")
    with torch.device("meta"):
        module = pair.torch()
    proposal = converter.draft(pair.keras(), module)
    assert _pairs(proposal) == pair.truth
    assert not proposal.is_proved
    assert proposal.proof.why_not == "the Classic is on the 'meta' device and has no values"


def test_a_linear_layer_of_pytorch_is_none_that_keeps_the_axes():
    """Square matrices: shapes alone would take the transposed kernel of GPT-2's Conv1D too."""
    from support.drafting_sequences import SEQUENCES

    pair = next(one for one in SEQUENCES if one.name == "little_gpt")
    proposal = converter.draft(pair.keras(), pair.torch(), prove=False)
    kinds = {one.candidate.unit.path: one.candidate.kind.name for one in proposal.draft.pairs}
    assert kinds["layer0_attention/attention_output"] == "attention_output"


def test_a_module_that_moves_the_axes_itself_is_run_on_the_axes_of_keras():
    from support.drafting_sequences import SEQUENCES

    pair = next(one for one in SEQUENCES if one.name == "mixer")
    proposal = converter.draft(pair.keras(), pair.torch())
    assert proposal.is_proved
    assert set(proposal.proof.call.layouts.values()) == {"channels_last"}
    assert '[[inputs]]\naxes = "b n c -> b n c"\n' in proposal.text


def test_the_file_says_in_which_order_a_module_takes_the_axes(tmp_path):
    """What was proved so can be validated with the file alone; without the axes it cannot run."""
    from support.drafting_sequences import SEQUENCES

    pair = next(one for one in SEQUENCES if one.name == "mixer")
    model, module, file = pair.keras(), pair.torch(), tmp_path / "mixer.toml"
    converter.draft(model, module).save(file)
    module.load_state_dict(converter.plan(model, like=module, mapping=str(file)).state_dict())
    assert converter.validate(model, module, mapping=str(file)).passed
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('axes = "b n c -> b n c"\n', ""), encoding="utf-8")
    with pytest.raises(converter.UsageError, match="cannot run the PyTorch module Mixer"):
        converter.validate(model, module, mapping=str(file))
