"""The two levels that need no values: does the mapping hold, and do both sides fit it?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from pathlib import Path

from converter.errors import ConverterError, PlanError, Problem
from converter.formats.base import Checkpoint
from converter.live.configuration import known_sizes
from converter.mapping import library
from converter.mapping.catalogue import load_catalogue
from converter.mapping.check import find_problems
from converter.mapping.identify import identify
from converter.mapping.rules import Mapping, Pairing
from converter.planning.matching import BY_KIND, make_request
from converter.planning.plan import Plan
from converter.planning.planner import Request, make_plan
from converter.planning.sides import Side
from converter.validation.outcomes import Level
from converter.validation.report import Row


@dataclass(frozen=True, slots=True)
class Structure:
    """What names, shapes and dtypes show.

    Attributes:
        mapping: The mapping, or ``None`` for conversion by kind, and where one was found that does
            not fit.
        plan: Keras to PyTorch, or ``None`` where the two do not fit.
        levels: Mapping and structure.
        rows: A failing row for each problem, also where the mapping is a guess.
        mapping_rows: Those of the mapping alone.
        is_guess: Whether nobody named the mapping: that names do not pair is then no difference of
            the models.
    """

    mapping: Mapping | None
    plan: Plan | None
    levels: tuple[Level, Level]
    rows: tuple[Row, ...]
    mapping_rows: tuple[Row, ...]
    is_guess: bool


def known_mapping(
    keras: Checkpoint, mapping: Mapping | str | None, folders: tuple[Path, ...]
) -> Mapping | None:
    """Return the mapping that was named or that covers a Keras checkpoint; ``None`` for by kind.

    Raises:
        MappingError: If there is none of that name, or several fit.
    """
    if isinstance(mapping, Mapping) or mapping is None:
        return mapping or identify(keras.manifest, folders=folders)
    return None if mapping == BY_KIND else library.get(mapping, folders)


def structure_of(
    keras: Checkpoint,
    torch: Checkpoint,
    *,
    mapping: Mapping | str | None,
    folders: tuple[Path, ...],
    sizes: Dict[str, int] | None = None,
) -> Structure:
    """Pair both sides and plan; what does not fit is returned, not raised.

    Raises:
        MappingError: If the mapping that was named cannot be used, or several fit.
    """
    known = known_mapping(keras, mapping, folders)
    is_guess = mapping is None
    source = Side("keras", keras.manifest.of_family("keras"), label=keras.label)
    target = Side("torch", torch.manifest.of_family("torch"), label=torch.label)
    wanted = known if known is not None else BY_KIND
    request = make_request(
        source,
        target,
        mapping=wanted,
        folders=folders,
        sizes={**known_sizes(torch), **(sizes or {})},
    )
    problems = list(find_problems(known, load_catalogue())) if known is not None else []
    problems += _not_injective(request.pairings)
    problems += request.problems
    first = _mapping_level(known, request, problems)
    mapping_rows = tuple(map(_row, problems))
    try:
        plan: Plan | None = make_plan(request)
        second = Level("structure", "pass", _sides_text(keras, torch, plan))
    except PlanError as error:
        plan = None
        problems += [one for one in error.problems if one not in problems]
        second = _misfit(error, known, is_guess=is_guess)
    rows = tuple(_row(one) for one in problems)
    if plan is None and is_guess:
        known = None  # what it says about inputs and outputs is about another module
    return Structure(known, plan, (first, second), rows, mapping_rows, is_guess)


def _mapping_level(mapping: Mapping | None, request: Request, problems: list[Problem]) -> Level:
    name = "by kind" if mapping is None else mapping.name
    count = len(request.pairings)
    rules = "" if mapping is None else f"{len(mapping.rules)} rules, "
    if problems:
        return Level("mapping", "fail", f"{name}: {len(problems)} problems")
    return Level("mapping", "pass", f"{name}: {rules}{_plural(count, 'layer')} paired")


def _sides_text(keras: Checkpoint, torch: Checkpoint, plan: Plan | None) -> str:
    if plan is None:
        return ""
    laws = Counter(str(step.law) for step in plan.steps)
    counted = ", ".join(f"{count} {law}" for law, count in sorted(laws.items()))
    return f"{len(keras.manifest)} Keras and {len(torch.manifest)} PyTorch tensors: {counted}"


def _misfit(error: ConverterError, mapping: Mapping | None, *, is_guess: bool) -> Level:
    problems = getattr(error, "problems", ())
    kinds = Counter(one.kind for one in problems)
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or error.summary
    if is_guess:
        name = "by kind" if mapping is None else mapping.name
        return Level("structure", "not run", f"no mapping pairs these names ({name}: {counted})")
    return Level("structure", "fail", counted)


def _row(problem: Problem) -> Row:
    rule = f"  [{problem.rule}]" if problem.rule else ""
    where = problem.where or problem.kind
    return Row(where, where, "fail", (), note=f"{problem.kind}: {problem.text}{rule}")


def _not_injective(pairings: tuple[Pairing, ...]) -> list[Problem]:
    """Return a problem for each two pairings that are about the same layer and module."""
    seen = Counter((one.layer, one.module) for one in pairings)
    return [
        Problem("conflict", layer, f"is paired with '{module}' {count} times")
        for (layer, module), count in seen.items()
        if count > 1
    ]


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
