"""``converter mappings new``: what is certain has a rule, and a person makes the rest a mapping."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from converter.cli import schema_drafts
from converter.drafting.beginning import begin
from converter.errors import UsageError

pytestmark = pytest.mark.frameworks

# Three equal denses, one of them twice, and a parameter that Keras has not.
NETWORK = """
import keras
import torch


def keras_net():
    layers = keras.layers
    return keras.Sequential([
        keras.Input((6, 8, 3)),
        layers.Conv2D(7, (2, 4), activation="relu", name="stem"),
        layers.BatchNormalization(name="norm"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(9, name="a"),
        layers.Dense(9, activation="tanh", name="b"),
        layers.Dense(9, name="c"),
        layers.Dense(5, name="head"),
    ])


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.extra = torch.nn.Parameter(torch.zeros(3))
        self.stem = torch.nn.Conv2d(3, 7, (2, 4))
        self.norm = torch.nn.BatchNorm2d(7, eps=1e-3)
        self.one = torch.nn.Linear(7, 9)
        self.two = torch.nn.Linear(9, 9)
        self.three = torch.nn.Linear(9, 9)
        self.head = torch.nn.Linear(9, 5)

    def forward(self, x):
        x = self.norm(torch.relu(self.stem(x))).mean((2, 3))
        return self.head(self.three(torch.tanh(self.two(self.one(x)))))
"""
BEGUN = """schema = 1
name = "mine"
keras = "network.py:keras_net"
torch = "network.py:Net"

rules = [
  ["conv2d", "stem", "stem"], # no other module has its kind and shapes
  ["batch_norm", "norm", "norm"], # no other module has its kind and shapes
  ["dense", "a", "one"], # no other module has its kind and shapes
  ["dense", "head", "head"], # no other module has its kind and shapes
]
# Likely, for a person to look at:
#   ["dense", "b", "two"], # by its place among those of its shapes
#   ["dense", "c", "three"], # by its place among those of its shapes

[sources.drafted]
keras = "network.py:keras_net"
torch = "network.py:Net"

# Both small, as small as they can be while every row is about something: say so by arguments.
[proofs.small]
keras = { factory = "network.py:keras_net", arguments = {} }
torch = { factory = "network.py:Net", arguments = {} }

# All names. '=' has a rule, '?' is for a person: a rule, or a drop with its reason.
# Delete this list when the file is done.
# Keras:
#   = stem  (2, 4, 3, 7), (7,)
#   = norm  (7,), (7,), (7,), (7,)
#   = a  (7, 9), (9,)
#   ? b  (9, 9), (9,)
#   ? c  (9, 9), (9,)
#   = head  (9, 5), (5,)
# PyTorch:
#   ? extra  (3,)
#   = stem  (7, 3, 2, 4), (7,)
#   = norm  (7,), (7,), (7,), (7,), ()
#   = one  (9, 7), (9,)
#   ? two  (9, 9), (9,)
#   ? three  (9, 9), (9,)
#   = head  (5, 9), (5,)
"""
SIDES = ("--keras", "network.py:keras_net", "--torch", "network.py:Net")


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("network.py").write_text(NETWORK, encoding="utf-8")


@pytest.mark.usefixtures("network")
def test_only_what_is_certain_has_a_rule_and_every_name_is_there():
    found = begin("network.py:keras_net", "network.py:Net", name="mine")
    assert found.text.partition("\n")[2] == BEGUN
    assert (found.rules, found.paired) == (4, 4)
    assert (found.layers, found.modules) == (("b", "c"), ("extra", "two", "three"))


@pytest.mark.usefixtures("network")
def test_from_a_beginning_to_a_mapping_that_check_takes(converter):
    """A contribution as mappings/README.md describes it."""
    outcome = converter("mappings", "new", *SIDES, "--out", "mine.toml")
    assert outcome.code == 0, outcome.err
    assert outcome.out == (
        "4 rules pair 4 layers; 2 layers and 3 modules are left to you; wrote mine.toml\n"
    )
    file = Path("mine.toml")
    text = file.read_text(encoding="utf-8")
    assert converter("mappings", "prove", "mine.toml").code == 2
    likely = "# Likely, for a person to look at:\n"
    text = text.replace("]\n" + likely, "").replace("#   [", "  [")
    text = text.replace("those of its shapes\n\n", "those of its shapes\n]\n\n")
    text = text.replace(
        "[sources", 'drop = [{ torch = "extra", why = "nothing uses it" }]\n\n[sources'
    )
    file.write_text(text, encoding="utf-8")
    proved = converter("mappings", "prove", "mine.toml")
    assert proved.code == 0, proved.err
    assert converter("mappings", "check", "mine.toml").out == "mine: 6 rules, no problem\n"


@pytest.mark.usefixtures("network")
def test_a_file_that_is_there_stays(converter):
    Path("mine.toml").write_text("", encoding="utf-8")
    outcome = converter("mappings", "new", *SIDES, "--out", "mine.toml")
    assert outcome.code == 2
    assert "cannot write 'mine.toml': it exists" in outcome.err
    assert converter("mappings", "new", *SIDES, "--out", "mine.toml", "--force").code == 0


@pytest.mark.usefixtures("network")
def test_json(converter):
    outcome = converter("mappings", "new", *SIDES, "--json")
    found = msgspec.json.decode(outcome.out, type=schema_drafts.Beginning)
    assert found.mapping.partition("\n")[2] == BEGUN
    assert (found.pairs, found.layers) == (4, ["b", "c"])


def test_a_side_that_is_no_factory():
    with pytest.raises(UsageError) as caught:
        begin("model.keras", "torch.nn:Linear", name="mine")
    assert str(caught.value) == (
        "cannot begin a mapping: 'model.keras' names no factory\n"
        "  hint  such as keras.applications:DenseNet121, or network.py:Net"
    )
