"""Run a Keras model and its PyTorch counterpart on the same inputs and judge every output.

Names and shapes (the plan) and equal values after a round trip
(:mod:`converter.validation.values`) both pass when two square matrices were swapped; outputs do
not.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from converter._optional import require
from converter._version import __version__
from converter.errors import UsageError
from converter.live.kinds import is_keras_layer, is_torch_module
from converter.planning.plan import Plan
from converter.validation.causes.table import PRECISION
from converter.validation.causes_of import Explained, find_causes, growth
from converter.validation.comparison import Compared, Comparison, Given, Options
from converter.validation.findings import Finding
from converter.validation.keras_side import KerasSide, LiveKeras
from converter.validation.report import Report, Row, worst

__all__ = ["Options", "compare_sides", "validate"]


def validate(
    keras_model: Any,
    torch_module: Any,
    *,
    inputs: Given = None,
    options: Options | None = None,
) -> Report:
    """Compare the outputs of a Keras model and a PyTorch module.

    Args:
        keras_model: A live Keras 3 model.
        torch_module: A live ``torch.nn.Module``.
        inputs: Arrays by Keras input name in Keras' layout, one array for a single input, or a
            file (see :mod:`converter.validation.given`); by default seeded random ones.
        options: Everything else.

    Raises:
        UsageError: If one of the two is of the wrong kind, cannot be run, or their outputs cannot
            be paired.
        ProblemsError: If the inputs given do not fit the model.
        MissingDependencyError: If Keras or torch is not installed.
    """
    check_kinds(keras_model, torch_module)
    return compare_sides(
        LiveKeras(keras_model), torch_module, inputs=inputs, options=options or Options()
    )


def compare_sides(
    keras: KerasSide,
    module: Any,
    *,
    options: Options,
    inputs: Given = None,
    plan: Plan | None = None,
) -> Report:
    """Compare the outputs of both sides as they are; see :func:`validate`.

    Args:
        keras: The Keras side.
        module: A live ``torch.nn.Module``.
        options: Everything else.
        inputs: As in :func:`validate`.
        plan: Keras to PyTorch, where there is one.
    """
    comparison = Comparison(keras, module, options, plan)
    found = comparison.run(inputs)
    explained, notices = Explained(), found.notices
    if options.explain and worst(row.verdict for row in found.rows) != "pass":
        explained, notice = _explained(keras, module, plan, comparison)
        notices += (notice,) if notice else ()
    is_clear = options.tolerance is None and any(map(_is_mistake, explained.findings))
    rows = tuple(_decided(row) for row in found.rows) if is_clear else found.rows
    return Report(
        "outputs",
        rows,
        len(rows),
        notices,
        _settings(keras.facts.versions, options, found),
        findings=explained.findings,
        trace=explained.trace,
        changes=explained.changes,
        controls=found.controls,
        histogram=found.histogram,
    )


def _is_mistake(finding: Finding) -> bool:
    """Whether a cause is named that is no matter of precision."""
    return bool(finding.cause) and finding.cause not in PRECISION


def _decided(row: Row) -> Row:
    """Return a row that fails where it was in doubt: that a cause is named decides it."""
    if row.verdict != "warn":
        return row
    note = "; ".join(part for part in (row.note, "the cause of it is known") if part)
    return replace(row, verdict="fail", note=note)


def _explained(
    keras: KerasSide, module: Any, plan: Plan | None, comparison: Comparison
) -> tuple[Explained, str]:
    """Return where and why the two differ, or a sentence that says why that is not known."""
    if plan is None:
        return Explained(), "No layer is named: no plan pairs layers with modules."
    arrays = comparison.arrays
    try:
        inputs = comparison.torch_inputs(arrays)
        found = find_causes(keras, module, plan, arrays, inputs)
        return found, "" if found.findings else growth(found.trace)
    except Exception as error:  # foreign code in hooks: the verdict stands without the cause
        text = (str(error).splitlines() or [""])[0]
        return Explained(), f"The layers could not be traced ({type(error).__name__}: {text})."


def _settings(versions: Mapping[str, str], options: Options, found: Compared) -> dict[str, Any]:
    import numpy as np
    import torch

    return {
        "seed": options.seed,
        "batch": options.batch,
        **versions,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "weightferry": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "inputs_sha256": found.inputs_sha256,
    }


def check_kinds(keras_model: Any, torch_module: Any) -> None:
    """Refuse what is not a Keras model and a PyTorch module.

    Raises:
        UsageError: If one of the two is of the wrong kind.
        MissingDependencyError: If Keras or torch is not installed.
    """
    require("keras", why="cannot validate outputs", extra="keras")
    require("torch", why="cannot validate outputs", extra="torch")
    if not is_keras_layer(keras_model):
        raise UsageError(
            f"cannot validate: the first model is a {type(keras_model).__name__}, not a Keras model"
        )
    if is_keras_layer(torch_module) or not is_torch_module(torch_module):
        raise UsageError(
            f"cannot validate: the second model is a {type(torch_module).__name__}, "
            "not a PyTorch module"
        )
