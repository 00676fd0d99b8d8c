"""The tables of the bench: what was found in each planted fault, and in each right pair.

A test adds the row that it measured to its own report, as :mod:`support.outcomes` does. At the end
of the run the rows are in ``report/faults.md``; with ``WEIGHTFERRY_FAULTS=write`` they also replace
their predecessors in ``tests/faults/RESULTS.md``, the copy that is committed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from converter.validation.findings import Finding

FILE = Path("report") / "faults.md"
RESULTS = Path(__file__).parents[1] / "faults" / "RESULTS.md"
IS_RECORDING = os.environ.get("WEIGHTFERRY_FAULTS") == "write"


@dataclass(frozen=True)
class FaultRow:
    """One planted fault: where and why it is, by what is found."""

    fault: str
    pair: str
    layer: str
    cause: str
    error: str
    floor: str
    left_when_undone: str
    named: str


@dataclass(frozen=True)
class RightRow:
    """One right pair: the verdict, and what the search for causes claims."""

    right_pair: str
    origin: str
    verdict: str
    error_in_floors: str
    layers: str
    controls: str
    weakest_control: str
    causes_claimed: str


Row = FaultRow | RightRow
KINDS = {"planted fault": FaultRow, "right pair": RightRow}
STABLE = {FaultRow: ("fault", "pair", "layer", "cause", "named"),
          RightRow: ("right_pair", "origin", "verdict", "causes_claimed")}  # fmt: skip


def fault_row(fault: Sequence[Any], found: Sequence[Finding]) -> FaultRow:
    """Return the row of a fault from what was found."""
    name, pair, _, place, cause = fault
    layers = ", ".join(one.layer for one in found)
    causes = ", ".join(one.cause or "unknown" for one in found)
    left = [min(one.evidence.values(), default=one.error) for one in found]
    return FaultRow(
        name,
        pair,
        layers,
        causes,
        ", ".join(f"{one.error:.1e}" for one in found),
        ", ".join(f"{one.floor:.0e}" for one in found),
        ", ".join(f"{one:.0e}" for one in left),
        "right" if (layers, causes) == (place, cause) else "wrong",
    )


def add(node: pytest.Item, row: Row) -> None:
    name = next(name for name, kind in KINDS.items() if isinstance(row, kind))
    node.user_properties.append((name, astuple(row)))


def measured(terminal: pytest.TerminalReporter) -> list[Row]:
    """Return the rows of all tests, those that failed among them."""
    reports = [*terminal.stats.get("passed", []), *terminal.stats.get("failed", [])]
    return [
        KINDS[name](*value)
        for found in reports
        for name, value in found.user_properties
        if name in KINDS and found.when == "call"
    ]


def table(rows: Iterable[Row]) -> list[str]:
    """Return the lines of a table; its first column is the name of the row."""
    rows = list(rows)
    if not rows:
        return []
    names = [one.name for one in fields(rows[0])]
    heads = [name.replace("_", " ") for name in names]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return lines + [f"| {' | '.join(getattr(row, name) for name in names)} |" for row in rows]


def parse(text: str, kind: type[Row]) -> list[Row]:
    """Return the rows of the table of one kind in a text."""
    names = [one.name for one in fields(kind)]
    head = f"| {names[0].replace('_', ' ')} |"
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith(head)), len(lines))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("| "):
            break
        rows.append(kind(*(cell.strip() for cell in line.strip("|").split("|"))))
    return rows


def document(rows: Sequence[Row]) -> str:
    """Return both tables, with what they say in all."""
    faults = [row for row in rows if isinstance(row, FaultRow)]
    pairs = [row for row in rows if isinstance(row, RightRow)]
    right = sum(row.named == "right" for row in faults)
    causes = {one for row in faults for one in row.cause.split(", ")}
    clean = sum(row.verdict == "pass" and row.causes_claimed == "none" for row in pairs)
    lines = [
        "# The bench of planted faults",
        "",
        "Measured by `tests/faults`, and written from what was found there. A fault is put into a",
        "right pair of models; layer and cause are what is found, with the relative L2 error of",
        "that layer on Keras' own input, its noise floor, and the error left when the cause",
        f"is undone. {right} of {len(faults)} are named right, {len(causes)} causes among them.",
        "TF32 is emulated by rounding the factors of products to 10 bits; on an NVIDIA H200 (torch",
        "2.11) Linear and Conv2d with TF32 differed by 3.0e-04 and were told by it, and with TF32",
        "switched off as `validate` does by 1e-07 and 4e-07.",
        "`tests/faults/test_faults_in_a_process.py` plants the same with Keras in another process.",
        "",
        *table(faults),
        "",
        "# Right pairs",
        "",
        "Nothing is wrong in these, and the search for causes is made to run all the same. The",
        "weakest control is the error of the least visible of the plans broken on purpose, in",
        f"noise floors: 300 are needed. {clean} of {len(pairs)} pass and no cause is claimed.",
        "",
        *table(pairs),
    ]
    return "\n".join(lines) + "\n"


def merged(text: str, rows: Sequence[Row], order: Sequence[str]) -> list[Row]:
    """Return the rows of a text, those measured now in the place of the old ones, in order."""
    known = {_key(row): row for kind in (FaultRow, RightRow) for row in parse(text, kind)}
    known |= {_key(row): row for row in rows}
    places = {name: place for place, name in enumerate(order)}
    return sorted(
        (row for key, row in known.items() if key[1] in places),
        key=lambda row: places[_key(row)[1]],
    )


def _key(row: Row) -> tuple[type[Row], str]:
    return type(row), getattr(row, fields(row)[0].name)


def stable(row: Row) -> tuple[str, ...]:
    """Return what does not change from machine to machine."""
    return tuple(getattr(row, name) for name in STABLE[type(row)])


def report(terminal: pytest.TerminalReporter) -> None:
    """Write the tables where rows were added, and say so."""
    rows = measured(terminal)
    if not rows:
        return
    path = terminal.config.rootpath / FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(document(rows), encoding="utf-8")
    terminal.section("the bench of planted faults")
    terminal.line(f"{len(rows)} rows; the tables are in {FILE}")
    if IS_RECORDING:
        from support.bench import FAULTS
        from support.right_pairs import RIGHT

        order = [fault[0] for fault in FAULTS] + [pair.name for pair in RIGHT]
        before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
        RESULTS.write_text(document(merged(before, rows, order)), encoding="utf-8")
