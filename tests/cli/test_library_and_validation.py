"""The mapping commands, and the exit code of a comparison."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from converter.cli import schema, schema_mappings

ROOT = Path(__file__).parents[2]
NETWORK = """
from torch import nn


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 7, (2, 4))
        self.norm = nn.BatchNorm2d(7, eps=1e-3)
        self.head = nn.Linear(7 * 5 * 2, 11)

    def forward(self, x):
        return self.head(self.norm(self.stem(x).relu()).flatten(1))
"""


def test_the_library_is_listed_shown_and_sound(converter):
    listed = msgspec.json.decode(
        converter("mappings", "list", "--json").out, type=schema_mappings.Mappings
    )
    # Beside the mappings lie the catalogue and the list of what has none.
    files = {file.stem for file in (ROOT / "mappings").glob("*.toml")} - {"layers", "missing"}
    assert {each.name for each in listed.mappings} == files
    for each in listed.mappings:
        assert each.name in converter("mappings", "list").out
        shown = converter("mappings", "show", each.name, "--json")
        found = msgspec.json.decode(shown.out, type=schema_mappings.Mapping)
        assert len(found.rule_list) == each.rules
        assert found.rule_list[0].torch in converter("mappings", "show", each.name).out
    checked = converter("mappings", "check")
    assert (checked.code, checked.err) == (0, "")
    assert checked.out.count("no problem") == len(files)


def test_a_broken_mapping_file_is_told_with_all_its_problems(converter, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'schema = 1\nname = "mine"\nrules = [["conv9d", "a", "b"], ["dense", "x{i}"]]\n'
    )
    outcome = converter("mappings", "check", file, "densenet")
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert "conv9d" in outcome.err
    assert "rules[1]" in outcome.err
    assert "densenet: 10 rules, no problem" in outcome.out
    failure = msgspec.json.decode(
        converter("mappings", "check", file, "--json").out, type=schema.Error
    ).error
    assert failure.type == "MappingFileError"
    assert len(failure.problems) >= 2


@pytest.mark.parametrize(
    ("tensor", "counterpart"),
    [
        ("conv3_block12_0_bn/gamma", "features.denseblock2.denselayer12.norm1.weight"),
        ("features.denseblock2.denselayer12.norm1.weight", "conv3_block12_0_bn/gamma"),
        ("pool2_conv/kernel", "features.transition1.conv.weight"),
        ("classifier.bias", "predictions/bias"),
    ],
)
def test_a_tensor_is_explained_from_either_side(converter, tensor, counterpart):
    outcome = converter("mappings", "explain", tensor, "--mapping", "densenet", "--json")
    found = msgspec.json.decode(outcome.out, type=schema_mappings.Explanations).explanations
    assert len(found) == 1
    assert {tensor, counterpart} == {*found[0].keras, *found[0].torch}
    assert counterpart in converter("mappings", "explain", tensor, "--mapping", "densenet").out


def test_what_no_rule_takes_is_an_error(converter):
    outcome = converter("mappings", "explain", "conv3_block12_0_bn/kernel", "--mapping", "densenet")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: cannot explain 'conv3_block12_0_bn/kernel': no rule takes a tensor of this name\n"
        "  searched  densenet\n"
    )


@pytest.mark.frameworks
class TestValidation:
    """Exit code 0 where outputs agree, 1 where they do not, 2 where nothing could be compared."""

    @pytest.fixture
    def pair(self, converter, small_keras, tmp_path, monkeypatch) -> tuple[str, str]:
        monkeypatch.chdir(tmp_path)
        shutil.copy(small_keras, "small.keras")
        Path("network.py").write_text(NETWORK)
        assert converter("convert", "small.keras", "small.safetensors").code == 0
        return "small.keras", "small.safetensors"

    def test_agreement(self, converter, pair):
        outcome = converter("validate", *pair, "--torch", "network.py:Small", "--json")
        assert (outcome.code, outcome.err) == (0, "")
        report = msgspec.json.decode(outcome.out, type=schema.Report)
        assert (report.level, report.verdict) == ("outputs", "pass")
        assert report.rows[0].shape[-1] == 11

    def test_a_difference(self, converter, pair):
        """One weight of 770 is off by a tenth: names and shapes are right all the same."""
        tensors = load_file(pair[1])
        changed = np.array(tensors["head.weight"])
        changed[3, 5] += 0.1
        save_file({**tensors, "head.weight": changed}, pair[1])
        outcome = converter("validate", *pair, "--torch", "network.py:Small")
        assert outcome.code == 1
        assert "fail" in outcome.out

    def test_bad_input(self, converter, pair):
        outcome = converter("validate", *pair, "--torch", "no_such_file.py:Small")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("error: ")


TWINS = """
import keras


def keras_model():
    layers = keras.layers
    stem = layers.Conv2D(7, (2, 4), activation="relu", name="stem")
    norm = layers.BatchNormalization(name="norm")
    head = [layers.GlobalAveragePooling2D(), layers.Dense(5, name="head")]
    return keras.Sequential([keras.Input((6, 8, 3)), stem, norm, *head])
"""
SMALL = NETWORK.replace("7 * 5 * 2, 11", "7, 5").replace(".flatten(1)", ".mean((2, 3))")
MINE = """
schema = 1
name = "mine"
keras = "mine"
torch = "mine"
rules = [
  ["conv2d", "stem", "stem"],
  ["batch_norm", "norm", "norm"],
  ["dense", "head", "head"],
]

[[inputs]]
axes = "b h w c -> b c h w"

[proofs.small]
keras = "twins.py:keras_model"
torch = "twins.py:Small"
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A mapping of one's own, in the folder where one stands."""
    monkeypatch.chdir(tmp_path)
    Path("twins.py").write_text(TWINS + SMALL)
    Path("mine.toml").write_text(MINE)
    return Path("mine.toml")


@pytest.mark.frameworks
def test_a_mapping_of_ones_own_is_proved_and_then_sound(converter, mine):
    refused = converter("mappings", "check", mine)
    assert (refused.code, refused.out) == (2, "")
    assert "is not proved: no run is on record" in refused.err
    outcome = converter("mappings", "prove", mine, "--json")
    assert outcome.code == 0
    found = msgspec.json.decode(outcome.out, type=schema_mappings.Mappings).mappings[0]
    assert (found.law, found.cases, found.unproved) == ("exact", 1, None)
    assert found.floors <= 30
    assert converter("mappings", "check", mine).out == "mine: 3 rules, no problem\n"


@pytest.mark.frameworks
def test_twins_that_give_other_outputs_prove_nothing(converter, mine):
    Path("twins.py").write_text(TWINS + SMALL.replace("eps=1e-3", "eps=1e-1"))
    outcome = converter("mappings", "prove", mine)
    assert outcome.code == 2
    assert outcome.err.startswith(
        "small\nerror: 'mine' is not proved by 'small': the outputs differ\n  output  fail  "
    )
    assert not Path("proofs").exists()
