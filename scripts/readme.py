"""The README's commands, run: what they print is what the page shows.

``python3 scripts/readme.py`` writes the output of every command into the page; the test suite runs
the same commands and compares. Every ``console`` block runs in one folder, in the order of the
page. A line that begins with ``$ `` is a command; what follows is what it prints, on both streams.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import environment

README = environment.ROOT / "README.md"
RECORD = environment.ROOT / "tests" / "fixtures" / "training.jsonl"
PICTURE = re.compile(r"!\[[^]]*\]\((?P<path>[^):]+)\)")
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", flags=re.MULTILINE | re.DOTALL)
# What differs from run to run or from machine to machine: times, and errors of rounding.
VARYING = re.compile(r"\b\d+\.\d+ s\b|\b\de\+\d+x|\b\d\.\d+e[-+]\d+|\b\d+\.\dx|(?<= at )\[.*?\]")


def main() -> int:
    """Write what the commands print into the page."""
    environment.enter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        page = README.read_text(encoding="utf-8")
        page = BLOCK.sub(lambda block: _filled(block[0], folder), page)
        README.write_text(page, encoding="utf-8")
        for picture in pictures(page):
            shutil.copy(folder / picture.name, picture)
    return 0


def prepare(folder: Path) -> None:
    """Write the files that the commands begin with: two networks that Keras saved, untrained.

    And the record of a training of the small one, as ``scripts/track_training.py`` wrote it.

    The small one is there fresh, and with random weights as if it were trained: in a fresh one, a
    BatchNormalization holds nothing but ones and zeros, and ``validate`` says that they prove
    nothing.
    """
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import demo
    import keras
    import numpy as np

    model = demo.build_keras()
    model.save(folder / "fresh.keras")
    generator = np.random.default_rng(0)
    for variable in model.weights:
        value = generator.uniform(0.1, 1.0, variable.shape)
        variable.assign((value if "variance" in variable.path else value - 0.5).astype("float32"))
    model.save(folder / "digits.keras")
    keras.backend.clear_session()
    keras.applications.DenseNet121(weights=None).save(folder / "densenet121.keras")
    text = (environment.ROOT / "scripts" / "digits_network.py").read_text(encoding="utf-8")
    (folder / "network.py").write_text(text, encoding="utf-8")
    shutil.copy(RECORD, folder)
    wrong = text.replace("eps=1e-3", "eps=1e-5")  # PyTorch's default, forgotten so often
    (folder / "wrong.py").write_text(wrong, encoding="utf-8")


def blocks(page: str) -> list[str]:
    """Return the bodies of the console blocks of a page."""
    return BLOCK.findall(page)


def pictures(page: str) -> list[Path]:
    """Return the pictures that a page shows; the commands of its blocks write files called so."""
    return [environment.ROOT / found["path"] for found in PICTURE.finditer(page)]


def sessions(block: str) -> list[tuple[str, str]]:
    """Return each command of a block with what it prints."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


def run(command: str, folder: Path) -> str:
    """Run one command in a folder; return what it prints, without blank lines at the end.

    Raises:
        ValueError: If it is not our own command.
    """
    program, *arguments = shlex.split(command)
    if program != "converter":
        raise ValueError(f"the page may only run our own command, not {program!r}")
    ours, variables = environment.our_command()
    answer = subprocess.run(
        [*ours, *arguments],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return answer.stdout.rstrip("\n")


def comparable(text: str) -> str:
    """Return a text without what differs from run to run."""
    return VARYING.sub("~", text).rstrip("\n")


def _filled(block: str, folder: Path) -> str:
    parts = [f"$ {command}\n{run(command, folder)}\n" for command, _ in sessions(block)]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
