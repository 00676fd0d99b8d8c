"""A plan that keeps every tensor as it is: another container, the same names and layouts.

Used between two checkpoints of one family (``.pt`` to safetensors, ``.keras`` to ``.weights.h5``),
where no mapping is needed.
"""

from __future__ import annotations

from converter.algebra.agreement import Agree
from converter.algebra.base import Operation
from converter.algebra.chain import chain
from converter.algebra.rearrange import identity
from converter.algebra.values import Cast
from converter.errors import PlanError, Problem, shape_text
from converter.planning.plan import Dropped, Plan, Step
from converter.planning.sides import Side
from converter.tensors.dtype import DType
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

NAME = "same names"
_COUNTER = ".num_batches_tracked"  # of BatchNorm; exporters of graphs leave it out


def make_copy_plan(source: Side, target: Side, *, dtype: DType | None = None) -> Plan:
    """Return a plan from one checkpoint to another of the same family.

    Args:
        source: The side that is read; it has a manifest.
        target: The side that is written; open, or with the names that it must have.
        dtype: Type of floating-point tensors, or ``None`` to keep what the target has, or else
            the source.

    Raises:
        PlanError: With every missing, unexpected and mismatched tensor.
    """
    if source.manifest is None:
        raise ValueError("a plan needs the manifest of its source")
    manifest = source.manifest
    problems: list[Problem] = []
    steps: list[Step] = []
    specs: list[TensorSpec] = []
    dropped: list[Dropped] = []
    wanted = target.manifest if target.manifest is not None else manifest
    given = _given(manifest, wanted)
    for spec in wanted:
        name = given.get(spec.name)
        if name is None:
            problems.append(Problem("missing", spec.name, f"{source.label} has no such tensor"))
            continue
        found = manifest[name]
        after = dtype if dtype is not None and spec.dtype.is_floating else spec.dtype
        problem = _difference(found, spec, after, target)
        if problem is not None:
            problems.append(problem)
            continue
        operation: Operation = identity(found.shape)
        if after != found.dtype:
            operation = chain(operation, Cast(found.dtype, after))
        steps.append(Step((name,), (spec.name,), operation, NAME, "", ""))
        specs.append(TensorSpec(spec.name, spec.shape, after))
    taken = set(given.values())
    for name in [name for name in manifest.tensors if name not in taken]:
        left = _without_place(name, given, wanted, target)
        if isinstance(left, Step):
            steps.append(left)
        elif isinstance(left, Dropped):
            dropped.append(left)
        else:
            problems.append(left)
    if problems:
        problems += [Problem("notice", target.label, text) for text in wanted.notices]
        raise PlanError(
            f"cannot plan '{source.label}': its tensors are not those of {target.label}",
            problems,
            written="nothing",
        )
    made = Manifest.of(
        specs,
        family=target.family,
        layers=wanted.layers,
        ties=wanted.ties,
        metadata=wanted.metadata,
    )
    return Plan(
        manifest,
        made,
        target.family,
        NAME,
        tuple(steps),
        dropped=tuple(dropped),
        ties=dict(wanted.ties),
    )


def _without_place(
    name: str, given: dict[str, str], wanted: Manifest, target: Side
) -> Step | Dropped | Problem:
    """Return what becomes of a source tensor that no target tensor is made of."""
    kept = given.get(wanted.ties.get(name, ""))
    if kept is not None:
        return Step((name, kept), (), Agree(), f"tied to '{kept}'", "", "")
    if name.endswith(_COUNTER) and target.family == "torch":
        return Dropped(name, "counts training steps; outputs do not depend on it")
    return Problem("unexpected", name, f"{target.label} has no place for it")


def _given(manifest: Manifest, wanted: Manifest) -> dict[str, str]:
    """Return each wanted tensor with the name under which the source holds it.

    Two names of one tensor are one: which of them a file keeps is its writer's choice.
    """
    further: dict[str, list[str]] = {}
    for other, name in wanted.ties.items():
        further.setdefault(name, []).append(other)
    given = {}
    for spec in wanted:
        for name in (spec.name, *further.get(spec.name, ())):
            kept = manifest.ties.get(name, name)
            if kept in manifest:
                given[spec.name] = kept
                break
    return given


def _difference(found: TensorSpec, spec: TensorSpec, after: DType, target: Side) -> Problem | None:
    if found.shape != spec.shape:
        text = f"has shape {shape_text(found.shape)}, {target.label} needs {shape_text(spec.shape)}"
        return Problem("mismatched", spec.name, text)
    if found.dtype != after and not (found.dtype.is_floating and after.is_floating):
        return Problem("mismatched", spec.name, f"is {found.dtype}, {target.label} needs {after}")
    return None
