"""Small files, small functions, telling names, documented public names, no traces of a host."""

import ast
import importlib
import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_FILE = 400
MAX_FUNCTION = 50
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "core", "base_utils", "tools"}
HOST = re.compile(r"(?<![\w.-])/(?:work|root|home/\w+)/")


def tracked(*suffixes: str) -> list[Path]:
    answer = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in answer.stdout.split("\0") if name]
    return [file for file in files if file.suffix in suffixes and file.is_file()]


PYTHON = tracked(".py")


def long_functions(source: str) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = node.body[0]
            spoken = doc.end_lineno - doc.lineno + 1 if ast.get_docstring(node, clean=False) else 0
            lines = node.end_lineno - node.lineno + 1 - spoken
            if lines > MAX_FUNCTION:
                found.append((node.name, lines))
    return found


@pytest.mark.parametrize("file", PYTHON, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_are_small(file: Path):
    source = file.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MAX_FILE
    assert long_functions(source) == []


def test_the_size_gate_is_able_to_fail():
    body = "\n".join("    x = 1" for _ in range(MAX_FUNCTION))
    assert long_functions(f"def f():\n{body}") == [("f", MAX_FUNCTION + 1)]
    assert long_functions(f'def f():\n    """Say.\n\n    More.\n    """\n{body[:-10]}') == []


@pytest.mark.parametrize("file", PYTHON, ids=lambda file: str(file.relative_to(ROOT)))
def test_modules_say_what_they_decide_and_are_no_drawers(file: Path):
    assert file.stem not in DRAWERS
    assert file.parent.name not in DRAWERS
    source = file.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), "a module begins with what it decides"
    assert source.isascii() or "tests" in file.parts


def test_no_file_knows_the_machine_it_was_written_on():
    texts = tracked(".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".json", "")
    found = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in texts
        if file.name != Path(__file__).name
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if HOST.search(line)
    ]
    assert found == []


def test_the_host_check_is_able_to_fail():
    assert HOST.search("open('/work/main/x')")
    assert HOST.search("cd /root/x")
    assert not HOST.search("a/work/b and https://x.org/root/")


def test_ci_runs_the_command_of_the_readme():
    command = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"\n{command.removeprefix('exec ')}\n" in text


def public_names() -> Iterator[str]:
    import converter

    return iter(converter.__all__)


@pytest.mark.parametrize("name", sorted(public_names()))
def test_every_public_name_is_documented(name: str):
    thing = getattr(importlib.import_module("converter"), name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        pytest.skip("a value")
    assert inspect.getdoc(thing)
    assert not str(thing.__doc__).startswith(f"{name}("), "what dataclass makes is no docstring"
