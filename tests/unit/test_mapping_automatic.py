"""Names that Keras numbers through the whole model: the rules number them in the layer around."""

from __future__ import annotations

import numpy as np
import pytest

import converter
from converter.errors import MappingFileError, PlanError
from converter.mapping.automatic import Automatic
from converter.mapping.document import parse_mapping

TEXT = """
schema = 1
name = "toy"
keras = "k"
torch = "t"
rules = [
  ["dense", "block_{i}/dense", "blocks.{i}.up"],
  ["dense", "block_{i}/dense_1", "blocks.{i}.down"],
  ["dense", "block_{i}/expert/dense", "blocks.{i}.expert"],
]
automatic = ["dense", "expert"]
keras_prefixes = ["toy_backbone/"]
"""

# As Keras names what is built in this order; nothing but order tells the two of a block apart.
KERAS = {
    "block_0/dense/kernel": np.arange(6.0).reshape(2, 3),
    "block_0/dense_1/kernel": np.arange(6.0).reshape(3, 2),
    "block_0/expert/dense_2/kernel": np.arange(8.0).reshape(2, 4),
    "block_1/dense_3/kernel": np.arange(10.0).reshape(2, 5),
    "block_1/dense_4/kernel": np.arange(10.0).reshape(5, 2),
    "block_1/expert_1/dense_5/kernel": np.arange(14.0).reshape(2, 7),
}
TORCH = {
    f"blocks.{block}.{name}.weight": KERAS[key].T
    for block, name, key in (
        (0, "up", "block_0/dense/kernel"),
        (0, "down", "block_0/dense_1/kernel"),
        (0, "expert", "block_0/expert/dense_2/kernel"),
        (1, "up", "block_1/dense_3/kernel"),
        (1, "down", "block_1/dense_4/kernel"),
        (1, "expert", "block_1/expert_1/dense_5/kernel"),
    )
}


def _saved(folder, name, weights):
    np.savez(folder / name, **weights)
    return folder / name


def _plan(folder, text, source, **more):
    (folder / "toy.toml").write_text(text)
    return converter.plan(source, mapping=str(folder / "toy.toml"), **more)


@pytest.mark.parametrize("prefix", ["", "toy_backbone/", "toy_backbone_2/"])
def test_each_block_has_a_first_and_a_second(tmp_path, prefix):
    named = {prefix + name: value for name, value in KERAS.items()}
    found = _plan(tmp_path, TEXT, _saved(tmp_path, "k.npz", named), to="torch").arrays()
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in TORCH.items()
    }


def test_what_is_written_has_the_names_of_its_side(tmp_path):
    like = _saved(tmp_path, "k.npz", KERAS)
    source = _saved(tmp_path, "t.npz", TORCH)
    found = _plan(tmp_path, TEXT, source, like=like, to="keras").arrays()
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in KERAS.items()
    }


def test_without_the_declaration_later_blocks_are_not_found(tmp_path):
    text = TEXT.replace('automatic = ["dense", "expert"]', "")
    with pytest.raises(PlanError, match=r"block_1/dense_3/kernel  no rule of 'toy' takes it"):
        _plan(tmp_path, text, _saved(tmp_path, "k.npz", KERAS), to="torch")


def test_a_name_that_only_begins_alike_is_another_one():
    names = Automatic(["a/dense_out/kernel", "a/dense_7/kernel", "a/dense_x_7/k"], ["dense"])
    assert names("a/dense_out/kernel") == "a/dense_out/kernel"
    assert names("a/dense_7") == "a/dense"
    assert names.original("a/dense/kernel") == "a/dense_7/kernel"
    assert names("a/dense_0/k") == names.original("a/dense_0/k") == "a/dense_0/k"
    assert names("a/dense_x_7/k") == names.original("a/dense_x_7/k") == "a/dense_x_7/k"


def test_a_number_or_a_path_is_no_such_name():
    text = TEXT.replace('["dense", "expert"]', '["dense_1", "a/expert"]')
    with pytest.raises(MappingFileError) as caught:
        parse_mapping(text)
    assert [f"{one.where}: {one.text}" for one in caught.value.problems] == [
        "automatic[0]: must be the name of one layer, without its number",
        "automatic[1]: must be the name of one layer, without its number",
    ]


def test_a_model_that_repeats_its_name_in_its_layers_loses_it():
    """clip_text_encoder is given its own name when it is built from its config."""
    paths = [f"enc_2/enc_2_{name}/x" for name in ("block_0", "block_10", "enc")] + ["other/enc_2_a"]
    names = Automatic(paths, ["enc"])
    found = [names(path) for path in paths]
    assert found == ["enc/block_0/x", "enc/block_10/x", "enc/enc/x", "other/enc_2_a"]
    assert [names.original(path) for path in found] == paths
    plain = Automatic(["enc_2/block_0/x", "out/out_a"], ["enc"])
    assert plain.original(plain("enc_2/block_0/x")) == "enc_2/block_0/x"
    assert plain("enc_2/block_0/x") == "enc/block_0/x"
    assert plain("out/out_a") == "out/out_a"
