"""``converter scaffold`` on files: what it writes and says, what cannot be translated."""

from __future__ import annotations

import json
from pathlib import Path

import oracles
import pytest
from support.scaffold_models import MODELS

import converter
from converter.errors import TargetExistsError, UsageError
from converter.scaffold.scaffolding import Wishes, scaffold_file

pytestmark = pytest.mark.frameworks


def _scaffolded(source: Path, tmp_path: Path, **wishes):
    with converter.open(source) as checkpoint:
        return scaffold_file(checkpoint, tmp_path / "net.py", Wishes(**wishes))


def _save(model, path: Path) -> Path:
    oracles.randomise_keras(model)
    model.save(path)
    return path


def test_the_command_writes_proves_and_says_so(command_line, tmp_path, monkeypatch):
    _save(MODELS["u_net"](), tmp_path / "a net.keras")
    monkeypatch.chdir(tmp_path)
    answer = command_line("scaffold", "a net.keras", "net.py", "--weights", "net.safetensors")
    assert answer.code == 0, answer.err
    first, second, third, fourth = answer.out.splitlines()
    assert first.startswith("wrote net.py: class ")
    assert second == "wrote net.safetensors"
    assert third == "loads its weights, strictly, in a process of its own"
    assert fourth.startswith("pass: output mask, ")
    again = command_line("scaffold", "a net.keras", "net.py")
    assert again.code == 2
    assert "it exists" in again.err


def test_json_says_what_was_written(command_line, tmp_path):
    source = _save(MODELS["flattened_twice"](), tmp_path / "m.keras")
    answer = command_line("scaffold", source, tmp_path / "net.py", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["verdict"] == "pass"
    assert found["loaded"] is True
    assert found["stubs"] == []


def _with_lambda(tmp_path: Path) -> Path:
    import keras

    x = rows = keras.Input((5,))
    x = keras.layers.Dense(4, name="before")(x)
    x = keras.layers.Lambda(lambda v: v * 2, name="double", output_shape=(4,))(x)
    model = keras.Model(rows, keras.layers.Dense(3, name="after")(x))
    return _save(model, tmp_path / "lambda.keras")


def test_what_is_code_becomes_a_stub_and_is_named(tmp_path):
    found = _scaffolded(_with_lambda(tmp_path), tmp_path)
    assert dict(found.source.stubs) == {"double": "a Lambda is Python code, which is not run"}
    assert not found.is_complete
    assert found.checked is not None
    assert found.checked.loaded
    assert "raise NotImplementedError" in found.source.text


def test_a_translation_of_ones_own_takes_the_place_of_the_stub(tmp_path):
    custom = tmp_path / "mine.py"
    custom.write_text(
        "from converter.scaffold.custom import translates\n"
        "@translates('Lambda')\n"
        "def double(t):\n"
        "    t.give(t.write((t.use('keras'), ' * 2')), 'keras')\n"
    )
    found = _scaffolded(_with_lambda(tmp_path), tmp_path, custom=custom)
    assert found.is_complete
    assert "self.after(x * 2)" in found.source.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "it raises ZeroDivisionError"),
        ("x = 1", "it registers none"),
    ],
)
def test_a_file_of_translations_that_is_none(tmp_path, text, message):
    custom = tmp_path / "mine.py"
    custom.write_text(text)
    with pytest.raises(UsageError) as caught:
        _scaffolded(_with_lambda(tmp_path), tmp_path, custom=custom)
    assert caught.value.summary == f"cannot use the translations of '{custom}': {message}"
    assert not (tmp_path / "net.py").exists()


def test_an_existing_file_stays(tmp_path):
    source = _save(MODELS["flattened_twice"](), tmp_path / "m.keras")
    (tmp_path / "net.py").write_text("mine")
    with pytest.raises(TargetExistsError):
        _scaffolded(source, tmp_path)
    assert (tmp_path / "net.py").read_text() == "mine"


def test_a_stub_holds_the_weights_of_its_layer(tmp_path):
    """A layer whose setting has no translation stands in the module with all its weights."""
    import keras

    steps = keras.Input((5, 3))
    own = keras.layers.LSTM(4, activation="mish", return_sequences=True, name="own")
    x = keras.layers.Bidirectional(own, name="both")(steps)
    model = keras.Model(steps, keras.layers.LayerNormalization(axis=1, name="rows")(x))
    found = _scaffolded(_save(model, tmp_path / "m.keras"), tmp_path)
    assert dict(found.source.stubs) == {
        "both": "cannot scaffold a recurrent layer with activation mish",
        "rows": "cannot scaffold 'rows': it normalises axes [1]",
    }
    assert not found.is_complete
    assert found.checked is not None
    assert found.checked.loaded, found.checked.why_not
