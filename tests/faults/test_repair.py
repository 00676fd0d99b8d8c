"""What weights can make up for: planted, repaired into a file, loaded strictly, at the floor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.bench import FAULTS
from support.fault_pairs import build
from support.right_pairs import Right, judge

import converter as package
from converter.execution.repair import write_repaired
from converter.validation.causes_of import find_causes
from converter.validation.keras_side import LiveKeras

pytestmark = pytest.mark.frameworks

# Those whose fault is in the weights, or in the module, and whose weights make up for it exactly.
REPAIRED = {
    "epsilon": ["bn.running_var"],
    "mean and variance": ["bn.running_mean", "bn.running_var"],
    "gamma and beta": ["bn.bias", "bn.weight"],
    "deviation for variance": ["bn.running_var"],
    "variance squared": ["bn.running_var"],
    "Theano's kernels": ["first.weight"],
    "kernel transposed": ["first.weight"],
    "channels of the kernel": ["wide.weight"],
    "BGR kernel": ["first.weight"],
    "flatten order": ["hidden.weight"],
    "square matrix": ["square.weight"],
    "RGB for BGR": ["conv.weight"],
    "kernel of the transpose": ["grow.weight"],
    "LayerNorm gain and bias": ["norm.bias", "norm.weight"],
    "Keras 2's hard sigmoid": ["gate.bias", "gate.weight"],
    "epsilon, and a square matrix": ["bn.running_var", "square.weight"],
}
BY_NAME = {fault[0]: fault for fault in FAULTS}


@pytest.mark.parametrize("name", REPAIRED)
def test_a_repaired_checkpoint_gives_the_outputs_of_keras(name: str, tmp_path: Path) -> None:
    _, pair_name, plant, *_ = BY_NAME[name]
    pair = build(pair_name)
    plant(pair.module)
    given = tmp_path / "given.safetensors"
    save_file({k: v.clone() for k, v in pair.module.state_dict().items()}, given)
    found = find_causes(
        LiveKeras(pair.model), pair.module, pair.plan, pair.arrays, ([pair.moved], {})
    )
    assert all(one.is_compensated for one in found.findings)
    assert sorted(found.changes) == REPAIRED[name]
    with package.open(given) as checkpoint:
        write_repaired(checkpoint, found.changes, tmp_path / "out.safetensors", why=name)
    state = load_file(tmp_path / "out.safetensors")
    before = load_file(given)
    changed = sorted(key for key in state if not torch.equal(state[key], before[key]))
    assert changed == REPAIRED[name]
    pair.module.load_state_dict(state, strict=True)
    repaired = Right("repaired", "", lambda: (pair.model, pair.module, pair.plan.plan))
    judged = judge(repaired)
    assert judged.report.rows[0].verdict == "pass"
    assert judged.floors < 30


def test_every_other_fault_is_said_not_to_be_compensated() -> None:
    """By its cause alone: what depends on the input, and what has to be converted again."""
    never = {"same_padding", "norm_epsilon", "other_weights", "bfloat16_weights", "gelu"}
    for fault in FAULTS:
        if fault[4] in never:
            pair = build(fault[1])
            fault[2](pair.module)
            inputs = ([pair.moved], {})
            found = find_causes(LiveKeras(pair.model), pair.module, pair.plan, pair.arrays, inputs)
            assert [one.is_compensated for one in found.findings] == [False], fault[0]
            assert found.changes == {}


def test_an_epsilon_that_makes_a_variance_negative_goes_into_the_gain() -> None:
    pair = build("image")
    pair.model.get_layer("bn").moving_variance.assign(np.full(6, 2e-4, "float32"))
    pair.model.get_layer("bn").epsilon = 1e-5
    pair.module.bn.running_var.data.fill_(2e-4)
    found = find_causes(
        LiveKeras(pair.model), pair.module, pair.plan, pair.arrays, ([pair.moved], {})
    )
    assert list(found.changes) == ["bn.weight"]
    pair.module.load_state_dict({**pair.module.state_dict(), **tensors(found.changes)})
    again = find_causes(
        LiveKeras(pair.model), pair.module, pair.plan, pair.arrays, ([pair.moved], {})
    )
    assert again.findings == ()


def tensors(arrays: Any) -> dict[str, Any]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
