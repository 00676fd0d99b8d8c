"""A plan that averages checkpoints of one architecture.

The sources are seen as one checkpoint in which the tensors of the n-th are called ``n:name``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from converter.algebra.averaging import Average
from converter.algebra.base import Operation
from converter.algebra.rearrange import identity
from converter.errors import PlanError, Problem, shape_text
from converter.planning.plan import Dropped, Plan, Step
from converter.tensors.manifest import Family, Manifest

NAME = "average"
WHY = "not a floating-point tensor: that of the first checkpoint is kept"


def joined_name(number: int, name: str) -> str:
    """Return what a tensor of the n-th source is called.

    Examples:
        >>> joined_name(2, "head/kernel")
        '2:head/kernel'
    """
    return f"{number}:{name}"


def make_average_plan(
    sources: Sequence[Manifest], weights: Sequence[float], *, family: Family
) -> Plan:
    """Return the plan of a weighted mean; counters and other integers are those of the first.

    Args:
        sources: Manifests, all with the same tensors.
        weights: One for each source, of sum 1.
        family: That of the target.

    Raises:
        PlanError: With every tensor that one source lacks, or has in another shape or type.
    """
    first = sources[0]
    problems = [
        problem
        for number, manifest in enumerate(sources[1:], start=2)
        for problem in _problems(first, manifest, number)
    ]
    if problems:
        raise PlanError("cannot average: the checkpoints differ", problems, written="nothing")
    steps, dropped = [], []
    for spec in first:
        names = tuple(joined_name(number, spec.name) for number in range(len(sources)))
        operation: Operation = Average(tuple(weights))
        if not spec.dtype.is_floating:
            dropped += [Dropped(name, WHY) for name in names[1:]]
            names, operation = names[:1], identity(spec.shape)
        steps.append(Step(names, (spec.name,), operation, NAME, "", ""))
    joined = Manifest.of(
        replace(spec, name=joined_name(number, spec.name))
        for number, manifest in enumerate(sources)
        for spec in manifest
    )
    made = Manifest.of(
        first, family=family, layers=first.layers, ties=first.ties, metadata=first.metadata
    )
    return Plan(joined, made, family, NAME, tuple(steps), tuple(dropped), ties=dict(first.ties))


def _problems(first: Manifest, other: Manifest, number: int) -> list[Problem]:
    found = []
    for spec in first:
        if spec.name not in other:
            found.append(Problem("missing", spec.name, f"checkpoint {number} has no such tensor"))
        elif other[spec.name] != spec:
            one = other[spec.name]
            text = (
                f"is {shape_text(spec.shape)} {spec.dtype}, "
                f"in checkpoint {number} {shape_text(one.shape)} {one.dtype}"
            )
            found.append(Problem("mismatched", spec.name, text))
    found += [
        Problem("unexpected", name, f"only checkpoint {number} has it")
        for name in other.tensors
        if name not in first
    ]
    return found
