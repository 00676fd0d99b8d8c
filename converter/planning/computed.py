"""A plan whose source computes some tensors while they are read says so, and has their law."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from converter.algebra.base import Law
from converter.algebra.chain import chain
from converter.algebra.materialised import Materialised
from converter.errors import PlanError, Problem
from converter.planning.plan import Plan, Step


def mark_computed(plan: Plan, computed: Mapping[str, str], *, require: Law | None) -> Plan:
    """Return the plan with the law of computed tensors in the steps that take them.

    Args:
        plan: Made for a source that computes tensors.
        computed: Name of each computed tensor to what it is computed from (``"weight_norm"``).
        require: The weakest law allowed, or ``None``.

    Raises:
        PlanError: If a computed tensor is taken and an exact plan is required.
    """
    steps = tuple(_marked(step, computed) for step in plan.steps)
    problems = [
        Problem("refused", ", ".join(step.targets or step.sources), _why(step, require), step.rule)
        for step in steps
        if require is not None and not step.law.satisfies(require)
    ]
    if problems:
        raise PlanError(
            f"cannot plan with mapping '{plan.mapping}': {len(problems)} refused",
            problems,
            written="nothing",
        )
    return replace(plan, steps=steps)


def _marked(step: Step, computed: Mapping[str, str]) -> Step:
    kinds = dict.fromkeys(computed[name] for name in step.sources if name in computed)
    if not kinds:
        return step
    return replace(step, operation=chain(Materialised(" and ".join(kinds)), step.operation))


def _why(step: Step, require: Law | None) -> str:
    return f"is {step.law}, and {require} is required: {step.operation.describe()}"
