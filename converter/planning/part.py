"""A plan for a part of a model: what a pattern chooses is converted, the rest stays as it is.

The pattern chooses a step by any of its names, those of the source and those of the target. The
rest of the target keeps the values of the checkpoint that it is like; the rest of the source is
dropped, with this reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from converter.algebra.rearrange import identity
from converter.errors import PlanError, Problem, UsageError
from converter.planning.plan import Plan, Step
from converter.planning.sides import Side
from converter.tensors.manifest import Manifest
from converter.tensors.selection import is_chosen

KEPT = "kept:"  # in front of the names of what the target keeps, where both sides are read
NOT_CHOSEN = "not chosen by --only"


def chooses(pattern: str | None, names: Iterable[str]) -> bool:
    """Whether a pattern chooses one of some names; without a pattern all are chosen.

    Examples:
        >>> chooses("encoder/**", ["encoder.conv.weight", "encoder/conv/kernel"])
        True
        >>> chooses("encoder/**", ["head.weight"]), chooses(None, [])
        (False, True)
    """
    return pattern is None or any(is_chosen(name, pattern) for name in names)


def require_rest(pattern: str | None, like: object) -> None:
    """Raise where a part is asked for and nothing has the rest.

    Raises:
        UsageError: If there is a pattern and nothing that the target is like.
    """
    if pattern is not None and like is None:
        raise UsageError(
            "cannot convert a part: nothing says where the rest comes from",
            hint="give the model that is to keep it: --like FILE",
        )


def completed(plan: Plan, target: Side, pattern: str) -> Plan:
    """Return the plan of a part with a step for every tensor that the target keeps.

    Args:
        plan: The steps of what is chosen.
        target: What the target is like.
        pattern: What was chosen, as asked for.

    Raises:
        PlanError: If nothing is chosen.
    """
    like = target.manifest
    if like is None:
        raise ValueError("a part needs a target that has the rest")
    written = {name for step in plan.steps for name in step.targets}
    if not written:
        problems = [Problem("invalid", pattern, "no tensor of either side is called so")]
        raise PlanError("cannot convert a part", problems, written="nothing")
    kept = tuple(spec for spec in like if spec.name not in written)
    rule = f"kept as {target.label} has it"
    steps = {name: step for step in plan.steps for name in step.targets}
    for spec in kept:
        steps[spec.name] = Step(
            (KEPT + spec.name,), (spec.name,), identity(spec.shape), rule, "", ""
        )
    ordered = dict.fromkeys(id(steps[name]) for name in like.tensors)
    by_id = {id(step): step for step in (*steps.values(), *plan.steps)}
    ordered |= dict.fromkeys(id(step) for step in plan.steps)  # those that write nothing, too
    specs = {spec.name: spec for spec in (*like, *plan.target)}
    chosen = len(like) - len(kept)
    note = f"{chosen} of {len(like)} tensors chosen by --only '{pattern}'; the rest is {rule}"
    return replace(
        plan,
        source=_both(plan.source, Manifest.of(kept)),
        target=Manifest.of(
            (specs[name] for name in like.tensors),
            family=target.family,
            layers=like.layers,
            ties=like.ties,
            metadata=plan.target.metadata,
        ),
        steps=tuple(by_id[one] for one in ordered),
        kept=tuple(spec.name for spec in kept),
        notes=(*plan.notes, note),
    )


def _both(source: Manifest, kept: Manifest) -> Manifest:
    """Return the tensors that are read: those of the source, and those that are kept."""
    renamed = (replace(spec, name=KEPT + spec.name) for spec in kept)
    return replace(source, tensors=Manifest.of((*source, *renamed)).tensors)
