"""Two checkpoints compared, level by level: which levels are run, and what all of them say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from converter.errors import ConverterError, UsageError
from converter.formats.base import Checkpoint
from converter.formats.torch_norms import with_norms
from converter.live.keras_model import KerasModelCheckpoint
from converter.live.torch_module import TorchModuleCheckpoint
from converter.mapping.rules import Mapping
from converter.tensors.manifest import Family
from converter.validation.comparison import Options
from converter.validation.judging import Tolerance
from converter.validation.keras_process import ChildKeras, Opening, Process
from converter.validation.keras_side import KerasSide, LiveKeras
from converter.validation.models import live_model
from converter.validation.outcomes import LEVELS, Control, Level, LevelName, Verdict
from converter.validation.plan_values import compare_by_plan
from converter.validation.randomised import random_weights
from converter.validation.report import Report, Row, worst
from converter.validation.requirements import attributes_of, torch_parts, unmet
from converter.validation.structure import Structure, structure_of
from converter.validation.telling import NOT_ASKED, outputs_text
from converter.validation.validate import compare_sides
from converter.validation.values import compare_headers, compare_values

_MORE: tuple[LevelName, ...] = ("values", "outputs-random")
_CANNOT_RUN = "nothing says how to build the PyTorch module (--torch)"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks for.

    Attributes:
        levels: The levels to run; empty for the strongest that can be run and what it rests on.
        inputs: Inputs to run on, or ``None``.
        mapping: A mapping, its name, ``"by-kind"``, or ``None`` to find it.
        folders: Further folders that hold mappings.
        seed: Of random inputs and random weights.
        tolerance: What decides in the place of the noise floor.
        control_seconds: How long the comparisons that must fail may take, in seconds; 0 for none.
        explain: Whether to look for the layers that differ, and why.
        process: Where the Keras side runs; ``None`` for this process.
    """

    levels: tuple[LevelName, ...] = ()
    inputs: Any = None
    mapping: Mapping | str | None = None
    folders: tuple[Path, ...] = ()
    seed: int = 0
    tolerance: Tolerance | None = None
    control_seconds: float = 20.0
    explain: bool = True
    process: Process | None = None


def validate_checkpoints(
    first: Checkpoint, second: Checkpoint, *, factories: Dict[Family, object], asked: Asked
) -> Report:
    """Compare two checkpoints; see :func:`converter.api.validate`.

    Args:
        first: One side.
        second: The other.
        factories: Family to what builds its model, or ``None``.
        asked: Everything else.
    """
    families = (_family(first, second), _family(second, first))
    if families[0] == families[1]:
        return _alike(first, second, families[0], asked)
    keras, torch = (first, second) if families[0] == "keras" else (second, first)
    validation = _Validation(keras, torch, factories, asked)
    try:
        return validation.run()
    finally:
        validation.close()


def _alike(first: Checkpoint, second: Checkpoint, family: Family, asked: Asked) -> Report:
    """Compare two checkpoints of one family: there is nothing to map."""
    why = f"both are {'Keras' if family == 'keras' else 'PyTorch'} checkpoints"
    refused = [one for one in asked.levels if one not in ("structure", "values")]
    if refused:
        raise UsageError(
            f"cannot run level '{refused[0]}': {why}", hint="compare them by --level values"
        )
    wrong = compare_headers(first, second)
    count = max(len(first.manifest), len(second.manifest))
    found = {
        "structure": Level("structure", "fail" if wrong else "pass", _alike_text(wrong, count))
    }
    if asked.levels and "values" not in asked.levels:
        report = Report("structure", wrong, count)
    else:
        report = compare_values(first, second)
        bad = len(report.rows) - len(wrong)
        told = f"{bad} differ in bits" if bad else "every one on both sides is equal, bit for bit"
        found["values"] = Level("values", "fail" if bad else "pass", told)
    levels = [
        found.get(one) or Level(one, "not run", NOT_ASKED if asked.levels else why)
        for one in LEVELS
    ]
    return replace(report, levels=tuple(levels))


def _alike_text(wrong: Sequence[Row], count: int) -> str:
    if not wrong:
        return f"{count} tensors of the same names, shapes and dtypes"
    return f"{len(wrong)} tensors are on one side only, or of another shape or dtype"


class _Validation:
    """One Keras and one PyTorch checkpoint."""

    def __init__(
        self, keras: Checkpoint, torch: Checkpoint, factories: Dict[Family, object], asked: Asked
    ) -> None:
        self._keras = keras
        self._torch = torch
        self._factories = factories
        self._asked = asked
        self._side: KerasSide | None = None

    def close(self) -> None:
        if self._side is not None:
            self._side.close()

    def run(self) -> Report:
        wanted = self._asked.levels or self._strongest()
        reports: dict[LevelName, Report] = {}
        levels: dict[LevelName, Level] = {}
        structure = self._structure
        lenient = structure.is_guess and bool({"outputs"} & set(wanted))
        for level in structure.levels:
            if level.name in wanted:
                levels[level.name] = self._strict(level, lenient=lenient)
        for name in ("values", "outputs-random", "outputs"):
            if name not in wanted:
                continue
            if structure.plan is None and not (name == "outputs" and lenient):
                levels[name] = Level(name, "not run", "the two do not fit together")
                continue
            reports[name] = self._run(name)
            levels[name] = Level(name, _status(reports[name]), self._sentence(name, reports[name]))
        if not self._asked.levels and _is_weak(reports.get("outputs")):
            self._run_more(reports, levels)
        for name in LEVELS:
            levels.setdefault(name, Level(name, "not run", self._why_not(name)))
        return self._merged(wanted, reports, [levels[name] for name in LEVELS], lenient=lenient)

    def _run_more(self, reports: dict[LevelName, Report], levels: dict[LevelName, Level]) -> None:
        """Run what proves more than the outputs did: random weights, and every value.

        Random weights prove the plan, values that the checkpoint is what the plan makes of the
        other; a wrong plan or a wrong checkpoint shows in one of them.
        """
        for name in _MORE:
            try:
                report = self._run(name)
            except ConverterError as error:
                levels[name] = Level(name, "not run", error.summary)
                continue
            reports[name] = replace(report, controls=_missed(report))
            told = f"{self._sentence(name, report)} (run because the outputs prove too little)"
            levels[name] = Level(name, _status(reports[name]), told)

    def _strict(self, level: Level, *, lenient: bool) -> Level:
        if level.status == "not run" and not lenient:
            return replace(level, status="fail")
        return level

    @cached_property
    def _structure(self) -> Structure:
        return structure_of(
            self._keras,
            with_norms(self._torch, "materialise"),  # Keras has no parts to compare with
            mapping=self._asked.mapping,
            folders=self._asked.folders,
        )

    @property
    def _can_run(self) -> bool:
        known = self._structure.mapping
        is_live = isinstance(self._torch, TorchModuleCheckpoint)
        has_sources = known is not None and bool(known.sources)
        return is_live or self._factories.get("torch") is not None or has_sources

    def _strongest(self) -> tuple[LevelName, ...]:
        return ("mapping", "structure", "outputs" if self._can_run else "values")

    def _why_not(self, name: LevelName) -> str:
        if self._asked.levels:
            return NOT_ASKED
        if name.startswith("outputs") and not self._can_run:
            return _CANNOT_RUN
        if name == "values":
            return "outputs show more; --level values compares every tensor"
        return "the real weights show more; --level outputs-random compares random ones"

    def _run(self, name: LevelName) -> Report:
        if name == "values":
            plan = self._structure.plan
            if plan is None:
                raise UsageError("cannot compare values: the two do not fit together")
            return compare_by_plan(plan, self._keras, with_norms(self._torch, "materialise"))
        if not self._can_run:
            raise UsageError(f"cannot run level '{name}': {_CANNOT_RUN}")
        if name == "outputs":
            return self._outputs()
        return self._random_outputs()

    def _options(self) -> Options:
        known, asked = self._structure.mapping, self._asked
        return Options(
            seed=asked.seed,
            inputs=known.inputs if known is not None else (),
            outputs=known.outputs if known is not None else (),
            tolerance=asked.tolerance,
            control_seconds=asked.control_seconds,
            explain=asked.explain,
        )

    def _outputs(self) -> Report:
        report = compare_sides(
            self._keras_side(),
            self._module,
            options=self._options(),
            inputs=self._asked.inputs,
            plan=self._structure.plan,
        )
        known = self._structure.mapping
        if known is None or not known.requirements:
            return report
        missing = unmet(
            known,
            self._keras_side().parts(attributes_of(known, "keras")),
            torch_parts(self._module, attributes_of(known, "torch")),
        )
        return replace(report, notices=(*missing, *report.notices))

    def _random_outputs(self) -> Report:
        plan = self._structure.plan
        view = TorchModuleCheckpoint(self._module)
        if plan is None or any(name not in view.manifest for name in plan.target.tensors):
            raise UsageError(
                "cannot fill both models with random weights: the plan does not give every tensor "
                "of the PyTorch module"
            )
        side = self._keras_side()
        with random_weights(plan, self._keras, side, self._module, seed=self._asked.seed):
            report = compare_sides(
                side, self._module, options=self._options(), inputs=self._asked.inputs, plan=plan
            )
        # What makes up for random weights is of no use to the real ones.
        findings = tuple(replace(one, is_compensated=False) for one in report.findings)
        return replace(report, level="outputs-random", findings=findings, changes={})

    @cached_property
    def _module(self) -> Any:
        known = self._structure.mapping
        sources = known.sources if known is not None else {}
        return live_model(self._torch, "torch", self._factories.get("torch"), sources=sources)

    def _keras_side(self) -> KerasSide:
        if self._side is None:
            self._side = self._open_keras()
        return self._side

    def _open_keras(self) -> KerasSide:
        known, factory = self._structure.mapping, self._factories.get("keras")
        sources = known.sources if known is not None else {}
        process = self._asked.process
        if process is None:
            return LiveKeras(live_model(self._keras, "keras", factory, sources=sources))
        if isinstance(self._keras, KerasModelCheckpoint) or not isinstance(factory, str | None):
            raise UsageError(
                "cannot run a live Keras model on another backend: it belongs to this process",
                hint="save it, and give the file",
            )
        label = self._keras.label
        if factory is None and self._keras.format == "keras":
            return ChildKeras(process, Opening(label, self._keras.path))
        openings = [Opening(label, factory=factory)] if factory is not None else [
            Opening(label, factory=found["keras"].factory, arguments=found["keras"].arguments)
            for found in sources.values()
            if "keras" in found
        ]  # fmt: skip
        return self._filled_child(process, openings)

    def _filled_child(self, process: Process, openings: Sequence[Opening]) -> KerasSide:
        problem: ConverterError | None = None
        for opening in openings:
            side = ChildKeras(process, opening)
            try:
                side.fill(self._keras)
            except ConverterError as error:  # another variant of the architecture
                side.close()
                problem = error
                continue
            return side
        raise problem or UsageError(
            f"cannot run {self._keras.label}: nothing says how to build its model",
            hint="name what builds it: --keras keras.applications:VGG16",
        )

    def _sentence(self, name: LevelName, report: Report) -> str:
        if name == "values":
            bad = len(report.rows)
            return f"{report.compared} tensors, " + (f"{bad} differ" if bad else "none differs")
        return outputs_text(report)

    def _merged(
        self,
        wanted: Iterable[LevelName],
        reports: Dict[LevelName, Report],
        levels: Sequence[Level],
        *,
        lenient: bool,
    ) -> Report:
        """Return one report: that of the strongest level, and what the others found wrong."""
        ran = [name for name in LEVELS if name in reports]
        structure_rows = () if lenient else self._structure.rows
        if tuple(wanted) == ("mapping",):
            structure_rows = self._structure.mapping_rows
        if not ran:
            level = [name for name in LEVELS if name in wanted][-1]
            settings = {"keras_side": self._keras.label, "torch_side": self._torch.label}
            count = len(self._keras.manifest)
            kept: LevelName = "structure" if structure_rows and level != "mapping" else level
            return Report(kept, structure_rows, count, settings=settings, levels=tuple(levels))
        base = reports[ran[-1]]
        rows = list(structure_rows)
        notices: list[str] = []
        for name in ran[:-1]:
            rows += [row for row in reports[name].rows if row.verdict != "pass"]
            notices += reports[name].notices
        controls = [control for name in ran for control in reports[name].controls]
        if not self._asked.levels and not self._can_run:
            notices.append(f"Outputs were not compared: {_CANNOT_RUN}.")
        return replace(
            base,
            rows=(*base.rows, *rows),
            notices=tuple(dict.fromkeys([*base.notices, *notices])),
            levels=tuple(levels),
            controls=tuple(controls),
            settings={
                "keras_side": self._keras.label,
                "torch_side": self._torch.label,
                "mapping": self._mapping_name(),
                **base.settings,
            },
        )

    def _mapping_name(self) -> str:
        known = self._structure.mapping
        return known.name if known is not None else "by-kind"


def _is_weak(report: Report | None) -> bool:
    """Whether outputs agree and did not see what was broken on purpose."""
    return report is not None and report.passed and bool(_missed(report))


def _missed(report: Report) -> tuple[Control, ...]:
    return tuple(one for one in report.controls if not one.is_detected)


def _status(report: Report) -> Verdict:
    weak: list[Verdict] = ["warn" for _ in _missed(report)]
    return worst([*(row.verdict for row in report.rows), *weak])


def _family(one: Checkpoint, other: Checkpoint) -> Family:
    """Return the family of one checkpoint; where it does not say, that which the other is not."""
    if one.manifest.family is not None:
        return one.manifest.family
    return "torch" if other.manifest.family == "keras" else "keras"
