"""Settings for every test, made before a framework is imported; the command line as a fixture."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from support import fault_table, outcomes

os.environ.setdefault("KERAS_BACKEND", "torch")
# Keras reads and writes keras.json in its home; the user's own is left alone.
_HOME = tempfile.TemporaryDirectory(prefix="weightferry-keras-")
os.environ.setdefault("KERAS_HOME", _HOME.name)

settings.register_profile("default", max_examples=60, deadline=None)
settings.register_profile("long", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("WEIGHTFERRY_HYPOTHESIS", "default"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write what became of the files of strangers and of planted faults, where tests add rows."""
    outcomes.report(terminalreporter)
    fault_table.report(terminalreporter)


@dataclass(frozen=True)
class Outcome:
    """What one command left: its exit code and both streams."""

    code: int
    out: str
    err: str


@pytest.fixture
def command_line(capsys, monkeypatch) -> Callable[..., Outcome]:
    """Return a function that runs a command line as the console script does."""
    from converter.cli.app import main

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["converter", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Outcome(end.value.code, out, err)

    return run
