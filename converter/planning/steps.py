"""From one slot of one pairing to the step that transfers its tensors, or the reason why not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from converter.algebra.base import Operation
from converter.algebra.chain import chain
from converter.algebra.pattern import Pattern
from converter.algebra.values import Cast, Constant, Derive, Expect
from converter.errors import OperationError, Problem, UndeterminedError, shape_text
from converter.mapping.rules import Pairing
from converter.mapping.slots import Scalar, Slot
from converter.planning.binding import bind_slot, computed
from converter.planning.plan import Dropped, Step
from converter.planning.sides import Side, SlotTensors
from converter.tensors.dtype import DType, Shape, get_dtype
from converter.tensors.manifest import Family
from converter.tensors.spec import TensorSpec

Tensors = tuple[tuple[SlotTensors, SlotTensors], ...]  # of each slot: source, target
Bound = tuple[Operation, tuple[Shape, ...], tuple[DType, ...]]


@dataclass(slots=True)
class Outcome:
    """What one slot gives.

    Attributes:
        step: The step, or ``None``.
        targets: Specs of what the step writes.
        dropped: Source tensors left behind, with the reason.
        problems: Reasons why there is no step.
    """

    step: Step | None = None
    targets: tuple[TensorSpec, ...] = ()
    dropped: list[Dropped] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StepMaker:
    """Makes the steps of a plan in one direction.

    Attributes:
        source: The side that is read.
        target: The side that is written.
        dtype: Type that floating-point targets get, or ``None`` to keep what the target has, or
            else the source.
    """

    source: Side
    target: Side
    dtype: DType | None
    bound: dict[tuple[object, ...], Bound] = field(default_factory=dict)

    @property
    def to(self) -> Family:
        """The family that is written."""
        return self.target.family

    def outcomes(self, pairing: Pairing) -> Iterator[Outcome]:
        """Yield what each slot of a pairing gives."""
        both = zip(self.source.tensors(pairing), self.target.tensors(pairing), strict=True)
        tensors = tuple(both)
        for position in range(len(tensors)):
            is_computed = pairing.kind.slots[position].is_computed
            outcome_of = self._computed if is_computed else self._outcome_of
            yield outcome_of(pairing, tensors, position)

    def _outcome_of(self, pairing: Pairing, tensors: Tensors, position: int) -> Outcome:
        slot = pairing.kind.slots[position]
        source, target = tensors[position]
        if not source.names and not target.names:
            return Outcome()
        if not target.names:
            return self._without_counterpart(slot, source)
        if source.is_present and (target.is_present or target.is_open):
            return self._transfer(pairing, slot, source, target)
        if source.is_present and target.is_absent:
            return self._unwanted(pairing, slot, source)
        if source.is_absent or not source.names:
            return self._made_at_target(pairing, tensors, position)
        return Outcome(problems=[_partial(pairing, self.source, source, target)])

    def _computed(self, pairing: Pairing, tensors: Tensors, position: int) -> Outcome:
        """One side has the tensor and the other computes it: it is recognised there, or made."""
        slot = pairing.kind.slots[position]
        source, target = tensors[position]
        side = source if source.names else target
        if side.is_absent:
            return Outcome()
        spec = side.specs[0] if side.specs else None
        try:
            made = computed(slot, spec, self._axes(pairing, tensors))
        except UndeterminedError as error:
            if source.names:  # nothing says what it must be
                return self._without_counterpart(slot, source)
            return Outcome(problems=[self._misfit(pairing, error, source, target)])
        except OperationError as error:
            return Outcome(problems=[self._misfit(pairing, error, source, target)])
        if source.names:
            return self._outcome(pairing, (source.names, ()), made.inverse(), [])
        return self._outcome(pairing, ((), target.names), made, [(made.shape, made.dtype)])

    def _axes(self, pairing: Pairing, tensors: Tensors) -> dict[str, int]:
        """Return the sizes of axes, with what the shapes of the other slots show of them."""
        known = dict(pairing.sizes)
        for slot, (source, target) in zip(pairing.kind.slots, tensors, strict=True):
            if slot.pattern is None or slot.operation is not None:
                continue
            keras, torch = (source, target) if self.to == "torch" else (target, source)
            pattern = Pattern.parse(slot.pattern, len(slot.keras), len(slot.torch))
            with contextlib.suppress(OperationError):  # its own outcome tells
                known |= pattern.unify(keras.shapes, torch.shapes, pairing.sizes)
        return known

    def _transfer(
        self, pairing: Pairing, slot: Slot, source: SlotTensors, target: SlotTensors
    ) -> Outcome:
        try:
            operation, shapes, dtypes = self._bind(pairing, slot, source, target)
        except OperationError as error:
            return Outcome(problems=[self._misfit(pairing, error, source, target)])
        wanted = self._dtypes(dtypes, target)
        problem = self._difference(pairing, target, shapes, dtypes, wanted)
        if problem is not None:
            return Outcome(problems=[problem])
        for index, (before, after) in enumerate(zip(dtypes, wanted, strict=True)):
            if before != after:
                operation = chain(operation, Cast(before, after, index, len(dtypes)))
        made = list(zip(shapes, wanted, strict=True))
        return self._outcome(pairing, (source.names, target.names), operation, made)

    def _outcome(
        self,
        pairing: Pairing,
        names: tuple[tuple[str, ...], tuple[str, ...]],
        operation: Operation,
        made: Sequence[tuple[Shape, DType]],
    ) -> Outcome:
        sources, targets = names
        step = Step(sources, targets, operation, str(pairing.rule), pairing.layer, pairing.module)
        specs = tuple(
            TensorSpec(name, shape, dtype)
            for name, (shape, dtype) in zip(targets, made, strict=True)
        )
        return Outcome(step, specs)

    def _bind(
        self, pairing: Pairing, slot: Slot, source: SlotTensors, target: SlotTensors
    ) -> Bound:
        """Return the operation of a slot, and what it gives; models repeat their layers."""
        specs = source.specs or ()
        shapes = tuple((spec.shape, spec.dtype) for spec in specs)
        wanted = tuple(spec.shape for spec in target.specs) if target.specs is not None else None
        key = (slot, shapes, wanted, tuple(pairing.sizes.items()))
        if key not in self.bound:
            keras, torch = (source, target) if self.to == "torch" else (target, source)
            forward = bind_slot(slot, keras=keras.specs, torch=torch.specs, sizes=pairing.sizes)
            operation = forward if self.to == "torch" else forward.inverse()
            self.bound[key] = (
                operation,
                operation.infer([spec.shape for spec in specs]),
                operation.infer_dtypes([spec.dtype for spec in specs]),
            )
        return self.bound[key]

    def _dtypes(self, dtypes: tuple[DType, ...], target: SlotTensors) -> tuple[DType, ...]:
        kept = tuple(spec.dtype for spec in target.specs) if target.specs is not None else dtypes
        return tuple(
            self.dtype if self.dtype is not None and one.is_floating else after
            for one, after in zip(dtypes, kept, strict=True)
        )

    def _difference(
        self,
        pairing: Pairing,
        target: SlotTensors,
        shapes: tuple[Shape, ...],
        dtypes: tuple[DType, ...],
        wanted: tuple[DType, ...],
    ) -> Problem | None:
        for index, spec in enumerate(target.specs or ()):
            if spec.shape != shapes[index]:
                text = (
                    f"the rule gives shape {shape_text(shapes[index])}, "
                    f"{self.target.label} needs {shape_text(spec.shape)}"
                )
                return Problem("mismatched", spec.name, text, str(pairing.rule))
            both_floating = dtypes[index].is_floating and wanted[index].is_floating
            if dtypes[index] != wanted[index] and not both_floating:
                text = f"the source is {dtypes[index]}, {self.target.label} needs {wanted[index]}"
                return Problem("mismatched", spec.name, text, str(pairing.rule))
        return None

    def _misfit(
        self, pairing: Pairing, error: OperationError, source: SlotTensors, target: SlotTensors
    ) -> Problem:
        kind = "undetermined" if isinstance(error, UndeterminedError) else "mismatched"
        names = ", ".join(f"'{name}'" for name in source.names)
        into = ", ".join(f"'{name}'" for name in target.names or source.names)
        shapes = " ".join(shape_text(spec.shape) for spec in source.specs or ())
        is_pair = source.names and target.names
        text = f"from {names} {shapes}: {error.summary}" if is_pair else error.summary
        # An axis of one name may have another size elsewhere; the mapping's name for it has not.
        sizes = pairing.rule.sizes.items()
        names_of = dict.fromkeys(str(size) for axis, size in sizes if axis not in pairing.sizes)
        given = " ".join(f"--set {size}=SIZE" for size in names_of)
        hint = f"give it: {given}" if kind == "undetermined" and given else error.hint
        return Problem(kind, into, text, str(pairing.rule), hint=hint)

    def _without_counterpart(self, slot: Slot, source: SlotTensors) -> Outcome:
        if source.is_open:
            return Outcome()
        family = "PyTorch" if self.to == "torch" else "Keras"
        why = slot.why or f"{family} has no such tensor"
        there = (name for name in source.names if name not in source.absent)
        return Outcome(dropped=[Dropped(name, why) for name in there])

    def _unwanted(self, pairing: Pairing, slot: Slot, source: SlotTensors) -> Outcome:
        """The source has the tensor and the target does not: fine where it is a constant."""
        specs = source.specs or ()
        if slot.operation == "constant" and len(specs) == 1:
            operation = Expect(_number(slot.value), specs[0].shape, specs[0].dtype)
            return self._outcome(pairing, (source.names, ()), operation, [])
        problems = [
            Problem("unexpected", spec.name, f"{self.target.label} has no place for it",
                    str(pairing.rule))
            for spec in specs
        ]  # fmt: skip
        return Outcome(problems=problems)

    def _made_at_target(self, pairing: Pairing, tensors: Tensors, position: int) -> Outcome:
        slot = pairing.kind.slots[position]
        target = tensors[position][1]
        if target.is_absent:
            return Outcome()
        if slot.operation not in ("constant", "derived"):
            if slot.optional and target.is_open:
                return Outcome()
            problems = [
                Problem("missing", name, f"{self.source.label} has no such tensor",
                        str(pairing.rule))
                for name in target.names
            ]  # fmt: skip
            return Outcome(problems=problems)
        found = self._like_siblings(pairing, tensors, position)
        if found is None:
            return Outcome()
        shape, dtype = found
        make = Constant if slot.operation == "constant" else Derive
        operation = make(_number(slot.value), shape, dtype)
        return self._outcome(pairing, ((), target.names), operation, [(shape, dtype)])

    def _like_siblings(
        self, pairing: Pairing, tensors: Tensors, position: int
    ) -> tuple[Shape, DType] | None:
        """Return shape and dtype of a tensor that the source lacks: the target's, or a sibling's.

        A missing gamma has the shape of the beta, mean or variance beside it; a counter has none.
        """
        slot = pairing.kind.slots[position]
        target = tensors[position][1]
        if target.specs is not None:
            return target.specs[0].shape, target.specs[0].dtype
        if slot.operation == "derived":
            return (), get_dtype("int64" if isinstance(slot.value, int) else "float32")
        for other, sibling in enumerate(pairing.kind.slots):
            if (
                other == position
                or sibling.pattern != slot.pattern
                or sibling.operation
                not in (
                    None,
                    "constant",
                )
            ):
                continue
            outcome = self._sibling(pairing, sibling, *tensors[other])
            if outcome is not None:
                return outcome
        return None

    def _sibling(
        self, pairing: Pairing, slot: Slot, source: SlotTensors, target: SlotTensors
    ) -> tuple[Shape, DType] | None:
        if not source.is_present or target.is_absent:
            return None
        outcome = self._transfer(pairing, slot, source, target)
        if not outcome.targets:
            return None
        return outcome.targets[0].shape, outcome.targets[0].dtype


def _number(value: Scalar | None) -> float | int:
    return value if isinstance(value, int | float) else 0


def _partial(pairing: Pairing, side: Side, source: SlotTensors, target: SlotTensors) -> Problem:
    lacking = ", ".join(f"'{name}'" for name in source.absent)
    where = ", ".join(f"'{name}'" for name in target.names)
    return Problem("missing", where, f"{side.label} lacks {lacking}", str(pairing.rule))
