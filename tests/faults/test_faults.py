"""The bench of planted faults: where and why is found; nothing is found in right pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.fault_pairs import PAIRS, Pair, build
from support.faults import FAULTS as FIRST_FAULTS
from support.faults import Fault
from support.faults_branches import BRANCH_FAULTS
from support.faults_sequences import SEQUENCE_FAULTS

from converter.validation.causes.table import CAUSES
from converter.validation.causes_of import find_causes
from converter.validation.findings import Finding
from converter.validation.keras_side import LiveKeras

pytestmark = pytest.mark.frameworks
FAULTS = FIRST_FAULTS + BRANCH_FAULTS + SEQUENCE_FAULTS
RESULTS = Path(__file__).with_name("RESULTS.md")


def findings(pair: Pair) -> tuple[Finding, ...]:
    inputs = ([pair.moved], {})
    return find_causes(LiveKeras(pair.model), pair.module, pair.plan, pair.arrays, inputs).findings


@pytest.mark.parametrize("fault", FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_planted_fault_is_named_with_its_place_and_cause(fault: Fault) -> None:
    _, name, plant, place, cause = fault
    pair = build(name)
    plant(pair.module)
    found = findings(pair)
    assert ", ".join(one.layer for one in found) == place
    assert ", ".join(one.cause for one in found) == cause
    assert all(one.by_weights == CAUSES[one.cause].by_weights for one in found)
    assert all(one.fix and one.error > one.floor for one in found)
    assert [told for one in found for told in one.untried] == []


@pytest.mark.parametrize("name", PAIRS)
def test_nothing_is_found_in_a_right_pair(name: str) -> None:
    assert findings(build(name)) == ()


@pytest.mark.parametrize("scale", [1.0, 400.0])
def test_logits_for_probabilities_at_the_end_are_no_fault(scale: float) -> None:
    """The verdict compares them in one scale; 400 saturates the probabilities."""
    pair = build("pooled")
    pair.model.get_layer("classes").kernel.assign(pair.model.get_layer("classes").kernel * scale)
    pair.module.classes.weight.data *= scale
    pair.module.put("softmax", lambda x: x)
    assert findings(pair) == ()
    pair.module.put("average", counting_pool)
    assert [one.cause for one in findings(pair)] == ["pooling_count"]


def counting_pool(x: Any) -> Any:
    import torch.nn.functional as F

    return F.avg_pool2d(x, 3, 1, 1)


def test_what_no_hypothesis_explains_has_no_cause() -> None:
    pair = build("pooled")
    pair.module.put("mean", lambda x: (x.mean((2, 3)) + x.amax((2, 3))) / 2)
    (found,) = findings(pair)
    assert found.cause == ""
    assert found.fix == ""
    assert "explains it" in found.sentence


def test_a_finding_is_a_sentence_with_numbers() -> None:
    pair = build("image")
    pair.module.bn.eps = 1e-5
    (found,) = findings(pair)
    assert found.sentence.startswith(
        "'bn': epsilon differs: 1e-05 in PyTorch, 0.001 in Keras (relative L2 error "
    )
    assert found.sentence.endswith(" is left when it is undone).")


def test_the_table_of_results_lists_every_fault() -> None:
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    rows = [f"| {i} | {pair} | {place} | {cause} |" for i, pair, _, place, cause in FAULTS]
    assert [line for line in lines if line.startswith("| ")][1:] == rows
