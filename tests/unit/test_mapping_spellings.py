"""Two spellings of one module: read alike, and written as the target has them."""

from __future__ import annotations

import numpy as np
import pytest

import converter
from converter.errors import MappingFileError
from converter.mapping.document import parse_mapping

TEXT = """
schema = 1
name = "toy"
keras = "k"
torch = "t"
rules = [
  ["dense", "block_{i}/{proj}", "layers.{i-1}.{proj}"],
  ["layer_norm", "norm", "norm"],
]
prefixes = ["vit."]
[spellings]
"encoder.layer.{i}.attention.{proj}" = "layers.{i}.{proj}"
[tables]
proj = { query = "q_proj", key = "k_proj" }
"""

KERAS = {
    "block_1/query/kernel": np.arange(6.0).reshape(2, 3),
    "block_1/key/kernel": np.arange(8.0).reshape(2, 4),
    "block_2/query/kernel": np.arange(10.0).reshape(2, 5),
    "norm/gamma": np.ones(2),
    "norm/beta": np.ones(2),
}


def _saved(folder, name, weights):
    np.savez(folder / name, **weights)
    return folder / name


def _mapping(folder):
    path = folder / "toy.toml"
    path.write_text(TEXT)
    return str(path)


@pytest.mark.parametrize("prefix", ["", "vit."])
@pytest.mark.parametrize(
    "spelt",
    [
        ("layers.0.q_proj", "layers.0.k_proj", "layers.1.q_proj"),
        (
            "encoder.layer.0.attention.query",
            "encoder.layer.0.attention.key",
            "encoder.layer.1.attention.query",
        ),
    ],
)
def test_both_spellings_are_read_with_and_without_prefix(tmp_path, spelt, prefix):
    kernels = [KERAS[name].T for name in list(KERAS)[:3]]
    names = [f"{prefix}{name}.weight" for name in spelt]
    torch = dict(zip(names, kernels, strict=True))
    torch |= {f"{prefix}norm.weight": np.ones(2), f"{prefix}norm.bias": np.ones(2)}
    source = _saved(tmp_path, "torch.npz", torch)
    like = _saved(tmp_path, "keras.npz", KERAS)
    found = converter.plan(source, mapping=_mapping(tmp_path), to="keras", like=like).arrays()
    assert {name: one.tolist() for name, one in found.items()} == {
        name: one.tolist() for name, one in KERAS.items()
    }
    back = converter.plan(like, mapping=_mapping(tmp_path), to="torch", like=source)
    assert set(back.plan.target.tensors) == set(torch)


def test_a_name_in_both_spellings_is_a_conflict(tmp_path):
    torch = {
        "layers.0.q_proj.weight": np.ones((3, 2)),
        "encoder.layer.0.attention.query.weight": np.ones((3, 2)),
    }
    source = _saved(tmp_path, "torch.npz", torch)
    with pytest.raises(converter.PlanError, match=r"are both 'layers[.]0[.]q_proj[.]weight' to"):
        converter.plan(source, mapping=_mapping(tmp_path), to="keras")


def test_the_two_sides_of_a_spelling_have_the_same_placeholders():
    wrong = TEXT.replace('= "layers.{i}.{proj}"', '= "layers.0.{proj}"')
    with pytest.raises(MappingFileError) as caught:
        parse_mapping(wrong)
    assert [problem.text for problem in caught.value.problems] == [
        "the two have different placeholders"
    ]
