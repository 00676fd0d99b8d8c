"""Build a plan from two sides and their pairings, or collect every reason why not.

Pure: names, shapes and dtypes only. Every source tensor is taken by exactly one step or dropped
with a reason; every target tensor is written by exactly one step. All problems are found in one
pass and raised together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from converter.algebra.agreement import Agree
from converter.algebra.base import Law
from converter.errors import OperationError, PlanError, Problem
from converter.mapping.claims import layer_index
from converter.mapping.notes import is_entry
from converter.mapping.rules import Pairing
from converter.planning.part import NOT_CHOSEN, chooses
from converter.planning.plan import Dropped, Plan, Step
from converter.planning.sides import Side
from converter.planning.steps import Outcome, StepMaker
from converter.tensors.dtype import DType
from converter.tensors.manifest import Family, Manifest
from converter.tensors.spec import LayerSpec, TensorSpec


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that a plan is made from.

    Attributes:
        source: The side that is read; it has a manifest.
        target: The side that is written; open where nothing says what it must look like.
        mapping: Name of the mapping, for the record.
        pairings: Which layer corresponds to which module.
        dropped: Side and tensor name to the reason why it has no counterpart.
        ties: Further target name to the target name that holds the same value.
        assumptions: Sentences to hand on.
        problems: What went wrong before planning.
        dtype: Type of floating-point targets, or ``None`` to keep.
        require: The weakest law allowed, or ``None``.
        only: A pattern of the names that are converted, see :mod:`converter.planning.part`, or
            ``None`` for all.
    """

    source: Side
    target: Side
    mapping: str
    pairings: tuple[Pairing, ...]
    dropped: Mapping[tuple[Family, str], str] = field(default_factory=dict)
    ties: Mapping[str, str] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    dtype: DType | None = None
    require: Law | None = None
    only: str | None = None


def make_plan(request: Request) -> Plan:
    """Return the plan that a request asks for.

    Raises:
        PlanError: With every problem: missing, unexpected, mismatched, undetermined, refused and
            conflicting tensors, and steps weaker than the law that is required.
    """
    return _Planner(request).plan()


class _Planner:
    def __init__(self, request: Request) -> None:
        self._request = request
        self._source = request.source
        self._target = request.target
        if request.source.manifest is None:
            raise ValueError("a plan needs the manifest of its source")
        self._manifest = request.source.manifest
        self._problems = [one for one in request.problems if self._is_chosen(_names(one))]
        self._steps: list[Step] = []
        self._dropped: dict[str, str] = {}
        self._written: dict[str, TensorSpec] = {}
        self._used: Counter[str] = Counter()
        self._failed: set[str] = set()
        self._ties: dict[str, str] = {}

    def plan(self) -> Plan:
        maker = StepMaker(self._source, self._target, self._request.dtype)
        for pairing in self._in_order():
            if self._contradicts(pairing):
                continue
            for outcome in maker.outcomes(pairing):
                self._take(outcome, pairing)
        self._drop()
        self._tie()
        self._check_source()
        self._check_target()
        self._check_law()
        if self._problems:
            raise self._error()
        return self._finished()

    def _contradicts(self, pairing: Pairing) -> bool:
        """Whether the Keras layer is known to be another one than the kind is for."""
        keras = self._source if self._source.family == "keras" else self._target
        layer = layer_index(keras.manifest).get(pairing.layer) if keras.manifest else None
        for key, expected in pairing.kind.when.items():
            found = layer.config.get(key, expected) if layer is not None else expected
            if not is_entry(found, expected):
                text = (
                    f"the kind '{pairing.kind.name}' is for layers with {key} = {expected}, and "
                    f"this one has {found}"
                )
                if pairing.kind.otherwise is not None:
                    text += f": {pairing.kind.otherwise}"
                problem = Problem("refused", pairing.layer, text, str(pairing.rule))
                self._take(Outcome(problems=[problem]), pairing)
                return True
        return False

    def _in_order(self) -> list[Pairing]:
        """Return the pairings in the order of the Keras model, where it is known."""
        keras = self._source if self._source.family == "keras" else self._target
        if keras.manifest is None:
            return list(self._request.pairings)
        rank: dict[str, int] = {}
        for index, name in enumerate(keras.manifest.tensors):
            path = name
            while path:
                rank.setdefault(path, index)
                path = path.rpartition("/")[0]
        last = len(rank)
        return sorted(self._request.pairings, key=lambda pairing: rank.get(pairing.layer, last))

    def _take(self, outcome: Outcome, pairing: Pairing) -> None:
        for one in outcome.dropped:
            self._dropped[one.name] = one.why
        step = outcome.step
        names = (*step.sources, *step.targets) if step is not None else ()
        if not self._is_chosen(
            (*names, *(name for one in outcome.problems for name in _names(one)))
        ):
            return
        self._problems.extend(outcome.problems)
        for problem in outcome.problems:
            self._failed.update(_names(problem))
        if outcome.step is None:
            if outcome.problems:
                self._mark_failed(pairing)
            return
        self._steps.append(outcome.step)
        self._used.update(set(outcome.step.sources))
        for spec in outcome.targets:
            if spec.name in self._written:
                text = "would be written twice"
                self._problems.append(Problem("conflict", spec.name, text, outcome.step.rule))
            self._written[spec.name] = spec

    def _mark_failed(self, pairing: Pairing) -> None:
        """Remember the tensors of a failed pairing, so that they are not reported again."""
        for side in (self._source, self._target):
            if side.manifest is None:
                continue
            for tensors in side.tensors(pairing):
                self._failed.update(tensors.names)

    def _is_chosen(self, names: Iterable[str]) -> bool:
        return chooses(self._request.only, names)

    def _drop(self) -> None:
        for (family, name), why in self._request.dropped.items():
            if family == self._source.family and name in self._manifest:
                self._dropped[name] = why

    def _tie(self) -> None:
        """Settle the further names of tensors: checked where read, written where wanted."""
        for further, name in self._request.ties.items():
            if self._source.family == "torch":
                self._check_tie(further, name)
            elif name in self._written and self._is_further(further):
                self._written[further] = replace(self._written[name], name=further)
                self._ties[further] = name
        like = self._target.manifest
        if like is not None:
            self._ties.update(like.ties)

    def _is_further(self, name: str) -> bool:
        """Whether a further name is to be written; a module that shares the tensor has it."""
        like = self._target.manifest
        return like is None or name not in like.ties

    def _check_tie(self, further: str, name: str) -> None:
        if further not in self._manifest or self._used[further] or not self._is_chosen([further]):
            return
        if name not in self._manifest:
            text = f"is tied to '{name}', which {self._source.label} lacks"
            self._problems.append(Problem("missing", further, text))
            return
        specs = [self._manifest[further], self._manifest[name]]
        operation = Agree()
        try:
            operation.infer([spec.shape for spec in specs])
            operation.infer_dtypes([spec.dtype for spec in specs])
        except OperationError as error:
            self._problems.append(Problem("mismatched", further, f"'{name}': {error.summary}"))
            return
        self._steps.append(Step((further, name), (), operation, f"tied to '{name}'", "", ""))
        self._used[further] += 1

    def _check_source(self) -> None:
        for name in self._manifest.tensors:
            times = self._used[name]
            tied = name in self._manifest.ties.values()
            if times > 1 and not tied:
                text = f"is taken by {times} rules"
                self._problems.append(Problem("conflict", name, text))
            if times or name in self._dropped or name in self._failed:
                continue
            if not self._is_chosen([name]):
                self._dropped[name] = NOT_CHOSEN
            else:
                text = f"no rule of '{self._request.mapping}' takes it"
                self._problems.append(Problem("unexpected", name, text))

    def _check_target(self) -> None:
        wanted = self._target.manifest
        if wanted is None:
            return
        for spec in wanted:
            expected_away = (self._target.family, spec.name) in self._request.dropped
            if spec.name in self._written or spec.name in self._failed or expected_away:
                continue
            if not self._is_chosen([spec.name]):
                continue  # kept
            text = (
                f"{self._target.label} needs it and no rule of '{self._request.mapping}' gives it"
            )
            self._problems.append(Problem("missing", spec.name, text))
        for name in self._written:
            if name not in wanted:
                text = f"{self._target.label} has no such tensor"
                self._problems.append(Problem("unexpected", name, text))

    def _check_law(self) -> None:
        required = self._request.require
        if required is None:
            return
        for step in self._steps:
            if not step.law.satisfies(required):
                where = ", ".join(step.targets or step.sources)
                text = f"is {step.law}, and {required} is required: {step.operation.describe()}"
                self._problems.append(Problem("refused", where, text, step.rule))

    def _error(self) -> PlanError:
        counts = Counter(problem.kind for problem in self._problems)
        summary = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        problems = sorted(self._problems, key=lambda problem: (problem.kind, problem.where))
        if self._target.manifest is not None:  # what is unusual about it may be the reason
            label, notices = self._target.label, self._target.manifest.notices
            problems += [Problem("notice", label, text) for text in notices]
        return PlanError(
            f"cannot plan '{self._source.label}' with mapping '{self._request.mapping}': {summary}",
            problems,
            written="nothing",
        )

    def _finished(self) -> Plan:
        target = self._target_manifest()
        rank = {name: index for index, name in enumerate(target.tensors)}
        last = len(rank)
        steps = sorted(
            self._steps,
            key=lambda step: min((rank[name] for name in step.targets), default=last),
        )
        return Plan(
            source=self._manifest,
            target=target,
            to=self._target.family,
            mapping=self._request.mapping,
            steps=tuple(steps),
            dropped=tuple(Dropped(name, why) for name, why in self._dropped.items()),
            assumptions=self._request.assumptions,
            ties=self._ties,
        )

    def _target_manifest(self) -> Manifest:
        like = self._target.manifest
        if like is None:
            layers = _layers_of(self._steps) if self._target.family == "keras" else ()
            return Manifest.of(self._written.values(), family=self._target.family, layers=layers)
        names = [name for name in like.tensors if name in self._written]
        names += [name for name in self._written if name not in like]
        return Manifest.of(
            (self._written[name] for name in names),
            family=self._target.family,
            layers=_kept_layers(like.layers, self._written),
            ties=like.ties,
        )


def _names(problem: Problem) -> list[str]:
    """Return the names that a problem is about."""
    return [part.strip("' ") for part in problem.where.split(",")]


def _layers_of(steps: Iterable[Step]) -> tuple[LayerSpec, ...]:
    """Return the Keras layers that steps write, of unknown class."""
    layers: dict[str, dict[str, str]] = {}
    for step in steps:
        for name in step.targets:
            # A step may also write a tensor of the layer beside its own.
            is_own = name.startswith(f"{step.layer}/")
            path = step.layer if is_own else name.rpartition("/")[0]
            layers.setdefault(path, {})[name.removeprefix(path + "/")] = name
    return tuple(LayerSpec(path, None, slots) for path, slots in layers.items())


def _kept_layers(
    layers: Iterable[LayerSpec], written: Mapping[str, TensorSpec]
) -> tuple[LayerSpec, ...]:
    return tuple(
        layer for layer in layers if all(name in written for name in layer.tensors.values())
    )
