"""BERT as it was published: other names around the same weights."""

from __future__ import annotations

import oracles
import pytest

import converter
from converter.live.sources import build_source
from converter.mapping import library

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles]


def test_an_old_checkpoint_with_prefix_pretraining_heads_and_gamma_is_read_too():
    """bert-base-uncased itself: 'bert.' before most names, gamma and beta, the heads of 'cls'."""
    case = library.get("bert").proofs["backbone"]
    oracles.prepare(case)
    model = build_source(case.keras, family="keras")
    module = build_source(case.torch, family="torch")
    tensors = {}
    for name, one in module.state_dict().items():
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        tensors[f"bert.{old.replace('LayerNorm.bias', 'LayerNorm.beta')}"] = one
    tensors["bert.embeddings.position_ids"] = one.new_zeros(1, 17).long()
    tensors["cls.predictions.bias"] = one.new_zeros(31)
    plan = converter.plan(tensors, like=model)
    assert plan.plan.mapping == "bert"
    assert {one.name for one in plan.plan.dropped} == {
        "bert.embeddings.position_ids",
        "cls.predictions.bias",
    }
    plain = converter.plan(module, like=model).get_weights()
    for one, other in zip(plan.get_weights(), plain, strict=True):
        assert one.tobytes() == other.tobytes()
