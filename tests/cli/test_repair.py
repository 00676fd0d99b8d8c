"""``validate --repair``: writes, compares again, and refuses what weights cannot make up for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import converter as package
from converter.cli import schema

pytestmark = pytest.mark.frameworks

NETWORK = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, (3, 5), PADDING)
        self.bn = nn.BatchNorm2d(6, eps=1e-5)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(torch.relu(self.bn(self.conv(x))).mean((2, 3)))
"""


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what makes net.keras, net.safetensors and network.py here."""
    import keras
    from support.validation_pair import randomise

    monkeypatch.chdir(tmp_path)

    def make(padding: str = "") -> None:
        layers = [
            keras.Input((9, 12, 3)),
            keras.layers.Conv2D(6, (3, 5), name="conv"),
            keras.layers.BatchNormalization(name="bn"),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4, name="head"),
        ]
        randomise(keras.Sequential(layers)).save("net.keras")
        package.convert("net.keras", "net.safetensors")
        text = NETWORK.replace(", PADDING", padding)
        Path("network.py").write_text(text, encoding="utf-8")

    return make


GIVEN = ("validate", "net.keras", "net.safetensors", "--torch", "network.py:Net")


def test_the_command_writes_it_and_says_the_error_before_and_after(pair, converter) -> None:
    pair()
    found = converter(*GIVEN)
    assert found.code == 1
    assert "\n    --repair OUT writes a checkpoint that compensates it\n" in found.out
    before = Path("net.safetensors").read_bytes()
    found = converter(*GIVEN, "--repair", "out.safetensors")
    assert found.code == 0
    lines = found.out.splitlines()
    assert re.match(r"fail: 1 output compared, 1 fail$", lines[0])
    assert "repaired: 1 tensor (bn.running_var) written to out.safetensors" in lines
    told = lines[lines.index("repaired: 1 tensor (bn.running_var) written to out.safetensors") + 1]
    assert re.fullmatch(r"pass: 1 output compared, at most \d\.\dx the noise floor", told)
    assert Path("net.safetensors").read_bytes() == before
    assert converter("validate", "net.keras", "out.safetensors", *GIVEN[3:]).code == 0


def test_the_record_of_the_file_says_what_was_repaired(pair, converter) -> None:
    pair()
    assert converter(*GIVEN, "--repair", "out.safetensors").code == 0
    with safe_open("out.safetensors", "np") as file:
        text = file.metadata()["weightferry"]
    record = msgspec.json.decode(text)
    assert record["laws"] == {"canonical": 1, "exact": 8}
    assert [one["name"] for one in record["sources"]] == ["net.safetensors"]
    state = load_file("out.safetensors")
    assert torch.allclose(
        state["bn.running_var"], load_file("net.safetensors")["bn.running_var"] + 0.00099
    )


def test_json_says_it_too(pair, converter) -> None:
    pair()
    found = converter(*GIVEN, "--repair", "out.safetensors", "--json")
    assert found.code == 0
    report = msgspec.json.decode(found.out, type=schema.Report)
    assert report.verdict == "pass"
    told = report.settings["repaired"]
    assert told["causes"] == ["epsilon"]
    assert told["changed"] == ["bn.running_var"]
    assert told["verdict_before"] == "fail"
    assert told["floors_before"] > 300


def test_what_weights_cannot_make_up_for_is_refused_with_a_sentence(pair, converter) -> None:
    pair(", padding=(1, 2)")
    found = converter(*GIVEN, "--repair", "out.safetensors")
    assert found.code == 2
    first = found.err.splitlines()[0]
    said = "error: cannot repair net.safetensors: weights cannot make up for same_padding in '"
    assert first.startswith(said)
    assert "\n  found    " in found.err
    assert "\n  hint     " in found.err
    assert "  written  nothing" in found.err
    assert not Path("out.safetensors").exists()


def test_a_file_that_is_there_is_not_replaced(pair, converter) -> None:
    pair()
    Path("out.safetensors").write_bytes(b"mine")
    found = converter(*GIVEN, "--repair", "out.safetensors")
    assert found.code == 2
    assert Path("out.safetensors").read_bytes() == b"mine"
    assert converter(*GIVEN, "--repair", "out.safetensors", "--force").code == 0


def test_nothing_is_written_where_nothing_differs(pair, converter) -> None:
    pair()
    assert converter(*GIVEN, "--repair", "out.safetensors").code == 0
    right = ("validate", "net.keras", "out.safetensors", *GIVEN[3:])
    found = converter(*right, "--repair", "again.safetensors")
    assert found.code == 0
    assert found.err == "nothing to repair: nothing was written\n"
    assert not Path("again.safetensors").exists()


def test_random_weights_are_never_written(pair, converter) -> None:
    pair()
    found = converter(*GIVEN, "--level", "outputs-random", "--repair", "out.safetensors")
    assert found.code == 2
    assert "cannot repair net.safetensors: weights cannot make up for epsilon in 'bn'" in found.err
    assert not Path("out.safetensors").exists()


def test_a_keras_target_is_compared_with_repaired_weights_of_the_source(pair, converter) -> None:
    pair()
    given = ("validate", "net.safetensors", "net.keras", *GIVEN[3:])
    assert converter(*given, "--repair", "out.safetensors").code == 0
    assert converter("validate", "out.safetensors", "net.keras", *GIVEN[3:]).code == 0
