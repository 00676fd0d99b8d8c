"""Scaffolded modules give Keras' outputs: small models of every kind that people write."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.scaffold_models import MODELS
from support.scaffolding import scaffold_and_compare

pytestmark = pytest.mark.frameworks


@pytest.fixture(autouse=True)
def _fresh_names():
    import keras

    keras.backend.clear_session()


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_small_model_loads_strictly_and_gives_the_same_outputs(name):
    compared = scaffold_and_compare(MODELS[name]())
    assert compared.source.stubs == {}
    assert compared.report.verdict == "pass", "\n".join(compared.report.lines())


def test_a_wrong_setting_in_the_source_is_seen():
    """The comparison above is able to fail: a padding on the other side, a gate's activation."""
    from support.scaffolding import run_source

    import converter
    from converter.validation.validate import Options, validate

    model = MODELS["multi_input_and_output"]()
    compared = scaffold_and_compare(model)
    text = compared.source.text
    assert "(0, 1, 0, 1)" in text
    from dataclasses import replace

    module = run_source(replace(compared.source, text=text.replace("(0, 1, 0, 1)", "(1, 0, 1, 0)")))
    module.load_state_dict(converter.plan(model, mapping="by-kind", to="torch").state_dict())
    report = validate(model, module, options=Options(control_seconds=0))
    assert report.verdict == "fail"


@pytest.mark.parametrize("name", ["u_net", "squeeze_and_excite", "recurrent_variants", "crnn"])
def test_the_source_is_formatted_and_sound(name, tmp_path):
    compared = scaffold_and_compare(MODELS[name]())
    file = tmp_path / "net.py"
    file.write_text(compared.source.text, encoding="utf-8")
    for command in (
        ("format", "--check", "--isolated", "--line-length", "100"),
        ("check", "--isolated", "--line-length", "100", "--select", "E,F,W,I,B,PIE,RET,SIM,UP"),
    ):
        answer = subprocess.run(
            [sys.executable, "-m", "ruff", *command, str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stdout + compared.source.text


def test_repeated_blocks_are_written_once():
    text = scaffold_and_compare(MODELS["squeeze_and_excite"]()).source.text
    assert text.count('_conv", nn.Conv2d') == 1
    assert 'for i in range(1, 4):\n            x = self._block(x, f"block{i}")' in text
