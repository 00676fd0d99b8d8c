"""The frequencies of a rotary embedding: computed from rope_theta, wherever that is to be found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import converter
from converter.errors import ConverterError, PlanError

WIDTH, HEADS, HEAD, KV = 12, 3, 4, 4
SHAPES = {"embed_tokens.weight": (31, WIDTH), "norm.weight": (WIDTH,)}
SHAPES |= {
    f"layers.0.{name}.weight": shape
    for name, shape in {
        "self_attn.q_proj": (HEADS * HEAD, WIDTH),
        "self_attn.k_proj": (KV, WIDTH),
        "self_attn.v_proj": (KV, WIDTH),
        "self_attn.o_proj": (WIDTH, HEADS * HEAD),
        "mlp.gate_proj": (20, WIDTH),
        "mlp.up_proj": (20, WIDTH),
        "mlp.down_proj": (WIDTH, 20),
        "input_layernorm": (WIDTH,),
        "post_attention_layernorm": (WIDTH,),
    }.items()
}
FREQUENCIES = "transformer_layer_0/self_attn/rotary_emb/inv_freq"
CONFIG = {"model_type": "smollm3", "num_attention_heads": HEADS}
NEW = {**CONFIG, "rope_parameters": {"rope_theta": 250000.0, "rope_type": "default"}}


@pytest.fixture
def saved(tmp_path):
    save_file({name: np.zeros(shape, "f4") for name, shape in SHAPES.items()},
              tmp_path / "model.safetensors")  # fmt: skip

    def configured(config):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    return configured


@pytest.mark.parametrize("config", [NEW, {**CONFIG, "rope_theta": 250000}])
def test_they_are_computed_from_config_json(saved, config):
    """model_type says which of the mappings with these names it is."""
    plan = converter.plan(saved(config), to="keras")
    assert plan.plan.mapping == "smollm3"
    found = plan.arrays()[FREQUENCIES]
    np.testing.assert_allclose(found, [1.0, 1 / 500], rtol=1e-6)
    (step,) = (one for one in plan.steps if not one.sources)
    assert step.operation.describe() == "frequencies (2,) of base 250,000"
    assert str(step.law) == "derived"


def test_without_rope_theta_it_is_asked_for(saved):
    with pytest.raises(PlanError) as caught:
        converter.plan(saved(CONFIG), to="keras")
    (problem,) = caught.value.problems
    assert problem.where == f"'{FREQUENCIES}'"
    assert problem.text == "nothing determines 'base'"
    assert problem.hint == "give it: --set rope_theta=SIZE"
    given = converter.plan(saved(CONFIG), to="keras", sizes={"rope_theta": 16}).arrays()
    assert given[FREQUENCIES].tolist() == [1.0, 0.25]


def _keras_file(saved, tmp_path):
    arrays = converter.plan(saved(NEW), to="keras").arrays()
    np.savez(tmp_path / "keras.npz", **arrays)
    return tmp_path / "keras.npz"


def test_they_are_left_out_with_the_reason_where_nothing_says_what_they_must_be(saved, tmp_path):
    file = _keras_file(saved, tmp_path)
    saved({})
    plan = converter.plan(file, to="torch", mapping="smollm3")
    (dropped,) = plan.plan.dropped
    assert dropped.name == FREQUENCIES
    assert dropped.why == (
        "the frequencies of the rotary embedding, which PyTorch computes from rope_theta"
    )
    assert len(plan.arrays()) == len(SHAPES)


def test_those_of_another_base_are_refused(saved, tmp_path):
    file = _keras_file(saved, tmp_path)
    same = converter.plan(file, to="torch", mapping="smollm3", sizes={"rope_theta": 250000})
    assert len(same.arrays()) == len(SHAPES)
    assert same.plan.dropped == ()
    other = converter.plan(file, to="torch", mapping="smollm3", sizes={"rope_theta": 10000})
    with pytest.raises(ConverterError, match="rotary embedding of base 10,000: 1 of 2 values"):
        other.arrays()


def test_those_of_another_base_are_seen_when_values_are_compared(saved, tmp_path):
    file = _keras_file(saved, tmp_path)
    folder = saved(NEW)
    assert converter.validate(folder, file, mapping="smollm3").verdict == "pass"
    arrays = dict(np.load(file))
    arrays[FREQUENCIES] = arrays[FREQUENCIES] * np.float32(1.01)
    np.savez(file, **arrays)
    report = converter.validate(folder, file, mapping="smollm3")
    (row,) = report.rows
    assert (report.verdict, row.other) == ("fail", FREQUENCIES)
    assert row.note.endswith("of base 250,000: 2 of 2 values differ")
