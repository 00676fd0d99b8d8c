"""The defaults of Keras layers that the graph fills in are those of the installed Keras."""

from __future__ import annotations

import json

import pytest
import record_keras_defaults

pytestmark = pytest.mark.frameworks


def test_recorded_defaults_are_those_of_the_installed_keras():
    """A Keras that changes a default, or has a new class, turns this red: record it anew."""
    found = record_keras_defaults.recorded()
    written = json.loads(record_keras_defaults.FILE.read_text(encoding="utf-8"))
    changed = {
        name for name in found.keys() | written.keys() if found.get(name) != written.get(name)
    }
    assert changed == set(), "python scripts/record_keras_defaults.py writes the file anew"


def test_the_script_writes_the_file_as_it_is(capsys):
    record_keras_defaults.main()
    assert capsys.readouterr().out == record_keras_defaults.FILE.read_text(encoding="utf-8")
