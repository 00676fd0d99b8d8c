"""A plan as data for other programs: the documented JSON of ``plan --json``.

Fields may be added within one ``schema``; none is renamed or changes its meaning without a new
number.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from converter.planning.plan import Plan, Step
from converter.tensors.manifest import Manifest

SCHEMA = 1


class TensorReport(msgspec.Struct, frozen=True):
    """One tensor.

    Attributes:
        name: Keras variable path or PyTorch state-dict key.
        shape: Size of each axis, outermost first.
        dtype: Element type, such as ``"bfloat16"``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


class StepReport(msgspec.Struct, frozen=True):
    """One read, apply, write.

    Attributes:
        sources: Tensors read, in the order the operation takes them.
        targets: Tensors written, in the order the operation gives them.
        operation: What is done, in one line.
        law: ``exact``, ``derived``, ``canonical``, ``rounded`` or ``one_way``.
        rule: The rule it comes from, as written.
        layer: Path of the Keras layer.
        module: Name of the PyTorch module.
    """

    sources: tuple[TensorReport, ...]
    targets: tuple[TensorReport, ...]
    operation: str
    law: str
    rule: str
    layer: str
    module: str


class DroppedReport(msgspec.Struct, frozen=True):
    """A source tensor that is not transferred, and why."""

    tensor: TensorReport
    why: str


class PlanReport(msgspec.Struct, frozen=True):
    """A whole plan.

    Attributes:
        schema: Version of this form.
        source: What messages call the source.
        to: ``keras`` or ``torch``.
        mapping: Name of the mapping.
        law: The weakest law of all steps.
        laws: Law to number of steps.
        nbytes: Size of all target tensors, in bytes.
        steps: In the order of the target.
        dropped: Source tensors that no step takes.
        ties: Further target name to the name that holds the same value.
        assumptions: What equal weights need and files cannot show, as whole sentences.
        kept: Target tensors that keep the value of what the target is like.
        notes: What else was decided, as whole sentences.
    """

    schema: int
    source: str
    to: str
    mapping: str
    law: str
    laws: dict[str, int]
    nbytes: int
    steps: tuple[StepReport, ...]
    dropped: tuple[DroppedReport, ...]
    ties: dict[str, str]
    assumptions: tuple[str, ...]
    kept: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def plan_report(plan: Plan, source: str) -> PlanReport:
    """Return a plan as data; ``source`` is what messages call its source."""
    return PlanReport(
        schema=SCHEMA,
        source=source,
        to=plan.to,
        mapping=plan.mapping,
        law=str(plan.law),
        laws=dict(sorted(Counter(str(step.law) for step in plan.steps).items())),
        nbytes=plan.target.nbytes,
        steps=tuple(_step(plan, step) for step in plan.steps),
        dropped=tuple(
            DroppedReport(_tensor(plan.source, dropped.name), dropped.why)
            for dropped in plan.dropped
        ),
        ties={**plan.target.ties, **plan.ties},
        assumptions=plan.assumptions,
        kept=plan.kept,
        notes=plan.notes,
    )


def _step(plan: Plan, step: Step) -> StepReport:
    return StepReport(
        sources=tuple(_tensor(plan.source, name) for name in step.sources),
        targets=tuple(_tensor(plan.target, name) for name in step.targets),
        operation=step.operation.describe(),
        law=str(step.law),
        rule=step.rule,
        layer=step.layer,
        module=step.module,
    )


def _tensor(manifest: Manifest, name: str) -> TensorReport:
    spec = manifest[name]
    return TensorReport(name, spec.shape, str(spec.dtype))
