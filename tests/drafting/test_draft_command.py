"""``converter draft``: what it prints, writes and ends with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.frameworks

TESTS = Path(__file__).parents[1]
KERAS = "support.drafting_pairs:classic"
TORCH = "support.drafting_pairs:Classic"


def _run(*arguments: str, folder: Path):
    import os

    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "converter", "draft", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_proved_draft_is_written_and_ends_with_zero(tmp_path):
    answer = _run("--keras", KERAS, "--torch", TORCH, "--out", "classic.toml", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    last = answer.stdout.splitlines()[-1]
    assert last == "proved: both models give equal outputs; wrote classic.toml"
    text = (tmp_path / "classic.toml").read_text(encoding="utf-8")
    assert 'name = "classic"' in text
    assert f'keras = "{KERAS}"' in text
    again = _run("--keras", KERAS, "--torch", TORCH, "--out", "classic.toml", folder=tmp_path)
    assert again.returncode == 2
    assert "cannot write 'classic.toml': it exists" in again.stderr


def test_json_and_a_draft_that_was_not_proved(tmp_path):
    answer = _run("--keras", KERAS, "--torch", TORCH, "--no-prove", "--json", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["complete"] is True
    assert found["proved"] is False
    assert found["verdict"].startswith("not proved: the proof was not asked for")
    assert sum(rule["pairs"] for rule in found["rules"]) == 6


def test_what_is_left_over_ends_with_one_and_offers_hints(tmp_path):
    answer = _run(
        "--keras", KERAS, "--out", "x.toml",
        "--torch", "support.drafting_pairs:classic_with_another_head",
        folder=tmp_path,
    )  # fmt: skip
    assert answer.returncode == 1
    assert "left over in Keras" in answer.stdout
    assert "not complete: something is left over on one side; wrote x.toml" in answer.stdout


def test_models_that_have_nothing_in_common(tmp_path):
    answer = _run("--keras", KERAS, "--torch", "support.drafting_pairs:Recurrent", folder=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr == (
        "error: cannot draft a mapping: no layer of 'support.drafting_pairs:classic' can be a "
        "module of 'support.drafting_pairs:Recurrent'\n"
        "  because  no layer kind pairs their shapes\n"
    )


def test_a_hint_that_is_none(tmp_path):
    answer = _run("--keras", KERAS, "--torch", TORCH, "--hint", "fc1", folder=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: cannot use the hint 'fc1'")
