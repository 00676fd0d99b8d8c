"""Folders of transformers: what it saved is read, and what we write it opens, bit for bit."""

from __future__ import annotations

import oracles
import pytest
from support.hub_models import ALL, keras_model, torch_module

import converter

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles]

_names = (
    "gpt2_lm llama3_lm_untied llama3_lm_tied qwen2_lm_tied gemma2_lm opt_lm bloom_lm "
    "vit_classifier distilbert_classifier"
)
CASES = [case for case in ALL if case.id in _names.split()]
_each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


def test_every_name_is_a_case():
    assert len(CASES) == len(_names.split())


@_each
def test_a_folder_that_transformers_saved_is_read(case, tmp_path):
    """The names in its files are not always those in memory (ViT)."""
    model, module = keras_model(case), torch_module(case)
    module.save_pretrained(tmp_path)
    plan = converter.plan(tmp_path / "model.safetensors", like=model)
    assert plan.plan.mapping == case.mapping
    for one, other in zip(
        plan.get_weights(), converter.plan(module, like=model).get_weights(), strict=True
    ):
        assert one.tobytes() == other.tobytes()


@_each
def test_what_is_written_is_opened_by_from_pretrained(case, tmp_path):
    model, module = keras_model(case), torch_module(case)
    module.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    plan = converter.plan(model, like=module)
    plan.save(tmp_path / "model.safetensors")
    found, info = type(module).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    wanted = plan.state_dict()
    for name, value in found.state_dict().items():
        assert value.numpy().tobytes() == wanted[name].numpy().tobytes(), name
    assert oracles.transformers().AutoConfig.from_pretrained(tmp_path).model_type
