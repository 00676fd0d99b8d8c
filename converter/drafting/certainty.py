"""How sure a pair is, in words: what was decisive for it, and whether a person should look."""

from __future__ import annotations

from enum import IntEnum

from converter.drafting.assignment import CLOSE, Pair
from converter.drafting.evidence import Evidence

_ALIKE = 0.5


class Certainty(IntEnum):
    """From sure to open; a proof by outputs stands above all of them."""

    PROVED = 0
    CERTAIN = 1
    LIKELY = 2
    OPEN = 3

    @property
    def label(self) -> str:
        """The word for it."""
        return ("proved", "certain", "likely", "needs a look")[self]


def certainty_of(
    pair: Pair, evidence: Evidence, *, is_recognised: bool = False
) -> tuple[Certainty, str]:
    """Return how sure a pair is and why, a few words.

    Args:
        pair: The pair.
        evidence: Of all candidates.
        is_recognised: Whether the module got the layer's own input when both models ran.
    """
    if is_recognised:
        return Certainty.LIKELY, "it gets the layer's own input"
    position = next(index for index, one in enumerate(evidence.candidates) if one is pair.candidate)
    if evidence.values.get(position):
        return Certainty.PROVED, "the same values on both sides"
    if pair.margin == float("inf"):
        return Certainty.CERTAIN, "no other module has its kind and shapes"
    if pair.margin < CLOSE:
        return Certainty.OPEN, "names and order do not tell it from others of its shapes"
    if evidence.names[position] >= _ALIKE:
        return Certainty.CERTAIN, "names, kind and shapes agree"
    return Certainty.LIKELY, "by its place among those of its shapes"
