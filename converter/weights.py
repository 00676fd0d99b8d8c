"""The verbs that look at weights and change them: measure, compare, load, edit, average.

A *source* is what :mod:`converter.api` takes: a path, an open checkpoint, a live model or module, a
state dict.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter import api
from converter.errors import UsageError
from converter.execution.conversion import Conversion
from converter.execution.converted import ConvertedCheckpoint
from converter.execution.executor import Written
from converter.execution.joined import JoinedCheckpoint
from converter.execution.progress import Progress
from converter.execution.repair import write_repaired
from converter.formats.base import Checkpoint
from converter.inspection.difference import Comparison, compare_checkpoints
from converter.inspection.inventory import take_inventory
from converter.inspection.statistics import Statistics, measure_tensor
from converter.planning.averaging import make_average_plan
from converter.planning.editing import Edit, make_edit_plan
from converter.tensors.selection import is_chosen

if TYPE_CHECKING:
    from converter.mapping.rules import Mapping
    from converter.validation.report import Report


@dataclass(frozen=True, slots=True)
class Repaired:
    """A comparison, and what a repair wrote.

    Attributes:
        report: Of both sides; where something was written, of the other side and that.
        sides: The two files that it is about.
        before: The report that led to the repair; ``None`` where nothing was written.
        written: The file that was written, likewise.
        changed: Names of the tensors that have other values there.
    """

    report: Report
    sides: tuple[Path, Path]
    before: Report | None = None
    written: Path | None = None
    changed: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """Return what a record of the report says about the repair; nothing where none was."""
        if self.before is None:
            return {}
        floors = [row.floors for row in self.before.rows if row.floors is not None]
        return {
            "repaired": {
                "changed": list(self.changed),
                "causes": [one.cause for one in self.before.findings],
                "verdict_before": self.before.verdict,
                "floors_before": max(floors, default=None),
            }
        }


def statistics(source: object, *, only: str = "**") -> dict[str, Statistics]:
    """Return the statistics of each tensor that holds plain numbers.

    Args:
        source: What to read, see the module.
        only: A pattern of names, such as ``"encoder/**"``.

    Raises:
        CheckpointError: If the source cannot be read.
    """
    found = {}
    with _opened(source) as checkpoint:
        for entry in take_inventory(checkpoint.manifest):
            name = entry.spec.name
            if is_chosen(name, only):
                one = measure_tensor(checkpoint, name, entry.unit_axis)
                if one is not None:
                    found[name] = one
    return found


def diff(
    first: object,
    second: object,
    *,
    mapping: Mapping | str | None = None,
    only: str | None = None,
    ignore: str | None = None,
    architecture: str | os.PathLike[str] | None = None,
) -> Comparison:
    """Say which tensors of two checkpoints are the same, and how far apart the others are.

    Where one is a Keras and the other a PyTorch checkpoint, the first is converted in memory,
    tensor by tensor, and names are those of the second.

    Args:
        first: The reference; see the module.
        second: The other.
        mapping: Between families: as in :func:`converter.plan`.
        only: A pattern of the names that count; all by default.
        ignore: A pattern of names that do not count.
        architecture: As in :func:`converter.open`, for the side that needs it.

    Raises:
        PlanError: If the checkpoints are of different families and do not fit together.
        UsageError: If ``only`` chooses no tensor.
    """

    def chosen(name: str) -> bool:
        wanted = only is None or is_chosen(name, only)
        return wanted and not (ignore is not None and is_chosen(name, ignore))

    with ExitStack() as stack:
        one = stack.enter_context(_opened(first, architecture))
        two = stack.enter_context(_opened(second, architecture))
        families = {one.manifest.family, two.manifest.family} - {None}
        if len(families) == 2:
            one = ConvertedCheckpoint(api.plan(one, like=two, mapping=mapping))
        found = compare_checkpoints(one, two, chosen)
    if not found.tensors:
        raise UsageError(f"cannot compare: no tensor is chosen by '{only or ignore}'")
    return found


def load(
    model: Any,
    source: object,
    *,
    mapping: Mapping | str | None = None,
    only: str | None = None,
    prefix: str | None = None,
) -> None:
    """Put the weights of a checkpoint into a live model, whichever framework wrote them.

    Args:
        model: A built Keras model or a ``torch.nn.Module``; changed in place, and only when
            everything fits.
        source: What to read, see the module.
        mapping: As in :func:`converter.plan`.
        only: A pattern of names on either side; the rest of the model keeps its values.
        prefix: ``OLD=NEW``: how names of the source begin, and how they shall.

    Raises:
        UsageError: If ``model`` is nothing that can be filled.
        PlanError: If the weights are not those of the model.
    """
    target = api.open(model)
    fill: Callable[[Any], None] | None = getattr(target, "load", None)
    if fill is None:
        raise UsageError(f"cannot load into a {type(model).__name__}: it is no model or module")
    with _opened(source) as checkpoint:
        conversion = api.plan(checkpoint, like=target, mapping=mapping, only=only, prefix=prefix)
        fill(conversion.arrays())


def edited(source: Checkpoint, edits: Sequence[Edit]) -> Conversion:
    """Return the plan of a changed checkpoint; save it, or take its arrays.

    Args:
        source: An open checkpoint; it must stay open until the last use.
        edits: What to change, in their order.

    Raises:
        PlanError: With every edit that concerns no tensor, or cannot be done.
    """
    family = source.manifest.family or "torch"
    plan = make_edit_plan(source.manifest, edits, family=family)
    return Conversion(plan, source, source.structure, like=source)


def average(
    sources: Sequence[object],
    target: str | os.PathLike[str],
    *,
    weights: Sequence[float] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Write the mean of several checkpoints, taken in ``float64``, in bounded memory.

    Counters and other integers are those of the first.

    Args:
        sources: What to read, see the module; all with the same tensors.
        target: The file to write; its ending says the format.
        weights: One for each source, made to sum to 1; equal by default.
        force: Whether a target that exists is replaced.
        progress: Called with each progress event.

    Raises:
        UsageError: If there are not two sources, or not as many weights with a positive sum.
        PlanError: If the checkpoints have different tensors.
    """
    shares = _shares(len(sources), weights)
    with ExitStack() as stack:
        opened = [stack.enter_context(_opened(source)) for source in sources]
        first = opened[0]
        family = first.manifest.family or "torch"
        plan = make_average_plan([one.manifest for one in opened], shares, family=family)
        joined = JoinedCheckpoint(opened, plan.source)
        conversion = Conversion(plan, joined, first.structure, like=first)
        return conversion.save(target, force=force, progress=progress)


def _shares(count: int, weights: Sequence[float] | None) -> list[float]:
    given = [1.0] * count if weights is None else list(weights)
    total = math.fsum(given)
    if count < 2 or len(given) != count or not math.isfinite(total) or total <= 0:
        raise UsageError(
            f"cannot average {count} checkpoints with {len(given)} weights",
            facts=[("expected", "two or more, and for each a weight, of a positive sum")],
        )
    return [weight / total for weight in given]


def validate(
    source: Path,
    target: Path,
    *,
    repair: Path | None = None,
    force: bool = False,
    **asked: Any,
) -> Repaired:
    """Compare two files; write weights that make up for the differences, and compare again.

    Args:
        source: One side.
        target: The other.
        repair: The file to write with the repaired weights of the PyTorch side, or ``None``.
        force: Whether a file of that name is replaced.
        asked: As in :func:`converter.validate`.

    Raises:
        UsageError: If other weights do not make up for what was found; nothing is written.
        TargetExistsError: If the file to write is there and ``force`` is false.
    """
    report = api.validate(source, target, **asked)
    if repair is None or report.verdict == "pass":
        return Repaired(report, (source, target))
    _require_repairable(report, target)
    with _opened(source) as first, _opened(target) as second:
        is_first = second.manifest.family == "keras"
        side, path = (first, source) if is_first else (second, target)
        why = " and ".join(f"{one.cause} in '{one.layer}'" for one in report.findings)
        write_repaired(side, report.changes, repair, why=why, force=force)
    sides = (repair, target) if path == source else (source, repair)
    again = api.validate(*sides, **asked)
    return Repaired(again, sides, report, repair, tuple(report.changes))


def _require_repairable(report: Report, target: Path) -> None:
    """Refuse what weights cannot make up for.

    Raises:
        UsageError: With the first such layer.
    """
    what = f"cannot repair {target.name}"
    if not report.findings:
        raise UsageError(
            f"{what}: no layer was found that differs",
            facts=[("verdict", report.verdict)],
            written="nothing",
        )
    for one in report.findings:
        if not one.is_compensated:
            cause = one.cause or "a difference without a known cause"
            raise UsageError(
                f"{what}: weights cannot make up for {cause} in '{one.layer}'",
                facts=[("found", one.sentence), ("layers", f"{len(report.findings)} differ")],
                hint=one.fix or None,
                written="nothing",
            )


@contextmanager
def _opened(
    source: object, architecture: str | os.PathLike[str] | None = None
) -> Iterator[Checkpoint]:
    """Open a source for a while; one that the caller opened is left open at the end."""
    if architecture is None:
        checkpoint = api.open(source)
    else:
        checkpoint = api.open_side(source, None, architecture)
    try:
        yield checkpoint
    finally:
        if checkpoint is not source:
            checkpoint.close()
