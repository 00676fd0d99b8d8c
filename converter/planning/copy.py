"""A plan that keeps every tensor as it is: another container, the same names and layouts.

Used between two checkpoints of one family (``.pt`` to safetensors, ``.keras`` to ``.weights.h5``),
where no mapping is needed.
"""

from __future__ import annotations

from dataclasses import replace

from converter.algebra.agreement import Agree
from converter.algebra.base import Operation
from converter.algebra.chain import chain
from converter.algebra.rearrange import identity
from converter.algebra.values import Cast
from converter.errors import PlanError, Problem, shape_text
from converter.planning.part import NOT_CHOSEN, chooses
from converter.planning.plan import Dropped, Plan, Step
from converter.planning.sides import Side
from converter.tensors.dtype import DType
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

NAME = "same names"
_COUNTER = ".num_batches_tracked"  # of BatchNorm; exporters of graphs leave it out


def make_copy_plan(
    source: Side, target: Side, *, dtype: DType | None = None, only: str | None = None
) -> Plan:
    """Return a plan from one checkpoint to another of the same family.

    Args:
        source: The side that is read; it has a manifest.
        target: The side that is written; open, or with the names that it must have.
        dtype: Type of floating-point tensors, or ``None`` to keep what the target has, or else
            the source.
        only: A pattern of the names that are copied, or ``None`` for all.

    Raises:
        PlanError: With every missing, unexpected and mismatched tensor.
    """
    if source.manifest is None:
        raise ValueError("a plan needs the manifest of its source")
    manifest = source.manifest
    wanted = target.manifest if target.manifest is not None else manifest
    given = _given(manifest, wanted)
    outcomes = [
        _copied(spec, given.get(spec.name), source, target, dtype)
        for spec in wanted
        if chooses(only, [spec.name])
    ]
    taken = set(given.values())
    outcomes += [
        _without_place(name, given.get(wanted.ties.get(name, "")), manifest, target)
        if chooses(only, [name])
        else Dropped(name, NOT_CHOSEN)
        for name in manifest.tensors
        if name not in taken or not chooses(only, [name])
    ]
    problems = [one for one in outcomes if isinstance(one, Problem)]
    if problems:
        problems += [Problem("notice", target.label, text) for text in wanted.notices]
        raise PlanError(
            f"cannot plan '{source.label}': its tensors are not those of {target.label}",
            problems,
            written="nothing",
        )
    steps = tuple(one for one in outcomes if isinstance(one, Step))
    made = Manifest.of(
        (_written(wanted[name], dtype) for step in steps for name in step.targets),
        family=target.family,
        layers=wanted.layers if only is None else (),
        ties=wanted.ties,
        metadata=wanted.metadata,
    )
    return Plan(
        manifest,
        made,
        target.family,
        NAME,
        steps,
        dropped=tuple(one for one in outcomes if isinstance(one, Dropped)),
        ties=dict(wanted.ties),
    )


def _copied(
    spec: TensorSpec, name: str | None, source: Side, target: Side, dtype: DType | None
) -> Step | Dropped | Problem:
    """Return how a tensor of the target is made of the source's tensor of this name."""
    if name is None:
        return Problem("missing", spec.name, f"{source.label} has no such tensor")
    found = source.spec(name)
    after = _written(spec, dtype).dtype
    problem = _difference(found, spec, after, target)
    if problem is not None:
        return problem
    operation: Operation = identity(found.shape)
    if after != found.dtype:
        operation = chain(operation, Cast(found.dtype, after))
    return Step((name,), (spec.name,), operation, NAME, "", "")


def _written(spec: TensorSpec, dtype: DType | None) -> TensorSpec:
    """Return a tensor of the target in the type that is asked for, where it is a number's."""
    return replace(spec, dtype=dtype) if dtype is not None and spec.dtype.is_floating else spec


def _without_place(
    name: str, kept: str | None, manifest: Manifest, target: Side
) -> Step | Dropped | Problem:
    """Return what becomes of a source tensor that no target tensor is made of."""
    if kept is not None:
        first, second = manifest[name], manifest[kept]
        if (first.shape, first.dtype) != (second.shape, second.dtype):
            return Problem("mismatched", name, f"is tied to '{kept}' in {target.label}")
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
