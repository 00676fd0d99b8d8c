"""Sizes are read from what is there, and asked of nobody: config.json, the other side, shapes."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

import converter
from converter.errors import MappingError, PlanError
from converter.formats.model_config import read_model_type, read_sizes

WIDTH, INNER, HEADS, KV_HEADS, HEAD = 24, 20, 6, 2, 4
SHAPES = {"embed_tokens.weight": (31, WIDTH), "norm.weight": (WIDTH,)}
LAYER = {
    "self_attn.q_proj": (HEADS * HEAD, WIDTH),
    "self_attn.k_proj": (KV_HEADS * HEAD, WIDTH),
    "self_attn.v_proj": (KV_HEADS * HEAD, WIDTH),
    "self_attn.o_proj": (WIDTH, HEADS * HEAD),
    "mlp.gate_proj": (INNER, WIDTH),
    "mlp.up_proj": (INNER, WIDTH),
    "mlp.down_proj": (WIDTH, INNER),
    "input_layernorm": (WIDTH,),
    "post_attention_layernorm": (WIDTH,),
}
SHAPES |= {f"layers.0.{name}.weight": shape for name, shape in LAYER.items()}
CONFIG = {"model_type": "llama", "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS}
QUERY, KEY = (f"transformer_layer_0/self_attention/{name}/kernel" for name in ("query", "key"))


@pytest.fixture
def llama(tmp_path):
    tensors = {f"model.{name}": np.zeros(shape, "f4") for name, shape in SHAPES.items()}
    tensors["lm_head.weight"] = np.zeros((31, WIDTH), "f4")
    save_file(tensors, tmp_path / "model.safetensors")

    def configured(config):
        if config is not None:
            (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    return configured


def test_heads_and_the_mapping_come_from_config_json(llama):
    """Two mappings have these names, Llama's and Gemma's; model_type says which it is."""
    plan = converter.plan(llama(CONFIG), to="keras").plan
    assert plan.mapping == "llama"
    assert plan.target[QUERY].shape == (WIDTH, HEADS, HEAD)
    assert plan.target[KEY].shape == (WIDTH, KV_HEADS, HEAD)


@pytest.mark.parametrize("entry", [{}, {"num_key_value_heads": None}])
def test_a_size_that_transformers_takes_from_another_one(llama, entry):
    """An old Llama has no num_key_value_heads: it is the number of heads."""
    config = {"model_type": "llama", "num_attention_heads": KV_HEADS, **entry}
    plan = converter.plan(llama(config), to="keras").plan
    assert plan.target[KEY].shape == (WIDTH, KV_HEADS, HEAD)


def test_without_it_both_are_asked_for(llama):
    with pytest.raises(MappingError) as several:
        converter.plan(llama(None), to="keras")
    assert several.value.summary == "3 mappings cover all 12 tensors: gemma, llama, smollm3"
    with pytest.raises(PlanError) as unknown:
        converter.plan(llama(None), to="keras", mapping="llama")
    assert {one.kind for one in unknown.value.problems} == {"undetermined"}
    hints = {one.hint for one in unknown.value.problems}
    assert hints == {"give it: --set heads=SIZE", "give it: --set kv_heads=SIZE"}


def test_what_is_given_counts_before_what_is_read(llama):
    found = converter.plan(llama(CONFIG), to="keras", sizes={"heads": 3}).plan
    assert found.target[QUERY].shape == (WIDTH, 3, 8)


def test_only_whole_numbers_are_sizes(tmp_path):
    config = {"a": 3, "b": 3.5, "c": True, "d": "3", "e": None, "model_type": [], "f": 1e300}
    config |= {"theta": 10000.0, "inside": {"theta": 5e6, "a": 4, "c": False, "deep": {"a": 5}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = {"a": 3, "theta": 10000, "inside.theta": 5000000, "inside.a": 4}
    assert read_sizes(tmp_path / "model.safetensors") == read_sizes(tmp_path) == found
    assert read_model_type(tmp_path) is None
    (tmp_path / "config.json").write_text('["model_type"]')
    assert (read_sizes(tmp_path), read_model_type(tmp_path)) == ({}, None)
    assert (read_sizes(None), read_model_type(None)) == ({}, None)


def test_a_live_module_brings_its_configuration():
    """As modules of transformers do; the same names are those of Llama and others."""
    torch = pytest.importorskip("torch")
    module = torch.nn.Module()
    for name, shape in SHAPES.items():
        place = module
        for part in name.split(".")[:-1]:
            if part not in dict(place.named_children()):
                place.add_module(part, torch.nn.Module())
            place = place.get_submodule(part)
        place.weight = torch.nn.Parameter(torch.zeros(shape))
    with pytest.raises(PlanError, match="4 undetermined"):
        converter.plan(module, to="keras", mapping="llama")
    module.config = SimpleNamespace(to_dict=lambda: CONFIG)
    plan = converter.plan(module, to="keras", mapping="llama").plan
    assert plan.target[QUERY].shape == (WIDTH, HEADS, HEAD)
    module.config = CONFIG  # of another library
    with pytest.raises(PlanError, match="4 undetermined"):
        converter.plan(module, to="keras", mapping="llama")
