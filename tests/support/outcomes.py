"""What became of every file of strangers, as a table beside the test report.

A test adds a row to its own report, which comes to the process that sums up also where tests run
in several; at the end of the run the rows are written to ``report/checkpoints.md`` and the summary
says how many there are of each outcome.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest

FILE = Path("report") / "checkpoints.md"
PROPERTY = "file of strangers"


@dataclass(frozen=True, order=True)
class Outcome:
    """One file: its name, what wrote it, how many tensors it has, and what became of them."""

    file: str
    writer: str
    tensors: int
    outcome: str


def add(node: pytest.Item, row: Outcome) -> None:
    node.user_properties.append((PROPERTY, astuple(row)))


def table(rows: list[Outcome]) -> str:
    lines = ["| file | written by | tensors | outcome |", "| --- | --- | ---: | --- |"]
    for row in sorted(rows):
        cells = (str(value).replace("|", "\\|") for value in astuple(row))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def summary(rows: list[Outcome]) -> str:
    counted = Counter(row.outcome.partition(":")[0] for row in rows)
    parts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counted.items()))
    return f"{len(rows)} files: {parts}"


def report(terminal: pytest.TerminalReporter) -> None:
    """Write the table where rows were added, and say so."""
    config = terminal.config
    rows = [
        Outcome(*value)
        for found in terminal.stats.get("passed", [])
        for name, value in found.user_properties
        if name == PROPERTY and found.when == "call"
    ]
    if not rows:
        return
    path = config.rootpath / FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(table(rows), encoding="utf-8")
    terminal.section("files of strangers")
    terminal.line(f"{summary(rows)}; the table is in {FILE}")
