"""Settings for every test, made before a framework is imported."""

from __future__ import annotations

import os
import tempfile

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
