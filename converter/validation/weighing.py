"""From hypotheses that were tried to a finding: what is left of the error decides.

A hypothesis that raises because it does not fit (shapes, settings that a function refuses) explains
nothing. One that raises as only a mistake in this package can is said in the finding: it was not
tried, so it is not refuted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from converter.validation.causes.table import CAUSES
from converter.validation.findings import Finding

FAULTY_FLOORS = 100.0
_CLEAR = 10.0  # a cause is named where it leaves at most a tenth of the error
# Named only where nothing more special explains the difference: they repair almost anything.
GENERAL = frozenset({"other_weights", "tf32", "bfloat16_compute", "float16_compute", "shifted"})
_ONLY_BUGS = (
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    TypeError,
    ZeroDivisionError,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one hypothesis.

    Attributes:
        cause: Its identifier; empty where it only tells that computing in float64 helps.
        error: Relative L2 error that is left, infinite where it does not fit.
        detail: What was changed, for the sentence.
        fix: What Keras does, likewise.
        place: Where, beyond the place of the finding: a name, or empty.
    """

    cause: str
    error: float
    detail: str = ""
    fix: str = ""
    place: str = ""

    @property
    def key(self) -> str:
        """What the evidence calls it."""
        where = f" at {self.place}" if self.place else ""
        return f"{self.cause}{where} {self.detail}".strip()


@dataclass(slots=True)
class Weighing:
    """The hypotheses about one place.

    Attributes:
        error: Relative L2 error of the place.
        floor: Its noise floor.
        outcomes: What came of them, by what the evidence calls them.
        untried: Those that could not be tried, whole sentences.
    """

    error: float
    floor: float
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    untried: list[str] = field(default_factory=list)

    @property
    def limit(self) -> float:
        """The largest error that counts as none."""
        return min(FAULTY_FLOORS * self.floor, self.error / _CLEAR)

    def attempt(self, outcome: Outcome, error: Callable[[], float]) -> float:
        """Try one hypothesis and keep what is left.

        Args:
            outcome: The hypothesis; its error is filled in.
            error: Computes the error that is left.
        """
        left = math.inf
        try:
            left = error()
        except _ONLY_BUGS as raised:
            told = f"{type(raised).__name__}: {(str(raised).splitlines() or [''])[0]}"
            sentence = f"hypothesis {outcome.cause} could not be tried: {told}"
            if sentence not in self.untried:
                self.untried.append(sentence)
        except Exception:  # what frameworks raise where a repair does not fit
            left = math.inf
        known = Outcome(outcome.cause, left, outcome.detail, outcome.fix, outcome.place)
        before = self.outcomes.get(known.key)
        if before is None or left < before.error:
            self.outcomes[known.key] = known
        return left

    def explaining(self) -> list[Outcome]:
        """Return the outcomes that explain the error, the best first."""
        good = [one for one in self.outcomes.values() if one.cause and one.error <= self.limit]
        special = [one for one in good if one.cause not in GENERAL] or good
        return sorted(special, key=lambda one: one.error)

    def finding(self, layer: str, module: str, place: str) -> Finding:
        """Return the finding.

        Args:
            layer: Path of the Keras layer.
            module: Name of the PyTorch module.
            place: What the sentence begins with.
        """
        named = [one for one in self.outcomes.values() if one.cause]
        evidence = {one.key: one.error for one in named if math.isfinite(one.error)}
        gap = f"relative L2 error {self.error:.1e}, floor {self.floor:.0e}"
        untried = tuple(self.untried)
        good = self.explaining()
        if not good:
            told = f"{place} differs ({gap}), and none of {len(named)} causes tried "
            told = _capital(f"{told}explains it.")
            return Finding(
                layer, module, self.error, self.floor, "", told, evidence, untried=untried
            )
        best = good[0]
        entry = CAUSES[best.cause]
        what = entry.sentence.format(detail=best.detail, fix=best.fix)
        told = f"{place}: {what} ({gap}; {best.error:.1e} is left when it is undone)."
        others = sorted({one.cause for one in good} - {best.cause})
        if others:
            told += f" It cannot be told from: {', '.join(others)}."
        return Finding(
            layer,
            module,
            self.error,
            self.floor,
            best.cause,
            _capital(told),
            evidence,
            entry.by_weights,
            entry.fix.format(detail=best.detail, fix=best.fix),
            untried,
        )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
