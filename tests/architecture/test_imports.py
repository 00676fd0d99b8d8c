"""Reading and converting files needs no deep-learning framework, and starting needs no time."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.keras_files import save_small_network

FRAMEWORKS = ("torch", "keras", "tensorflow", "jax", "onnx", "transformers", "keras_hub", "sklearn")
HEAVY = (*FRAMEWORKS, "h5py", "numpy", "rich")


def loaded(code: str, names: tuple[str, ...], *arguments: str) -> list[str]:
    """Run code in a fresh interpreter; return which of the named packages it imported."""
    ending = f"import json, sys; print(json.dumps([n for n in {names!r} if n in sys.modules]))"
    answer = subprocess.run(
        [sys.executable, "-c", f"{code}\n{ending}", *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(answer.stdout.splitlines()[-1])


def command(*arguments: str) -> str:
    """Return code that runs the command line to its end."""
    return (
        "import sys\n"
        f"sys.argv = ['converter', *{arguments!r}]\n"
        "from converter.cli.app import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code"
    )


@pytest.mark.parametrize("name", ["json", "converter.errors"])
def test_the_check_is_able_to_fail(name):
    assert loaded(f"import {name}", (name,)) == [name]


def test_importing_the_package_loads_no_framework():
    assert loaded("import converter", FRAMEWORKS) == []


def test_every_public_name_can_be_had_without_a_framework():
    code = "import converter\nfor name in converter.__all__: getattr(converter, name)"
    assert loaded(code, FRAMEWORKS) == []


def test_the_version_needs_nothing_heavy():
    assert loaded(command("--version"), HEAVY) == []


def test_listing_formats_needs_nothing_heavy():
    assert loaded(command("formats"), HEAVY) == []


@pytest.mark.frameworks
def test_converting_file_to_file_loads_no_framework(tmp_path: Path):
    source = save_small_network(tmp_path / "tiny.keras")
    target = tmp_path / "tiny.safetensors"
    assert loaded(command("convert", str(source), str(target)), FRAMEWORKS) == []
    back = tmp_path / "back.weights.h5"
    arguments = ("convert", str(target), str(back), "--like", str(source))
    assert loaded(command(*arguments), FRAMEWORKS) == []
    assert back.stat().st_size > 0


def test_inspecting_loads_no_framework(tmp_path: Path):
    file = tmp_path / "a.npz"
    np.savez(file, kernel=np.zeros((3, 4), np.float32))
    assert loaded(command("inspect", str(file)), FRAMEWORKS) == []
