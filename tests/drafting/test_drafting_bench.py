"""A bench of hand-written pairs: how much of a draft is right, and that nothing wrong is proved.

What is measured stands in ``report/drafting.md`` after a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from support.drafting_bench import Measured, measure
from support.drafting_pairs import PAIRS
from support.drafting_sequences import SEQUENCES
from support.drafting_various import VARIOUS
from support.drafting_vision import VISION

pytestmark = pytest.mark.frameworks

BENCH = [*PAIRS, *VISION, *SEQUENCES, *VARIOUS]
REPORT = Path(__file__).parents[2] / "report" / "drafting.md"
# Names as they are or meaningless, and whether both models were run.
WAYS = {
    "names": (True, False),
    "no names": (False, False),
    "names, outputs": (True, True),
    "no names, outputs": (False, True),
}


# The other two ways take minutes too, and are measured with --long.
USUAL = ("names", "no names, outputs")
Bench = dict[str, dict[str, Measured]]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return measured(USUAL)


@pytest.fixture(scope="module")
def rest() -> Bench:
    return measured([way for way in WAYS if way not in USUAL])


def measured(ways: Sequence[str]) -> Bench:
    found = {
        pair.name: {way: measure(pair, named=WAYS[way][0], run=WAYS[way][1]) for way in ways}
        for pair in BENCH
    }
    REPORT.parent.mkdir(exist_ok=True)
    before = REPORT.read_text(encoding="utf-8") if ways[0] not in USUAL and REPORT.exists() else ""
    REPORT.write_text(f"{before}\n{table(found)}".lstrip(), encoding="utf-8")
    return found


def shares(found: Sequence[Measured]) -> tuple[float, float]:
    """Return the share of layers and the share of models that are right, in percent."""
    layers = 100 * sum(one.right for one in found) / sum(one.layers for one in found)
    return round(layers, 1), round(100 * sum(one.is_right for one in found) / len(found), 1)


def table(found: Bench) -> str:
    names = list(next(iter(found.values())))
    lines = [f"| pair | {' | '.join(names)} |", "| --- |" + " ---: |" * len(names)]
    for name, ways in found.items():
        cells = [f"{one.right}/{one.layers}{' proved' * one.is_proved}" for one in ways.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    sums = ["{} % of layers, {} % of models".format(*shares(column(found, way))) for way in names]
    return "\n".join([*lines, f"| all {len(found)} | {' | '.join(sums)} |"]) + "\n"


def column(found: Bench, way: str) -> list[Measured]:
    return [ways[way] for ways in found.values()]


def test_there_are_pairs_enough():
    assert len({pair.name for pair in BENCH}) == len(BENCH) >= 25


def check(found: Bench) -> None:
    """Nothing wrong is proved, what ran is proved, and every layer is right.

    Measured: graphs without values tell every layer of these pairs from the others.
    """
    ways = next(iter(found.values()))
    proved = [(name, one) for name, by in found.items() for one in by.values() if one.is_proved]
    assert [name for name, one in proved if not one.is_right] == []
    for way in (way for way in ways if WAYS[way][1]):
        assert [name for name, by in found.items() if not by[way].is_proved] == []
    assert {way: shares(column(found, way)) for way in ways} == dict.fromkeys(ways, (100.0, 100.0))


def test_all_is_right_and_nothing_wrong_is_proved(bench):
    check(bench)


@pytest.mark.long
def test_the_other_two_ways_are_right_too(rest):
    check(rest)
