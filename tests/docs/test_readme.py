"""The README's commands print what it says; 'python3 scripts/readme.py' writes it anew.

Here they run in this process, where PyTorch and Keras are imported once, and there each in its own.
"""

import contextlib
import io
import shlex
import sys
from pathlib import Path

import pytest
import readme
from matplotlib.image import imread


def _run(command: str, monkeypatch) -> str:
    """Run a command of the page and return what it prints on both streams."""
    import keras

    from converter.cli.app import main

    keras.backend.clear_session()  # as in a process of its own, names count from one
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        contextlib.suppress(SystemExit),
    ):
        main()
    return printed.getvalue()


@pytest.mark.frameworks
def test_the_readme_shows_what_its_commands_print(tmp_path: Path, monkeypatch):
    readme.prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    page = readme.README.read_text(encoding="utf-8")
    shown = [session for block in readme.blocks(page) for session in readme.sessions(block)]
    assert len(shown) >= 5
    for command, expected in shown:
        printed = _run(command, monkeypatch)
        assert readme.comparable(printed) == readme.comparable(expected), f"$ {command}"
    pictures = readme.pictures(page)
    assert [picture.name for picture in pictures] == ["training.png"]
    for picture in pictures:
        made, shown = imread(tmp_path / picture.name), imread(picture)
        assert made.shape == shown.shape
        assert made.tobytes() == shown.tobytes(), f"{picture.name} is not what the command draws"


def test_console_blocks_are_found_and_taken_apart():
    """The test above would pass on a page in which it sees nothing."""
    page = "x\n```console\n$ converter formats\na\nb\n\n$ converter --version\nc\n```\ny\n"
    assert readme.sessions(readme.blocks(page)[0]) == [
        ("converter formats", "a\nb\n\n"),
        ("converter --version", "c\n"),
    ]


def test_only_times_and_roundings_are_left_out_of_the_comparison():
    assert readme.comparable("41 tensors, 0.12 s\n") == "41 tensors, ~"
    assert readme.comparable("L2 3.10e-07  1.5x floor at [0, 3]") == "L2 ~  ~ floor at ~"
    assert readme.comparable("fail  8.01e-01") != readme.comparable("pass  8.01e-08")
    assert readme.comparable("law exact") != readme.comparable("law canonical")


def test_the_page_runs_no_command_but_ours(tmp_path: Path):
    with pytest.raises(ValueError, match="only run our own command, not 'rm'"):
        readme.run("rm -r /", tmp_path)


@pytest.mark.frameworks
def test_the_module_on_the_page_is_the_one_that_scaffold_writes(tmp_path: Path):
    readme.prepare(tmp_path)
    readme.run("converter scaffold digits.keras digits_net.py --no-check", tmp_path)
    text = (tmp_path / "digits_net.py").read_text(encoding="utf-8")
    written = text[text.index("class Digits") :]
    assert f"```python\n{written}```" in readme.README.read_text(encoding="utf-8")
