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


@pytest.fixture(scope="module")
def bench() -> dict[str, dict[str, Measured]]:
    found = {
        pair.name: {way: measure(pair, named=named, run=run) for way, (named, run) in WAYS.items()}
        for pair in BENCH
    }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(table(found), encoding="utf-8")
    return found


def shares(found: Sequence[Measured]) -> tuple[float, float]:
    """Return the share of layers and the share of models that are right, in percent."""
    layers = 100 * sum(one.right for one in found) / sum(one.layers for one in found)
    return round(layers, 1), round(100 * sum(one.is_right for one in found) / len(found), 1)


def table(found: dict[str, dict[str, Measured]]) -> str:
    lines = [f"| pair | {' | '.join(WAYS)} |", "| --- |" + " ---: |" * len(WAYS)]
    for name, ways in found.items():
        cells = [f"{one.right}/{one.layers}{' proved' * one.is_proved}" for one in ways.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    sums = ["{} % of layers, {} % of models".format(*shares(column(found, way))) for way in WAYS]
    return "\n".join([*lines, f"| all {len(found)} | {' | '.join(sums)} |"]) + "\n"


def column(found: dict[str, dict[str, Measured]], way: str) -> list[Measured]:
    return [ways[way] for ways in found.values()]


def test_there_are_pairs_enough():
    assert len({pair.name for pair in BENCH}) == len(BENCH) >= 25


def test_nothing_wrong_is_ever_proved(bench):
    proved = [(name, one) for name, ways in bench.items() for one in ways.values() if one.is_proved]
    assert len(proved) > len(BENCH)
    assert [name for name, one in proved if not one.is_right] == []


def test_every_pair_is_proved_by_running_both(bench):
    for way in ("names, outputs", "no names, outputs"):
        assert [name for name, ways in bench.items() if not ways[way].is_proved] == []


def test_the_shares(bench):
    """Measured: graphs without values tell every layer of these from the others."""
    assert {way: shares(column(bench, way)) for way in WAYS} == dict.fromkeys(WAYS, (100.0, 100.0))
