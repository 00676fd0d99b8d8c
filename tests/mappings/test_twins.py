"""Factories of twins: a class of transformers by name and entries of its configuration."""

from __future__ import annotations

import oracles
import pytest

from converter.errors import UsageError
from converter.live.twins import transformers_model

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles]


def test_a_model_of_transformers():
    oracles.transformers()
    module = transformers_model("BertModel", num_hidden_layers=1, hidden_size=24, vocab_size=7)
    assert tuple(module.embeddings.word_embeddings.weight.shape) == (7, 24)


@pytest.mark.parametrize("name", ["NoSuchModel", "logging"])
def test_what_is_no_model(name):
    oracles.transformers()
    with pytest.raises(UsageError) as caught:
        transformers_model(name)
    assert caught.value.summary == f"cannot build '{name}': transformers has no such model"
