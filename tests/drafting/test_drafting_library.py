"""Drafts of the pairs of the mapping library, whose mappings the draft does not see.

One pair for each mapping, small. What is measured stands in ``report/drafting_library.md`` after a
run: the shares with names as they are, and with meaningless ones, and how long the files are.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.drafting_library import Drafted, draft_case

from converter.mapping import library

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles, pytest.mark.long]

REPORT = Path(__file__).parents[2] / "report" / "drafting_library.md"
WAYS = {"names": (True, False), "no names": (False, False), "names, outputs": (True, True)}


def _pairs() -> Iterator[tuple[str, str]]:
    for name in library.names():
        yield name, next(iter(library.get(name).proofs))


@pytest.fixture(scope="module")
def bench() -> dict[str, dict[str, Drafted]]:
    found = {
        f"{name}, {case}": {
            way: draft_case(name, case, named=named, run=run) for way, (named, run) in WAYS.items()
        }
        for name, case in _pairs()
    }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(_table(found), encoding="utf-8")
    return found


def shares(found: dict[str, dict[str, Drafted]], way: str) -> tuple[float, float]:
    """Return the share of layers and the share of models that are right, in percent."""
    every = [ways[way].measured for ways in found.values()]
    layers = 100 * sum(one.right for one in every) / sum(one.layers for one in every)
    return round(layers, 1), round(100 * sum(one.is_right for one in every) / len(every), 1)


def lengths(found: dict[str, dict[str, Drafted]]) -> list[float]:
    """Return the rows of each right draft against those of the library's mapping."""
    drafts = [ways["names"] for ways in found.values()]
    return [one.rows / one.own_rows for one in drafts if one.measured.is_right]


def _table(found: dict[str, dict[str, Drafted]]) -> str:
    lines = [f"| pair | {' | '.join(WAYS)} | rows, the library's |"]
    lines.append("| --- |" + " ---: |" * (len(WAYS) + 1))
    for name, ways in found.items():
        measured = [one.measured for one in ways.values()]
        cells = [f"{one.right}/{one.layers}{' proved' * one.is_proved}" for one in measured]
        rows = ways["names"]
        lines.append(f"| {name} | {' | '.join(cells)} | {rows.rows}, {rows.own_rows} |")
    sums = ["{} % of layers, {} % of models".format(*shares(found, way)) for way in WAYS]
    median = statistics.median(lengths(found))
    lines.append(f"| all {len(found)} | {' | '.join(sums)} | median {median:.2f} |")
    return "\n".join(lines) + "\n"


def test_nothing_wrong_is_ever_proved(bench):
    every = [(name, one.measured) for name, ways in bench.items() for one in ways.values()]
    assert [name for name, one in every if one.is_proved and not one.is_right] == []


def test_files_are_about_as_long_as_those_of_the_library(bench):
    assert statistics.median(lengths(bench)) <= 1.5
