"""Causes on the command line, and the switch that leaves them out."""

from __future__ import annotations

import pytest
from support.validation_pair import NETWORK, keras_network

from converter import convert

pytestmark = pytest.mark.frameworks


def test_the_command_line_can_leave_causes_out(converter, tmp_path) -> None:
    model = keras_network()
    model.save(tmp_path / "net.keras")
    convert(tmp_path / "net.keras", tmp_path / "net.safetensors")
    wrong = NETWORK.replace("eps=1e-3", "eps=1e-5")
    (tmp_path / "network.py").write_text(wrong)
    arguments = ["validate", str(tmp_path / "net.keras"), str(tmp_path / "net.safetensors")]
    arguments += ["--torch", f"{tmp_path}/network.py:Twin"]
    outcome = converter(*arguments)
    assert outcome.code == 1
    assert "cause  bn / bn  epsilon" in outcome.out
    plain = converter(*arguments, "--no-explain")
    assert plain.code == 1
    assert "cause" not in plain.out
    assert plain.out.splitlines()[0] == outcome.out.splitlines()[0]
