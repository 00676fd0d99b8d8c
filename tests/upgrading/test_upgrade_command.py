"""``converter scaffold --to keras``: what it prints, its exit code, and the proof that can fail."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

import converter
from converter.upgrading.proof import prove

pytestmark = pytest.mark.frameworks

FOLDER = Path(__file__).parents[1] / "fixtures" / "tf_keras"


def test_it_writes_opens_and_says_what_changed(command_line, tmp_path):
    target = tmp_path / "new.keras"
    answer = command_line("scaffold", FOLDER / "gru_after.h5", target, "--json", "--to", "keras")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["verdict"] == "pass"
    assert found["loaded"] is True
    assert found["generation"] == 2
    assert found["tensors"] == 9
    assert len(found["scaled"]) == 9
    assert found["notes"] == [
        "'gru', 'bidirectional': hard_sigmoid was clip(0.2 x + 0.5) and is clip(x / 6 + 0.5) in "
        "Keras 3; what goes into it was multiplied by 1.2."
    ]
    with zipfile.ZipFile(target) as archive:
        assert json.loads(archive.read("metadata.json"))["keras_version"] == "3.15.1"


def test_the_proof_fails_where_two_layers_were_exchanged(command_line, tmp_path):
    source = FOLDER / "cudnn_gru.h5"
    target = tmp_path / "new.keras"
    answer = command_line("scaffold", source, target, "--no-check", "--to", "keras")
    assert answer.out == "wrote new.keras: cudnn_gru.h5 of Keras 2, 5 tensors\n"
    with converter.open(target) as made, converter.open(source) as checkpoint:
        store = dict(made.structure.store)
        exchanged = {**store, "head/bias": store["head/kernel"], "head/kernel": store["head/bias"]}
        assert prove(checkpoint, target, store, ()).verdict == "pass"
        found = prove(checkpoint, target, exchanged, ())
    assert found.verdict == "fail"
    assert sorted(found.differing) == ["head/bias", "head/kernel"]
