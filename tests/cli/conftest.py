"""Files to run commands on, and the command line itself, in this process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.keras_files import save_small_network


@dataclass(frozen=True)
class Outcome:
    """What one command left: its exit code and both streams."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _checkout_on_the_path(monkeypatch):
    """Let commands that are started in other folders find this package."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def converter(capsys, monkeypatch) -> Callable[..., Outcome]:
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


@pytest.fixture(scope="session")
def small_keras(tmp_path_factory) -> Path:
    """Return a file that Keras wrote: a convolution, a normalisation, a dense layer."""
    return save_small_network(tmp_path_factory.mktemp("keras") / "small.keras")
