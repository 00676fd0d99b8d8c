"""The bench of planted faults: where and why is found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.bench import FAULTS
from support.fault_pairs import Pair, build
from support.fault_table import RESULTS, FaultRow, add, fault_row, parse, stable
from support.faults import Fault

from converter.validation.causes.table import CAUSES
from converter.validation.causes_of import find_causes
from converter.validation.findings import Finding
from converter.validation.keras_side import LiveKeras

pytestmark = pytest.mark.frameworks


def findings(pair: Pair) -> tuple[Finding, ...]:
    inputs = ([pair.moved], {})
    return find_causes(LiveKeras(pair.model), pair.module, pair.plan, pair.arrays, inputs).findings


@pytest.mark.parametrize("fault", FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_planted_fault_is_named_with_its_place_and_cause(
    fault: Fault, request: pytest.FixtureRequest
) -> None:
    _, name, plant, place, cause = fault
    pair = build(name)
    plant(pair.module)
    found = findings(pair)
    add(request.node, fault_row(fault, found))
    assert ", ".join(one.layer for one in found) == place
    assert ", ".join(one.cause for one in found) == cause
    # A compensation may need more than the cause tells: which of two hard sigmoids it is.
    can = [CAUSES[one.cause].by_weights or one.is_compensated for one in found]
    assert [one.by_weights for one in found] == can
    assert all(one.fix and one.error > one.floor for one in found)
    assert [told for one in found for told in one.untried] == []


FIRST_OF_EACH = {fault[1]: fault for fault in reversed(FAULTS)}


@pytest.mark.parametrize("name", ["image", "pooled", "gates"])
def test_what_lies_in_files_is_compared_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converter.validation.shelf.BUDGET", 0)
    _, _, plant, place, cause = FIRST_OF_EACH[name]
    pair = build(name)
    plant(pair.module)
    found = findings(pair)
    assert [(one.layer, one.cause) for one in found] == [(place, cause)]
    assert [told for one in found for told in one.untried] == []


def test_an_activation_in_place_does_not_change_what_is_compared() -> None:
    pair = build("image")
    pair.module.put("tanh", lambda x: x.tanh_())
    weight = pair.module.square.weight
    weight.data = weight.data.T.contiguous()
    (found,) = findings(pair)
    assert (found.layer, found.cause) == ("square", "square_transpose")


def test_a_module_that_changes_its_input_in_place_is_tried_on_what_it_was_given() -> None:
    class Spoiling(torch.nn.Linear):
        def forward(self, value: torch.Tensor) -> torch.Tensor:
            made = super().forward(value)
            value.zero_()
            return made

    pair = build("image")
    square = pair.module.square
    square.weight.data = square.weight.data.T.contiguous()
    square.__class__ = Spoiling
    (found,) = findings(pair)
    assert (found.layer, found.cause) == ("square", "square_transpose")


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


def test_the_committed_table_has_every_fault() -> None:
    rows = parse(RESULTS.read_text(encoding="utf-8"), FaultRow)
    wanted = [(name, pair, place, cause, "right") for name, pair, _, place, cause in FAULTS]
    assert [stable(row) for row in rows] == wanted
