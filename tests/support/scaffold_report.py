"""What scaffolding made of whole models, as tables beside the test report.

A test gives a row. Rows of one file are kept from run to run, each replaced when its test runs
again, so that a table that takes a quarter of an hour can be filled a family at a time.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import ClassVar

from filelock import FileLock

FOLDER = Path(__file__).parents[2] / "report"


@dataclass(frozen=True, order=True)
class Application:
    """One constructor of keras.applications at one size.

    ``floors`` is the relative L2 error of the worst output in units of its noise floor; the limit
    of the tests is 30.
    """

    FILE: ClassVar[str] = "scaffold.md"
    HEAD: ClassVar[str] = "constructor | size | top | reference | lines | floors"
    ALIGN: ClassVar[str] = "--- | --- | --- | --- | ---: | ---:"
    KEY: ClassVar[int] = 4

    name: str
    size: str
    top: str
    reference: str
    lines: int
    floors: str


@dataclass(frozen=True, order=True)
class SharedFile:
    """One full-model Keras file of strangers."""

    FILE: ClassVar[str] = "scaffold-files.md"
    HEAD: ClassVar[str] = "file | reference | Keras | lines | outputs"
    ALIGN: ClassVar[str] = "--- | --- | --- | ---: | ---"
    KEY: ClassVar[int] = 2

    name: str
    reference: str
    keras: str
    lines: str
    outputs: str


def note(row: Application | SharedFile) -> None:
    """Put a row into its table, in the place of an older one of the same model."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / row.FILE
    with FileLock(path.with_suffix(".lock")):  # tests run in several processes
        _replace(path, row)


def _replace(path: Path, row: Application | SharedFile) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()[2:] if path.exists() else []
    rows = {_key(line, row.KEY): line for line in lines}
    made = f"| {' | '.join(map(str, astuple(row)))} |"
    rows[_key(made, row.KEY)] = made
    head = [f"| {row.HEAD} |", f"| {row.ALIGN} |"]
    path.write_text("\n".join([*head, *sorted(rows.values())]) + "\n", encoding="utf-8")


def _key(line: str, count: int) -> tuple[str, ...]:
    return tuple(line.split(" | ")[:count])
