"""Drafts of every pair that proves the mapping library, whose mappings the draft does not see.

A part of it: ``scripts/test.py --no-lint --long --oracles tests/drafting/test_drafting_library.py``
and ``-k "bert and names"``. What is measured goes into ``report/drafting_library.jsonl`` line by
line, and what the lines come to into ``report/drafting_library.md`` after a run of everything.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pytest
from support.drafting_library import Drafted, draft_case

from converter.mapping import library

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles, pytest.mark.long]

REPORT = Path(__file__).parents[2] / "report"
# Names as they are or meaningless, and whether both models are run.
WAYS = {
    "names": (True, False),
    "no names": (False, False),
    "names, outputs": (True, True),
    "no names, outputs": (False, True),
}
PAIRS = [(name, case) for name in library.names() for case in library.get(name).proofs]
# Least shares of layers, and of models entirely right, in percent.
AIMS = {
    "names": (98, 90),
    "no names": (85, 60),
    "names, outputs": (95, 85),
    "no names, outputs": (95, 85),
}
Found = dict[tuple[str, str, str], Drafted]


@pytest.fixture(scope="module")
def found() -> Found:
    return {}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pair", PAIRS, ids=", ".join)
def test_nothing_wrong_is_ever_proved(pair, way, found):
    named, run = WAYS[way]
    one = draft_case(*pair, named=named, run=run)
    found[(*pair, way)] = one
    REPORT.mkdir(exist_ok=True)
    with (REPORT / "drafting_library.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"pair": pair, "way": way, **asdict(one)}) + "\n")
    assert one.measured.is_right or not one.measured.is_proved


def shares(found: Found, way: str) -> tuple[float, float]:
    """Return the share of layers and the share of models that are right, in percent."""
    every = [one.measured for (_, _, other), one in found.items() if other == way]
    layers = 100 * sum(one.right for one in every) / sum(one.layers for one in every)
    return round(layers, 1), round(100 * sum(one.is_right for one in every) / len(every), 1)


def median_length(drafts: Iterable[Drafted]) -> float:
    """Return the rows of the right drafts against those of the library's mappings."""
    return statistics.median(one.rows / one.own_rows for one in drafts if one.measured.is_right)


def table(found: Found) -> str:
    lines = [f"| pair | {' | '.join(WAYS)} | rows, the library's |"]
    lines.append("| --- |" + " ---: |" * (len(WAYS) + 1))
    for pair in PAIRS:
        drafts = [found[(*pair, way)] for way in WAYS]
        cells = [
            f"{one.measured.right}/{one.measured.layers}{' proved' * one.measured.is_proved}"
            for one in drafts
        ]
        rows = f"{drafts[0].rows}, {drafts[0].own_rows}"
        lines.append(f"| {', '.join(pair)} | {' | '.join(cells)} | {rows} |")
    sums = ["{} % of layers, {} % of models".format(*shares(found, way)) for way in WAYS]
    median = median_length(found[(*pair, "names")] for pair in PAIRS)
    lines.append(f"| all {len(PAIRS)} | {' | '.join(sums)} | median {median:.2f} |")
    return "\n".join(lines) + "\n"


def test_shares_and_lengths(found):
    """Measured when every pair was drafted in every way."""
    if len(found) < len(PAIRS) * len(WAYS):
        pytest.skip("a part of the bench was run")
    (REPORT / "drafting_library.md").write_text(table(found), encoding="utf-8")
    measured = {way: shares(found, way) for way in WAYS}
    below = {
        way: one
        for way, one in measured.items()
        if any(share < aim for share, aim in zip(one, AIMS[way], strict=True))
    }
    assert below == {}
    assert median_length(found[(*pair, "names")] for pair in PAIRS) <= 1.5
