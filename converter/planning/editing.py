"""A plan that changes some tensors of a checkpoint and keeps the others as they are.

Edits are done in the order given, each on what the one before left. An edit that concerns no
tensor is a problem: it was meant to do something.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from converter.algebra.base import Operation
from converter.algebra.casting import allows_arithmetic
from converter.algebra.chain import chain
from converter.algebra.initial import make_initial
from converter.algebra.rearrange import identity
from converter.algebra.values import Cast, Constant, Scale
from converter.errors import OperationError, PlanError, Problem
from converter.planning.plan import Dropped, Plan, Step
from converter.tensors.dtype import DType
from converter.tensors.manifest import Family, Manifest
from converter.tensors.selection import is_chosen
from converter.tensors.spec import TensorSpec

NAME = "edit"


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of the tensors that a pattern chooses.

    Attributes:
        kind: ``set`` (every value is a number), ``scale``, ``rename``, ``drop``, ``cast`` or
            ``init`` (random values).
        pattern: Which tensors, as they are called at that moment.
        value: The number of ``set`` and ``scale``.
        name: The new name of ``rename``; what is below the old one keeps its last part. The
            initializer of ``init``, as Keras calls it.
        dtype: The type of ``cast``, for floating tensors.
        seed: Of ``init``; two tensors of one seed differ, as their names do.
        options: Numbers of the initializer that are not Keras' defaults (``stddev``).
    """

    kind: str
    pattern: str
    value: float = 0.0
    name: str = ""
    dtype: DType | None = None
    seed: int = 0
    options: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Tensor:
    """A tensor on its way: its source, its spec by now, and what is done to it."""

    source: str
    spec: TensorSpec
    operations: list[Operation] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    filled: Operation | None = None


def make_edit_plan(manifest: Manifest, edits: Sequence[Edit], *, family: Family) -> Plan:
    """Return a plan of every edit.

    Ties of a tensor that is dropped or renamed are given up.

    Args:
        manifest: That of the source.
        edits: In their order.
        family: That of the target.

    Raises:
        PlanError: With every edit that concerns no tensor, or cannot be done.
    """
    tensors = [_Tensor(spec.name, spec) for spec in manifest]
    dropped: list[Dropped] = []
    problems: list[Problem] = []
    for edit in edits:
        chosen = [one for one in tensors if is_chosen(one.spec.name, edit.pattern)]
        if not chosen:
            problems.append(Problem("invalid", edit.pattern, f"no tensor to {edit.kind}"))
        for one in chosen:
            if edit.kind == "drop":
                dropped.append(Dropped(one.source, f"--drop {edit.pattern}"))
                tensors.remove(one)
                continue
            try:
                _do(one, edit, family)
            except OperationError as error:
                problems.append(Problem("refused", one.spec.name, error.summary))
    counts = Counter(one.spec.name for one in tensors)
    twice = sorted(name for name, count in counts.items() if count > 1)
    problems += [Problem("conflict", name, "two tensors would have this name") for name in twice]
    if problems:
        raise PlanError("cannot edit", problems, written="nothing")
    dropped += [
        Dropped(one.source, _replaced(one.filled)) for one in tensors if one.filled is not None
    ]
    kept = {one.source for one in tensors if one.source == one.spec.name}
    ties = {other: name for other, name in manifest.ties.items() if name in kept}
    layers = manifest.layers if len(kept) == len(manifest) else ()
    made = Manifest.of((one.spec for one in tensors), family=family, layers=layers, ties=ties,
                       metadata=manifest.metadata)  # fmt: skip
    steps = tuple(_step(one) for one in tensors)
    return Plan(manifest, made, family, NAME, steps, tuple(dropped), ties=ties)


def _step(one: _Tensor) -> Step:
    rule = ", ".join(one.done) or "as it is"
    if one.filled is not None:
        return Step((), (one.spec.name,), chain(one.filled, *one.operations), rule, "", "")
    operation = chain(identity(one.spec.shape), *one.operations)
    return Step((one.source,), (one.spec.name,), operation, rule, "", "")


def _replaced(filled: Operation) -> str:
    return f"replaced by {'a number' if isinstance(filled, Constant) else 'random values'}"


def _do(one: _Tensor, edit: Edit, family: Family) -> None:
    spec = one.spec
    one.done.append(f"{edit.kind} {edit.pattern}")
    if edit.kind == "set":
        one.filled = Constant(edit.value, spec.shape, spec.dtype)
        one.operations.clear()
    elif edit.kind == "init":
        one.filled = _initial(edit, spec, family)
        one.operations.clear()
    elif edit.kind == "scale":
        _require_floating(spec)
        one.operations.append(Scale(edit.value))
    elif edit.kind == "rename":
        separator = "/" if "/" in spec.name else "."
        below = spec.name.removeprefix(f"{edit.pattern}{separator}")
        name = edit.name if below == spec.name else f"{edit.name}{separator}{below}"
        one.spec = replace(spec, name=name)
    elif edit.kind == "cast" and edit.dtype is not None and spec.dtype.is_floating:
        one.operations.append(Cast(spec.dtype, edit.dtype))
        one.spec = replace(spec, dtype=edit.dtype)


def _initial(edit: Edit, spec: TensorSpec, family: Family) -> Operation:
    if edit.name in ("zeros", "ones"):
        return Constant(float(edit.name == "ones"), spec.shape, spec.dtype)
    return make_initial(
        edit.name,
        dict(edit.options),
        spec.shape,
        spec.dtype,
        outermost=family == "torch",
        seed=(edit.seed, *spec.name.encode()),
    )


def _require_floating(spec: TensorSpec) -> None:
    if not allows_arithmetic(spec.dtype):
        raise OperationError(f"is {spec.dtype}: only floating-point values are calculated with")
