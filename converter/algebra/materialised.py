"""The mark of a value that was computed while it was read, from what the source keeps in its place.

weight_norm keeps a length and a direction, spectral_norm a kernel and two vectors. The function of
the model is preserved, and nothing leads back to the parts: many of them give one weight.
"""

from __future__ import annotations

from dataclasses import dataclass

from converter.algebra.base import Law
from converter.algebra.values import Elementwise
from converter.tensors.dtype import Array


@dataclass(frozen=True, slots=True)
class Materialised(Elementwise):
    """Every value as it is, with the law of how it was made: canonical.

    Attributes:
        what: What the source keeps instead (``"weight_norm"``).
    """

    what: str

    @property
    def law(self) -> Law:
        """Canonical."""
        return Law.CANONICAL

    def values(self, array: Array) -> Array:
        """Return the values as they are."""
        return array

    def inverse(self) -> Materialised:
        """Return the same: the way back keeps the weight, and leaves out its parts."""
        return self

    def describe(self) -> str:
        """Return what was computed."""
        return f"{self.what} materialised"
