"""Finding the mapping of a checkpoint: the whole of it, or none."""

from __future__ import annotations

import pytest
from support_mapping import keras, torch

from converter.errors import MappingError
from converter.mapping.identify import coverages, identify, nearest

TOY = """schema = 1
name = "{name}"
keras = "{name} in Keras"
torch = "{name} in PyTorch"
rules = [
  ["conv2d", "{name}_conv{{b}}", "stages.{{b-1}}"],
  ["dense", "{name}_head", "fc", {{ optional = true }}],
  ["dense", "only_{name}", "only_{name}", {{ when = "deep" }}],
]
drop = [{{ torch = "{name}_ids", why = "an index" }}]
[conditions]
deep = {{ keras = "only_{name}", torch = "only_{name}" }}
"""
LAYERS = {"one_conv1": "Conv2D", "one_conv2": "Conv2D", "one_head": "Dense"}
MODULES = ("stages.0.weight", "stages.1.weight", "fc.weight")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "one.toml").write_text(TOY.format(name="one"))
    (tmp_path / "two.toml").write_text(TOY.format(name="two"))
    return tmp_path


def test_the_mapping_that_covers_every_tensor(folder):
    found = identify(keras(LAYERS), folders=[folder])
    assert found is not None
    assert found.name == "one"


def test_what_is_optional_may_be_absent_and_what_is_dropped_is_covered(folder):
    assert identify(keras({"one_conv3": "Conv2D"}), folders=[folder]).name == "one"
    path = folder / "two.toml"
    path.unlink()
    assert identify(torch(*MODULES, "one_ids"), folders=[folder]).name == "one"


def test_one_tensor_more_and_there_is_none(folder):
    assert identify(keras({**LAYERS, "extra": "Dense"}), folders=[folder]) is None
    assert nearest(keras({**LAYERS, "extra": "Dense"}), folders=[folder]) == "'one' covers 6 of 8"
    assert nearest(keras({"what": "Dense"}), folders=[folder]) == "none has a rule for any of them"


def test_a_head_alone_is_no_architecture(folder):
    assert identify(keras({"one_head": "Dense"}), folders=[folder]) is None


def test_a_layer_of_another_class_is_no_match(folder):
    assert identify(keras({"one_conv1": "Dense"}), folders=[folder]) is None


def test_several_are_an_error_that_names_them(folder):
    with pytest.raises(MappingError) as caught:
        identify(torch(*MODULES), folders=[folder])
    assert str(caught.value) == (
        "2 mappings cover all 3 tensors: one, two\n"
        "  one   one in Keras <-> one in PyTorch\n"
        "  two   two in Keras <-> two in PyTorch\n"
        "  hint  say which: --mapping one"
    )


def test_of_several_the_one_that_the_others_are_second_to_is_meant(folder):
    second = TOY.format(name="two").replace("rules =", 'second_to = "one"\nrules =')
    (folder / "two.toml").write_text(second)
    assert identify(torch(*MODULES), folders=[folder]).name == "one"
    layers = {name.replace("one", "two"): kind for name, kind in LAYERS.items()}
    assert identify(keras(layers), folders=[folder]).name == "two"
    (folder / "one.toml").unlink()
    assert identify(torch(*MODULES), folders=[folder]).name == "two"


def test_mappings_of_other_names_are_passed_over(folder):
    found = coverages(keras(LAYERS), folders=[folder])
    assert [coverage.mapping.name for coverage in found] == ["one"]


def test_nothing_is_found_for_nothing(folder):
    assert identify(torch(), folders=[folder]) is None
