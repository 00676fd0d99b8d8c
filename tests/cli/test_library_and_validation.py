"""The mapping commands, and the exit code of a comparison."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from converter.cli import schema

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
    listed = msgspec.json.decode(converter("mappings", "list", "--json").out, type=schema.Mappings)
    files = {file.stem for file in (ROOT / "mappings").glob("*.toml")} - {"layers"}
    assert {each.name for each in listed.mappings} == files
    for each in listed.mappings:
        assert each.name in converter("mappings", "list").out
        shown = converter("mappings", "show", each.name, "--json")
        found = msgspec.json.decode(shown.out, type=schema.Mapping)
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
    found = msgspec.json.decode(outcome.out, type=schema.Explanations).explanations
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
