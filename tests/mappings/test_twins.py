"""Factories of twins: a class of transformers by its configuration, calls with other arguments."""

from __future__ import annotations

import oracles
import pytest

from converter.errors import UsageError
from converter.live.factory import build
from converter.live.twins import transformers_model, with_arguments

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


def test_calls_of_a_function_get_other_arguments():
    import torch

    oracles.timm()
    factory, images = "timm.models:inception_v3", torch.ones(3, 3, 79, 111)
    plain = build(factory, {"num_classes": 5})
    calls = {"avg_pool2d": {"count_include_pad": False}}
    changed = with_arguments(factory, calls, num_classes=5)
    assert changed.changed_calls.avg_pool2d.count_include_pad is False
    changed.load_state_dict(plain.state_dict(), strict=True)
    with torch.no_grad():
        assert not torch.allclose(plain.eval()(images), changed(images))


def test_a_function_that_is_not_called():
    oracles.timm()
    with pytest.raises(UsageError) as caught:
        with_arguments("timm.models:inception_v3", {"avg_pool3d": {}})
    text = "cannot change 'timm.models:inception_v3': it calls no function 'avg_pool3d'"
    assert caught.value.summary == text
