"""``converter convert --mapping auto``: a draft converts only where the outputs have proved it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.drafting_pairs import Classic, classic

pytestmark = pytest.mark.frameworks


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a trained Keras model: every weight is random, and none is what it began as."""
    found = tmp_path_factory.mktemp("auto")
    model = classic()
    draw = np.random.default_rng(0)
    model.set_weights([draw.uniform(0.5, 1.5, one.shape) for one in model.get_weights()])
    model.save(found / "model.keras")
    return found


@pytest.fixture
def convert(command_line, folder, monkeypatch):
    """Return what runs ``converter convert --mapping auto`` in that folder."""
    monkeypatch.chdir(folder)
    return lambda *arguments, mapping="auto": command_line(
        "convert", *arguments, "--mapping", mapping
    )


def test_a_proved_draft_converts_both_ways(convert, folder):
    """The module gives what the Keras model gives, and the way back gives every bit."""
    import keras
    import torch
    from safetensors.torch import load_file

    net = "support.drafting_pairs:Classic"
    done = convert("model.keras", "there.safetensors", "--torch", net)
    assert done.code == 0, done.err
    assert done.err == "proved: with random weights both models give equal outputs\n"
    assert done.out.startswith("wrote there.safetensors\n")
    model, module = keras.saving.load_model(folder / "model.keras"), Classic()
    module.load_state_dict(load_file(folder / "there.safetensors"))
    images = np.random.default_rng(1).standard_normal((3, 14, 10, 1)).astype("float32")
    with torch.no_grad():
        found = module.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    assert np.allclose(
        found.numpy(), keras.ops.convert_to_numpy(model(images)), rtol=1e-4, atol=1e-4
    )
    back = convert("there.safetensors", "back.weights.h5", "--torch", net,
                    "--like", "model.keras")  # fmt: skip
    assert back.code == 0, back.err
    before = [one.tobytes() for one in model.get_weights()]
    model.load_weights(folder / "back.weights.h5")
    assert [one.tobytes() for one in model.get_weights()] == before


def test_other_outputs_write_nothing_and_end_with_one(convert, folder):
    """Names, kinds and shapes all fit; only running both shows the other activation."""
    done = convert("model.keras", "no.safetensors",
                    "--like", "support.drafting_pairs:classic_with_another_activation")  # fmt: skip
    assert done.code == 1, done.err
    assert done.err.startswith("not proved: the outputs differ")
    assert "; nothing was written\n" in done.err
    assert not (folder / "no.safetensors").exists()


def test_leftovers_are_listed_with_hints_and_nothing_is_written(convert, folder):
    done = convert("model.keras", "no.safetensors",
                    "--torch", "support.drafting_pairs:classic_with_another_head")  # fmt: skip
    assert done.code == 1
    assert "left over in Keras" in done.out
    assert "left over in PyTorch" in done.out
    assert "--hint 'fc2=net.11'" in done.out
    assert done.err.startswith("not complete: something is left over on one side; ")
    assert "; nothing was written\n" in done.err
    assert not (folder / "no.safetensors").exists()


def test_what_cannot_be_run_is_refused_as_bad_usage(convert, folder):
    done = convert("model.keras", "no.safetensors", "--json")
    assert done.code == 2
    text = "cannot prove a drafted mapping: nothing says how to build the PyTorch module"
    assert done.err == f"error: {text}\n  hint  --torch network.py:build\n"
    assert json.loads(done.out)["error"]["summary"] == text
    assert not (folder / "no.safetensors").exists()


def test_what_builds_models_is_refused_where_nothing_is_drafted(convert, folder):
    done = convert("model.keras", "no.safetensors", "--torch", "network.py:Net",
                    mapping="by-kind")  # fmt: skip
    assert done.code == 2
    text = "cannot use --keras or --torch: they build models for --mapping auto alone"
    assert done.err == f"error: {text}\n"
