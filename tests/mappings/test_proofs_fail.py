"""Proofs are able to fail: wrong mappings whose shapes fit, and twins that are none."""

from __future__ import annotations

import oracles
import pytest

import converter
from converter.live.twins import transformers_model
from converter.mapping import library
from converter.mapping.document import parse_mapping
from converter.proving.pretrained import open_pretrained
from converter.proving.prove import ProofError, prove_case

pytestmark = pytest.mark.frameworks


def _changed(name: str, *changes: tuple[str, str]):
    text = library.get(name).path.read_text(encoding="utf-8")
    for old, new in (*changes, (f'name = "{name}"', 'name = "mine"')):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return parse_mapping(text)


def _refusal(mapping, case: str) -> str:
    oracles.prepare(mapping.proofs[case])
    with pytest.raises(ProofError) as caught:
        prove_case(mapping, case)
    return str(caught.value)


def test_two_layers_of_one_shape_that_are_swapped():
    assert _refusal(_swapped_vgg(), "vgg16").startswith(
        "'mine' is not proved by 'vgg16': the outputs differ\n  output  fail  "
    )


@pytest.mark.oracles
def test_two_projections_of_one_shape_that_are_swapped():
    swapped = 'proj = { query = "key", key = "query", value = "value" }'
    mapping = _changed("bert", ('proj = ["query", "key", "value"]', swapped))
    assert "'backbone': the outputs differ" in _refusal(mapping, "backbone")


def _swapped_vgg():
    """Two convolutions of one stage, 13 channels to 13, in each other's place."""
    text = library.get("vgg").path.read_text(encoding="utf-8")
    text = text.replace('name = "vgg"', 'name = "mine"').replace("block5_conv1 = 24", "#")
    text = text.replace("block5_conv2 = 26", "block5_conv1 = 26\nblock5_conv2 = 24")
    return parse_mapping(text)


def test_a_twin_that_does_not_meet_what_is_required():
    other = 'torch = "features.norm0"\nattribute = "stretch"'
    mapping = _changed("densenet", ('torch = "features.norm0"\nattribute = "eps"', other))
    assert "the models do not meet what it requires" in _refusal(mapping, "mini")


def test_a_twin_that_is_said_to_deviate_and_does_not():
    mapping = _changed("densenet", ("[proofs.mini]", '[proofs.mini]\ndeviates = "it does"'))
    assert _refusal(mapping, "mini") == (
        "'mine' is not proved by 'mini': the outputs agree, and the file says that they deviate"
    )


BERT = {"vocab_size": 31, "num_attention_heads": 3, "hidden_size": 12, "intermediate_size": 20}


@pytest.mark.oracles
def test_a_folder_that_transformers_does_not_open_as_it_is():
    """Judged by transformers: a file with tensors that its configuration has no place for."""
    oracles.transformers()
    deep, flat = (transformers_model("BertModel", num_hidden_layers=n, **BERT) for n in (3, 2))
    plan = converter.plan(deep, like=deep)
    assert open_pretrained(plan, deep) == ""
    assert open_pretrained(plan, flat).startswith("unexpected: encoder.layer.2.attention.")


@pytest.mark.oracles
def test_another_value_than_keras_hubs_own_converter():
    """A single rounding is seen: it keeps all bits, and the file says that it does not."""
    own = 'own = "keras_hub.src.utils.transformers.convert_bert"'
    mapping = _changed("bert", (own, f'{own}\nown_dtype = "float16"'))
    assert _refusal(mapping, "backbone").startswith(
        "'mine' is not proved by 'backbone': keras_hub's own converter gives another value\n"
    )
