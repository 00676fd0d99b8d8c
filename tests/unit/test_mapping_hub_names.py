"""Names as keras_hub's tasks and tied heads have them."""

from __future__ import annotations

import numpy as np
import pytest

import converter
from converter.errors import PlanError

LANGUAGE_MODEL = """
schema = 1
name = "toy"
keras = "k"
torch = "t"
rules = [
  ["reversible_embedding", "token_embedding", "wte"],
  ["rms_norm", "norm_{i}", "h.{i}.norm"],
  ["output_embedding", "token_embedding", "lm_head", { when = "untied", optional = true }],
]
keras_prefixes = ["toy_backbone/"]
[conditions]
untied = { keras = "token_embedding/reverse_embeddings", torch = "lm_head" }
"""


def _keras(prefix="", untied=False):
    weights = {
        f"{prefix}token_embedding/embeddings": np.arange(15.0).reshape(5, 3),
        f"{prefix}norm_0/scale": np.arange(3.0),
    }
    if untied:
        weights[f"{prefix}token_embedding/reverse_embeddings"] = np.ones((3, 5))
    return weights


def _planned(tmp_path, weights, like=None):
    path = tmp_path / "toy.toml"
    path.write_text(LANGUAGE_MODEL)
    np.savez(tmp_path / "model.npz", **weights)
    return converter.plan(tmp_path / "model.npz", mapping=str(path), to="torch", like=like)


def test_a_backbone_that_keras_numbered_is_taken_off_like_the_first(tmp_path):
    names = {"wte.weight", "h.0.norm.weight"}
    for prefix in ("", "toy_backbone/", "toy_backbone_3/"):
        assert set(_planned(tmp_path, _keras(prefix)).plan.target.tensors) == names


def test_another_layer_whose_name_starts_alike_is_no_prefix(tmp_path):
    weights = _keras() | {"toy_backbone_new/norm_1/scale": np.arange(3.0)}
    with pytest.raises(PlanError, match="toy_backbone_new/norm_1/scale  no rule of 'toy' takes it"):
        _planned(tmp_path, weights)


@pytest.mark.frameworks
def test_a_head_that_shares_its_tensor_does_not_make_a_model_untied(tmp_path):
    import torch

    class Toy(torch.nn.Module):
        def __init__(self, tied):
            super().__init__()
            self.wte = torch.nn.Embedding(5, 3)
            self.h = torch.nn.ModuleList([torch.nn.ModuleDict({"norm": torch.nn.RMSNorm(3)})])
            self.lm_head = torch.nn.Linear(3, 5, bias=False)
            if tied:
                self.lm_head.weight = self.wte.weight

    tied = _planned(tmp_path, _keras(), like=Toy(tied=True)).state_dict()
    assert torch.equal(tied["lm_head.weight"], tied["wte.weight"])
    untied = _planned(tmp_path, _keras(untied=True), like=Toy(tied=False)).state_dict()
    assert untied["lm_head.weight"].tolist() == np.ones((5, 3)).tolist()
