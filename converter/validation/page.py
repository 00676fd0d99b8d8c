"""A report as one page of HTML: it needs no network, no script and no other file.

Here the numbers become places in a drawing; the drawing itself, and all words, are in the template.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter._optional import require
from converter.validation import telling
from converter.validation.findings import LayerError
from converter.validation.outcomes import Histogram
from converter.validation.report import PASS_FLOORS, WARN_FLOORS, Report, shape_or_scalar

TEMPLATES = Path(__file__).parent / "templates"
MAX_LAYERS = 400
WIDTH, HEIGHT = 860.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 14.0, 34.0
_SMALLEST = 1e-9


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a drawing, in its units, and what it says when it is pointed at."""

    x: float
    y: float
    title: str = ""
    height: float = 0.0
    width: float = 0.0
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis and what stands there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Depth:
    """The error of each layer by its place in the model."""

    own: tuple[Mark, ...]
    accumulated: tuple[Mark, ...]
    floor: str
    ticks: tuple[Tick, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Bars:
    """A histogram of two sides, and one of their differences."""

    name: str
    first: tuple[Mark, ...]
    second: tuple[Mark, ...]
    values: tuple[Tick, ...]
    differences: tuple[Mark, ...]
    decades: tuple[Tick, ...]


def page(report: Report) -> str:
    """Return the page.

    Raises:
        MissingDependencyError: If jinja2 is not installed.
    """
    jinja2 = require("jinja2", why="cannot write a report as a page", extra="plots")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "shape": shape_or_scalar, "floors": telling.times}
    text: str = environment.get_template("report.html.jinja").render(
        report=report,
        heading=telling.heading(report),
        depth=depth(report.trace),
        bars=bars(report.histogram) if report.histogram is not None else None,
        settings=dict(_flat(report.settings)),
        bands=(PASS_FLOORS, WARN_FLOORS),
        missed=[one for one in report.controls if not one.is_detected],
        size=(WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM),
        max_layers=MAX_LAYERS,
    )
    return text


def number(value: float | None) -> str:
    """Return a number as a person reads it; nothing for none.

    Examples:
        >>> number(3.21e-7), number(None), number(float("inf"))
        ('3.2e-07', '', 'inf')
    """
    return "" if value is None else f"{value:.1e}"


def depth(trace: Sequence[LayerError]) -> Depth | None:
    """Return the drawing of the error by depth; ``None`` without a trace."""
    if not trace:
        return None
    known = [one.error for one in trace] + [one.floor for one in trace]
    known += [one.accumulated_error for one in trace]
    finite = [one for one in known if one is not None and math.isfinite(one) and one > 0]
    low = math.floor(math.log10(max(_SMALLEST, min(finite, default=1e-7))))
    high = max(low + 1, math.ceil(math.log10(max(finite, default=1e-6))))
    step = (WIDTH - LEFT - RIGHT) / max(1, len(trace) - 1)

    def place(index: int, value: float) -> tuple[float, float]:
        share = 1.0 if not math.isfinite(value) else 0.0
        if math.isfinite(value) and value > 0:
            share = min(1.0, max(0.0, (math.log10(value) - low) / (high - low)))
        return LEFT + step * index, HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def mark(index: int, one: LayerError, value: float) -> Mark:
        is_bad = one.floor is not None and not value <= WARN_FLOORS * max(one.floor, 2.0**-24)
        return Mark(*place(index, value), f"{one.layer}: {value:.1e}", is_bad=is_bad)

    floors = [(place(i, one.floor)) for i, one in enumerate(trace) if one.floor is not None]
    every = max(1, (high - low) // 8)
    return Depth(
        tuple(mark(index, one, one.error) for index, one in enumerate(trace)),
        tuple(
            mark(index, one, one.accumulated_error)
            for index, one in enumerate(trace)
            if one.accumulated_error is not None
        ),
        " ".join(f"{x:.1f},{y:.1f}" for x, y in floors),
        tuple(
            Tick(place(0, 10.0**power)[1], f"1e{power}") for power in range(low, high + 1, every)
        ),
        len(trace),
    )


def bars(found: Histogram) -> Bars:
    """Return the drawing of a histogram; both halves are as wide as half of the page."""
    width, base = WIDTH / 2 - LEFT - RIGHT, HEIGHT - BOTTOM
    most = max([*found.first, *found.second, 1])
    wide = width / max(1, len(found.first))
    places = [0, len(found.edges) // 2, len(found.edges) - 1]
    values = tuple(Tick(LEFT + wide * one, f"{found.edges[one]:.3g}") for one in places)
    differing = width / max(1, len(found.differences))
    shown = range(0, len(found.decades), 3)
    return Bars(
        found.name,
        _bars(found.first, most, wide, base, found.edges),
        _bars(found.second, most, wide, base, found.edges),
        values,
        _bars(found.differences, max([*found.differences, 1]), differing, base, ()),
        tuple(Tick(LEFT + differing * one, f"1e{found.decades[one]}") for one in shown),
    )


def _bars(
    counts: Sequence[int], most: int, width: float, base: float, edges: Sequence[float]
) -> tuple[Mark, ...]:
    marks = []
    for index, count in enumerate(counts):
        height = (base - TOP) * math.sqrt(count / most)  # square root: rare values stay visible
        title = f"{count:,}"
        if edges:
            title = f"{edges[index]:.3g} to {edges[index + 1]:.3g}: {count:,}"
        x = LEFT + width * index
        marks.append(Mark(x, base - height, title, height=height, width=max(0.5, width - 1)))
    return tuple(marks)


def _flat(settings: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}: ")
        else:
            yield f"{prefix}{name}".replace("_", " "), str(value)
