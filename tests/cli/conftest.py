"""Files to run commands on."""

from pathlib import Path

import pytest
from support.keras_files import save_small_network


@pytest.fixture(autouse=True)
def _checkout_on_the_path(monkeypatch):
    """Let commands that are started in other folders find this package."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def converter(command_line):
    """Return what runs a command line, called as in a terminal."""
    return command_line


@pytest.fixture(scope="session")
def small_keras(tmp_path_factory) -> Path:
    """Return a file that Keras wrote: a convolution, a normalisation, a dense layer."""
    return save_small_network(tmp_path_factory.mktemp("keras") / "small.keras")
