"""Every exception that Weightferry raises, one tree and one message shape.

A message has a first line that is complete in itself, then aligned facts (where, expected and
from where, found), then a hint when the next action is certain, and for a conversion whether
anything was written. Exceptions carry their facts as attributes, so that tests and ``--json``
never parse text. Each class also inherits the built-in that a caller would expect to catch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_PROBLEMS_SHOWN = 20

Facts = Sequence[tuple[str, str]]


def shape_text(shape: Iterable[object]) -> str:
    """Return a shape as Python writes a tuple.

    Examples:
        >>> shape_text([3])
        '(3,)'
        >>> shape_text((3, 4))
        '(3, 4)'
    """
    sizes = [str(size) for size in shape]
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"


class ConverterError(Exception):
    """The root of everything that Weightferry raises on purpose.

    Attributes:
        summary: The first line: what cannot be done, to which thing, and why.
        facts: Label and text, one a line.
        hint: The next action, or ``None`` when none is certain.
        written: What the failed call left on disk (``"nothing"``), or ``None`` where the call
            would not have written at all.
    """

    def __init__(
        self,
        summary: str,
        *,
        facts: Facts = (),
        hint: str | None = None,
        written: str | None = None,
    ) -> None:
        self.summary = summary
        self.facts = tuple((str(label), str(text)) for label, text in facts)
        self.hint = hint
        self.written = written
        super().__init__(summary)

    def lines(self) -> list[str]:
        """Return the message as lines, without the name of the class."""
        rows = list(self.facts)
        if self.hint is not None:
            rows.append(("hint", self.hint))
        if self.written is not None:
            rows.append(("written", self.written))
        width = max((len(label) for label, _ in rows), default=0)
        return [self.summary, *(f"  {label:<{width}}  {text}" for label, text in rows)]

    def __str__(self) -> str:
        return "\n".join(self.lines())


class UsageError(ConverterError, ValueError):
    """Arguments that contradict each other, or that name nothing."""


class MissingDependencyError(ConverterError, ImportError):
    """An optional package is needed and not installed."""


class CheckpointError(ConverterError, ValueError):
    """A source cannot be read as a checkpoint."""


class UnknownFormatError(CheckpointError):
    """The content of a file is of no known format."""


class CorruptFileError(CheckpointError):
    """A file contradicts itself or ends early."""


class UnsafeFileError(CheckpointError):
    """A file asks for what no checkpoint needs: code, other files, absurd sizes."""


class UnsupportedFileError(CheckpointError):
    """A file is sound, but holds something that this version does not convert."""


class MappingError(ConverterError, ValueError):
    """A mapping cannot be used."""


class OperationError(ConverterError, ValueError):
    """An operation does not fit the shapes or the values given to it."""


class UndeterminedError(OperationError):
    """Nothing determines the size of an axis; the hint says which sizes to give."""


class WriteError(ConverterError, OSError):
    """A target could not be written."""


class TargetExistsError(WriteError, FileExistsError):
    """The target is there already and ``force`` was not given."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a plan or a mapping file cannot be used.

    Attributes:
        kind: ``missing``, ``unexpected``, ``mismatched``, ``undetermined``, ``refused``,
            ``conflict``, ``unproved`` or ``invalid``; ``notice`` for what may be the reason of the
            others.
        where: The tensor, layer or rule concerned.
        text: What is wrong, with what was expected and found.
        rule: The rule concerned, as written, or an empty text.
        hint: The next action, or ``None``.
    """

    kind: str
    where: str
    text: str
    rule: str = ""
    hint: str | None = None


class ProblemsError(ConverterError, ValueError):
    """Several problems found in one pass and raised together.

    Attributes:
        problems: All of them, also those beyond the twenty that the message shows.
    """

    def __init__(
        self,
        summary: str,
        problems: Sequence[Problem],
        *,
        hint: str | None = None,
        written: str | None = None,
    ) -> None:
        self.problems = tuple(problems)
        shown = self.problems[:MAX_PROBLEMS_SHOWN]
        facts = [(problem.kind, _problem_text(problem)) for problem in shown]
        if len(self.problems) > len(shown):
            facts.append(("...", f"and {len(self.problems) - len(shown)} more"))
        hints = {problem.hint for problem in self.problems if problem.hint}
        if hint is None and len(hints) == 1:
            hint = hints.pop()
        super().__init__(summary, facts=facts, hint=hint, written=written)


def _problem_text(problem: Problem) -> str:
    text = f"{problem.where}  {problem.text}" if problem.where else problem.text
    return f"{text}  [{problem.rule}]" if problem.rule else text


class MappingFileError(ProblemsError, MappingError):
    """A mapping file has problems; all of them are listed."""


class PlanError(ProblemsError):
    """Source, target and mapping do not fit together; every reason is listed."""


class ConfigurationError(ProblemsError):
    """The configuration of one side says what that of the other cannot; all of it is listed."""
