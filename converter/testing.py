"""For a project's own pytest suite: assert that a PyTorch module is the twin of a Keras model.

The message of a failure is the report of ``converter validate``, verdict first.
"""

from __future__ import annotations

from collections.abc import Mapping as Dict
from typing import Any

from converter import api
from converter.mapping.rules import Mapping
from converter.validation.report import Report


def assert_equivalent(
    keras_model: Any,
    torch_module: Any,
    *,
    inputs: Any = None,
    mapping: Mapping | str | None = None,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    control_seconds: float = 20.0,
    allow_weak: bool = False,
    factories: Dict[str, object] | None = None,
) -> Report:
    """Run both models on the same inputs and compare every output.

    Args:
        keras_model: A live Keras 3 model, or a file.
        torch_module: A live ``torch.nn.Module``, or a file.
        inputs: Arrays by Keras input name, one array for a single input, or a file; by default
            seeded random ones.
        mapping: A mapping, its name, ``"by-kind"``, or ``None`` to find it.
        seed: Of the random inputs.
        rtol: Relative difference of an element that is allowed, in the place of the noise floor.
        atol: Absolute difference of an element that is allowed, likewise.
        control_seconds: How long comparisons with plans broken on purpose may take, in seconds; 0
            for none.
        allow_weak: Whether a comparison passes that proves little: broken plans that make no
            difference, as with fresh BatchNorm layers, or an error between 30 and 300 noise floors.
        factories: For files: ``keras`` and ``torch`` to what builds the model.

    Returns:
        The report.

    Raises:
        AssertionError: If the models differ, or the comparison proves too little.
        UsageError: If a model cannot be run.
    """
    built = factories or {}
    report = api.validate(
        keras_model,
        torch_module,
        keras=built.get("keras"),
        torch=built.get("torch"),
        inputs=inputs,
        mapping=mapping,
        seed=seed,
        levels=("outputs",),
        rtol=rtol,
        atol=atol,
        control_seconds=control_seconds,
    )
    if report.verdict == "fail" or (report.verdict == "warn" and not allow_weak):
        raise AssertionError("\n".join(report.lines()))
    return report
