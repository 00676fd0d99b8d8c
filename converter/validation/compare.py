"""How far two arrays that should be equal are apart, in numbers.

Everything is computed in float64. Relative numbers are relative to the second array, the
reference: a difference of 0.02 is nothing where values reach 20 000, and all where they reach 0.02.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from converter.tensors.dtype import Array


@dataclass(frozen=True, slots=True)
class Difference:
    """How far an array is from its reference.

    Attributes:
        relative_l2: Norm of the difference, divided by the norm of the reference.
        max_absolute: Largest absolute difference.
        max_relative: The same, divided by the largest absolute value of the reference.
        where: Index of the largest absolute difference; empty for no elements or rank 0.
        cosine: Cosine of the angle between both, 1 where both are zero. It says little: one wrong
            channel in a thousand leaves 0.9995.
        mismatched: Number of elements that are infinite or not a number in one array and are
            something else in the other.
        skipped: Number of elements that are infinite or not a number alike in both; they are left
            out of all numbers above.
        elements: Number of elements compared.
    """

    relative_l2: float
    max_absolute: float
    max_relative: float
    where: tuple[int, ...]
    cosine: float
    mismatched: int = 0
    skipped: int = 0
    elements: int = 0


def compare(actual: Array, reference: Array) -> Difference:
    """Compare two arrays of one shape.

    Raises:
        ValueError: If the shapes differ.

    Examples:
        >>> import numpy as np
        >>> found = compare(np.array([3.0, 4.5]), np.array([3.0, 4.0]))
        >>> found.relative_l2, found.max_absolute, found.where
        (0.1, 0.5, (1,))
    """
    if actual.shape != reference.shape:
        raise ValueError(f"shapes {actual.shape} and {reference.shape} differ")
    a, b = _wide(actual), _wide(reference)
    finite = np.isfinite(a) & np.isfinite(b)
    alike = _same_special(a, b) & ~finite
    mismatched = int(np.count_nonzero(~finite & ~alike))
    a, b = np.where(finite, a, 0.0), np.where(finite, b, 0.0)
    gap = np.abs(a - b)
    flat = int(gap.argmax()) if gap.size else 0
    where = tuple(int(index) for index in np.unravel_index(flat, gap.shape)) if gap.size else ()
    largest = float(gap.max(initial=0.0))
    return Difference(
        relative_l2=_ratio(_norm(gap), _norm(b)),
        max_absolute=largest,
        max_relative=_ratio(largest, float(np.abs(b).max(initial=0.0))),
        where=where,
        cosine=_cosine(a, b),
        mismatched=mismatched,
        skipped=int(np.count_nonzero(alike)),
        elements=int(np.count_nonzero(finite)),
    )


def _wide(array: Array) -> Array:
    kind = np.complex128 if array.dtype.kind == "c" else np.float64
    wide: Array = np.asarray(array).astype(kind)
    return wide


def _same_special(a: Array, b: Array) -> Array:
    same: Array = (a == b) | (np.isnan(a) & np.isnan(b))
    return same


def _norm(array: Array) -> float:
    """Return the norm; scaled first, so that squares neither overflow nor vanish."""
    scale = float(np.abs(array).max(initial=0.0))
    if scale == 0.0:
        return 0.0
    return scale * float(np.sqrt(np.sum(np.abs(array / scale) ** 2)))


def _ratio(part: float, whole: float) -> float:
    if part == 0.0:
        return 0.0
    return part / whole if whole > 0.0 else math.inf


def _cosine(a: Array, b: Array) -> float:
    norms = _norm(a), _norm(b)
    if norms == (0.0, 0.0):
        return 1.0
    if 0.0 in norms:
        return 0.0
    return float(np.real(np.vdot(a.ravel() / norms[0], b.ravel() / norms[1])))
