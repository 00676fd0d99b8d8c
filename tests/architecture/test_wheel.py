"""What users install holds the mappings and the command, and nothing that is ours alone."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    code = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    answer = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return folder / answer.stdout.splitlines()[-1]


def test_the_wheel_carries_every_mapping_inside_the_package(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {f"converter/mappings/{file.name}" for file in (ROOT / "mappings").glob("*.toml")}
    assert ours
    assert ours <= names
    assert "converter/py.typed" in names
    assert "converter/validation/templates/report.html.jinja" in names
    assert not {name.split("/")[0] for name in names} & {"tests", "scripts", "mappings"}


def test_the_installed_wheel_finds_its_mappings_and_runs(wheel: Path, tmp_path: Path):
    """The package as unpacked from the wheel, not the checkout."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import converter, pathlib\n"
        f"assert pathlib.Path(converter.__file__).is_relative_to({str(tmp_path)!r})\n"
        "from converter.mapping.places import mapping_folders\n"
        f"assert mapping_folders()[0].is_relative_to({str(tmp_path)!r})\n"
        "import sys; sys.argv = ['converter', '--version']\n"
        "from converter.cli.app import main; main()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert answer.stdout.startswith("converter ")
