"""The README's commands are run, and print what it says.

Every ``console`` block runs in one folder, in the order of the page. A line that begins with
``$ `` is a command; what follows is what it prints. Times differ from run to run and are not
compared; nothing else is left out.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.readme_files import prepare

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECONDS = re.compile(r"\b\d+\.\d+ s\b")


def blocks(text: str) -> list[str]:
    """Return the bodies of the console blocks of a page."""
    return re.findall(r"^```console\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def sessions(block: str) -> list[tuple[str, str]]:
    """Return each command of a block with what it prints."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


def run(command: str, folder: Path) -> str:
    """Run one command as a shell would, with our own interpreter in place of ``converter``."""
    program, *arguments = shlex.split(command)
    assert program == "converter", f"the README may only run our own command, not {program}"
    answer = subprocess.run(
        [sys.executable, "-m", "converter", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout + answer.stderr


@pytest.mark.frameworks
def test_the_readme_shows_what_its_commands_print(tmp_path: Path):
    prepare(tmp_path)
    checked = 0
    for block in blocks(README):
        for command, expected in sessions(block):
            printed = SECONDS.sub("TIME", run(command, tmp_path)).rstrip("\n")
            assert printed == SECONDS.sub("TIME", expected).rstrip("\n"), f"$ {command}"
            checked += 1
    assert checked >= 5


def test_console_blocks_are_found_and_taken_apart():
    """The test above would pass on a page in which it sees nothing."""
    page = "```console\n$ converter formats\na\nb\n$ converter --version\nc\n```\n"
    assert sessions(blocks(page)[0]) == [
        ("converter formats", "a\nb\n"),
        ("converter --version", "c\n"),
    ]
