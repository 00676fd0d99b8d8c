"""``convert --layout``: what it writes and says, and that a folder is whole or not there."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from converter.errors import UsageError
from converter.layouts.saving import save_folder

MAPPING = """schema = 1
name = "toy"
keras = "Sequential"
torch = "Toy"
rules = [["dense", "one", "body.one"], ["dense", "two", "head.two"]]

[[configs]]
keras = "keras:Sequential"
torch = "ToyModel"
model_type = "toy"
prefix = "model."
apart = ["head"]
rows = [["name", "title"]]
torch_only = { act = "silu" }
ignored = ["layers", "build_input_shape"]
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A Keras file and a mapping with a table for its class, in the folder of the commands."""
    keras = pytest.importorskip("keras")
    layers = [keras.layers.Dense(3, name="one"), keras.layers.Dense(2, name="two")]
    model = keras.Sequential([keras.Input((5,)), *layers], name="little")
    model.save(tmp_path / "toy.keras")
    (tmp_path / "toy.toml").write_text(MAPPING, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return model


NOTE = (
    "note: the tokenizer and the settings of generation are not converted: tokenizer.json and "
    "generation_config.json are not in the folder"
)
COMMAND = ("convert", "toy.keras", "out", "--layout", "huggingface", "--mapping", "toy.toml")


def test_what_is_written_and_said(converter, toy, tmp_path):
    found = converter(*COMMAND)
    lines = found.out.splitlines()
    assert (found.code, found.err) == (0, "")
    assert lines[:2] == ["wrote out/config.json", "wrote out/model.safetensors"]
    assert lines[2].startswith("4 tensors, 104 B, mapping toy, 4 exact, ")
    assert lines[3:] == [NOTE]
    assert json.loads((tmp_path / "out/config.json").read_text()) == {
        "architectures": ["ToyModel"],
        "model_type": "toy",
        "title": "little",
        "act": "silu",
        "dtype": "float32",
    }
    tensors = load_file(tmp_path / "out/model.safetensors")
    assert sorted(tensors) == [
        "head.two.bias",
        "head.two.weight",
        "model.body.one.bias",
        "model.body.one.weight",
    ]
    kernel = toy.layers[0].get_weights()[0]
    assert np.array_equal(tensors["model.body.one.weight"], kernel.T)


def test_the_same_as_json(converter, toy):
    found = json.loads(converter(*COMMAND, "--json").out)
    assert found["files"] == ["out/config.json", "out/model.safetensors"]
    assert (found["law"], found["notes"]) == ("exact", [NOTE.removeprefix("note: ")])


def test_shards_and_force_leave_no_older_file(converter, toy, tmp_path):
    assert converter(*COMMAND).code == 0
    refused = converter(*COMMAND)
    assert (refused.code, (tmp_path / "out/config.json").exists()) == (2, True)
    assert (
        "config.json': it exists" in refused.err or "model.safetensors': it exists" in refused.err
    )
    assert converter(*COMMAND, "--max-shard-size", "40", "--force").code == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names[0] == "config.json"
    assert "model.safetensors.index.json" in names
    assert "model.safetensors" not in names


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            (*COMMAND[:5],),
            "cannot translate the configuration of a 'Sequential': no mapping has a table for it",
        ),
        ((*COMMAND, "--to", "torch"), "cannot use --to with --layout: the layout says what"),
        ((*COMMAND, "--like", "toy.keras"), "cannot use --like with --layout"),
        ((*COMMAND, "--torch", "net.py:Net"), "cannot use --torch with --layout"),
        (
            (*COMMAND[:5], "--mapping", "auto"),
            "cannot use --mapping auto with --layout: a draft does not translate configurations",
        ),
        (
            (*COMMAND[:4], "keras_hub"),
            "cannot write a Keras preset from 'toy.keras': it is a Keras checkpoint",
        ),
        (
            ("convert", "a.safetensors", "out", "--layout", "huggingface"),
            "cannot write a folder for transformers from 'a.safetensors': it is no Keras",
        ),
        (
            ("convert", "a.safetensors", "out", "--layout", "keras_hub"),
            "cannot write a Keras preset from 'a.safetensors': no config.json is beside it",
        ),
        (
            ("convert", "hf/a.safetensors", "out", "--layout", "keras_hub"),
            "cannot translate a config.json of model_type 'strange': no mapping has a table for it",
        ),
    ],
)
def test_what_cannot_be_done_leaves_no_folder(converter, toy, tmp_path, arguments, says):
    save_file({"a": np.zeros(3, "f4")}, tmp_path / "a.safetensors")
    (tmp_path / "hf").mkdir()
    shutil.copy(tmp_path / "a.safetensors", tmp_path / "hf")
    (tmp_path / "hf/config.json").write_text('{"model_type": "strange"}')
    found = converter(*arguments)
    assert found.code == 2
    assert found.err.splitlines()[0].startswith(f"error: {says}")
    assert not (tmp_path / "out").exists()


def test_a_configuration_that_the_other_side_cannot_say(converter, toy, tmp_path):
    text = MAPPING.replace('ignored = ["layers", "build_input_shape"]', 'ignored = ["layers"]')
    (tmp_path / "toy.toml").write_text(text, encoding="utf-8")
    found = converter(*COMMAND)
    assert (found.code, found.out) == (2, "")
    assert found.err.splitlines() == [
        "error: cannot write the config.json of a ToyModel: 1 entry of the "
        "configuration of the Sequential",
        "  unexpected  build_input_shape  is [null, 5], and the table of Sequential has no such "
        "row",
    ]
    assert not (tmp_path / "out").exists()


def test_a_configuration_that_would_build_for_years(converter, tmp_path):
    """Layers cost time even where their values cost no memory; a checkpoint shows how many."""
    keys = ("vocab_size", "num_attention_heads", "hidden_size", "intermediate_size")
    config = {"model_type": "llama", "num_hidden_layers": 10**9, **dict.fromkeys(keys, 8)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"model.norm.weight": np.zeros(8, "f4")}, tmp_path / "model.safetensors")
    found = converter("convert", tmp_path, tmp_path / "out", "--layout", "keras_hub")
    assert found.err.splitlines() == [
        "error: cannot build the model of 'model.safetensors': it has too few tensors",
        "  mismatched  num_layers  is 1,000,000,000, and the checkpoint has 1 tensors",
    ]


def test_a_failure_while_writing_takes_the_folder_away_again(converter, toy, tmp_path):
    found = converter(*COMMAND[:2], tmp_path / "absent" / "out", *COMMAND[3:])
    assert found.code == 2
    assert found.err.splitlines()[0].endswith("No such file or directory")
    with pytest.raises(UsageError):
        save_folder("toy.keras", "out", layout="huggingface", mapping="toy.toml", max_shard_size=0)
    assert not (tmp_path / "out").exists()
