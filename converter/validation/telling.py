"""A report as text: the verdict first, then what it rests on, on one screen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from converter.validation.outcomes import Control

if TYPE_CHECKING:
    from converter.validation.report import Report, Row

MAX_ROWS = 12
NOT_ASKED = "not asked for"  # levels that the user left out are no news
MAX_FINDINGS = 6
_ORDER = {"fail": 0, "warn": 1, "pass": 2}


def lines(report: Report) -> list[str]:
    """Return a report as lines of text."""
    return [
        heading(report),
        *levels(report),
        *(f"  {row.line()}" for row in shown_rows(report)),
        *_left_out(len(report.rows), MAX_ROWS, "rows"),
        *controls(report),
        *(f"  {text}" for one in report.findings[:MAX_FINDINGS] for text in one.lines()),
        *_left_out(len(report.findings), MAX_FINDINGS, "layers"),
        *(f"  note  {notice}" for notice in report.notices),
    ]


def heading(report: Report) -> str:
    """Return the verdict and what it is about, in one line.

    Examples:
        >>> from converter.validation.report import Report, Row
        >>> heading(Report("outputs", (Row("output", "output", "pass", (3, 10), 2e-7, 1e-7),), 1))
        'pass: 1 output compared, at most 2.0x the noise floor'
        >>> heading(Report("values", (), 11))
        'pass: 11 tensors compared, none differs'
    """
    if not report.compared:
        return f"{report.verdict}: nothing was compared"
    is_run = report.level.startswith("outputs")
    what = _plural(report.compared, "output" if is_run else "tensor")
    if report.level in ("mapping", "structure"):
        problems = _plural(len(report.rows), "problem")
        told = f"{problems} of names, shapes and kinds" if report.rows else what
        return f"{report.verdict}: {told}, no value compared"
    return f"{report.verdict}: {what} compared{_bad(report) or _distance(report, is_run=is_run)}"


def _bad(report: Report) -> str:
    counts = {one: sum(row.verdict == one for row in report.rows) for one in ("fail", "warn")}
    return "".join(f", {count} {one}" for one, count in counts.items() if count)


def _distance(report: Report, *, is_run: bool) -> str:
    if not is_run:
        return ", none differs"
    floors = [row.floors for row in report.rows if row.floors is not None]
    return f", at most {times(max(floors))} the noise floor" if floors else ", all equal"


def outputs_text(report: Report) -> str:
    """Return what a comparison of outputs found, in one line without the verdict."""
    what = _plural(len(report.rows), "output")
    return f"{what}{_bad(report) or _distance(report, is_run=True)}"


def levels(report: Report) -> list[str]:
    """Return one aligned line for each level."""
    shown = (one for one in report.levels if one.sentence != NOT_ASKED)
    return [f"  {one.name:<14}  {one.status:<7}  {one.sentence}" for one in shown]


def shown_rows(report: Report) -> list[Row]:
    """Return the rows that fit on a screen: the worst, in the order of the report."""

    def rank(row: Row) -> tuple[int, float]:
        error = row.error if row.error is not None and not math.isnan(row.error) else math.inf
        return _ORDER[row.verdict], -error

    chosen = sorted(report.rows, key=rank)[:MAX_ROWS]
    return [row for row in report.rows if any(row is one for one in chosen)]


def controls(report: Report) -> list[str]:
    """Return what came of the comparisons that had to fail."""
    if not report.controls:
        return []
    missed = [one for one in report.controls if not one.is_detected]
    count = _plural(len(report.controls), "broken plan")
    if not missed:
        nearest = min(one.floors for one in report.controls)
        noun = "it" if len(report.controls) == 1 else "all of them"
        return [f"  controls  {count} compared, {noun} failed, by {times(nearest)} floor or more"]
    return [
        f"  controls  {count} compared, {len(missed)} not seen: too weak to prove anything",
        *(f"    {control_text(one)}" for one in missed),
    ]


def control_text(control: Control) -> str:
    """Return one control as a line."""
    why = f" ({control.note})" if control.note else ""
    return f"{control.kind}: {control.what}: {times(control.floors)} floor{why}"


def times(ratio: float | None) -> str:
    """Return a number of noise floors.

    Examples:
        >>> times(1.72), times(48231.0), times(math.inf)
        ('1.7x', '5e+04x', 'infinite')
    """
    if ratio is not None and math.isinf(ratio):
        return "infinite"
    return f"{ratio:.1f}x" if ratio is not None and ratio < 1e4 else f"{ratio:.0e}x"


def _left_out(count: int, limit: int, noun: str) -> Iterator[str]:
    if count > limit:
        yield f"  ... and {count - limit:,} more {noun} (--json has all)"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
