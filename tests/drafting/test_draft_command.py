"""``converter draft``: what it prints, writes and ends with."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.frameworks

KERAS = "support.drafting_pairs:classic"
TORCH = "support.drafting_pairs:Classic"


@pytest.fixture
def draft(command_line, tmp_path, monkeypatch):
    """Return what runs ``converter draft`` in an empty folder."""
    import keras

    keras.backend.clear_session()
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: command_line("draft", *arguments)


def test_a_proved_draft_is_written_and_ends_with_zero(draft, tmp_path):
    answer = draft("--keras", KERAS, "--torch", TORCH, "--out", "classic.toml")
    assert answer.code == 0, answer.err
    last = answer.out.splitlines()[-1]
    assert last == "proved: both models give equal outputs; wrote classic.toml"
    text = (tmp_path / "classic.toml").read_text(encoding="utf-8")
    assert 'name = "classic"' in text
    assert f'keras = "{KERAS}"' in text
    again = draft("--keras", KERAS, "--torch", TORCH, "--out", "classic.toml")
    assert again.code == 2
    assert "cannot write 'classic.toml': it exists" in again.err


def test_json_and_a_draft_that_was_not_proved(draft, tmp_path):
    answer = draft("--keras", KERAS, "--torch", TORCH, "--no-prove", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["complete"] is True
    assert found["proved"] is False
    assert found["verdict"].startswith("not proved: the proof was not asked for")
    assert sum(rule["pairs"] for rule in found["rules"]) == 6


def test_what_is_left_over_ends_with_one_and_offers_hints(draft, tmp_path):
    answer = draft(
        "--keras", KERAS, "--out", "x.toml", "--budget", "5",
        "--torch", "support.drafting_pairs:classic_with_another_head",
    )  # fmt: skip
    assert answer.code == 1
    assert "left over in Keras" in answer.out
    last = answer.out.splitlines()[-1]
    assert last.startswith("not complete: something is left over on one side; ")
    assert last.endswith(" of at most 5 runs of PyTorch; wrote x.toml")


def test_models_that_have_nothing_in_common(draft, tmp_path):
    answer = draft("--keras", KERAS, "--torch", "support.drafting_pairs:Recurrent")
    assert answer.code == 2
    assert answer.err == (
        "error: cannot draft a mapping: no layer of 'support.drafting_pairs:classic' can be a "
        "module of 'support.drafting_pairs:Recurrent'\n"
        "  because  no layer kind pairs their shapes\n"
    )


def test_a_hint_that_is_none(draft, tmp_path):
    answer = draft("--keras", KERAS, "--torch", TORCH, "--hint", "fc1")
    assert answer.code == 2
    assert answer.err.startswith("error: cannot use the hint 'fc1'")
