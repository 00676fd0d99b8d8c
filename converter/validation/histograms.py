"""How the values of two arrays, and their differences, are distributed: a few dozen numbers."""

from __future__ import annotations

import numpy as np

from converter.tensors.dtype import Array
from converter.validation.outcomes import Histogram

BINS = 40
_FIRST_DECADE = -12
_LAST_DECADE = 3
_MOST = 1 << 20  # elements; a shape of the distribution needs no more


def histogram(name: str, actual: Array, reference: Array) -> Histogram | None:
    """Return the histogram of two arrays of one shape; ``None`` where nothing can be counted.

    Values that are not finite are left out. Of very large arrays every n-th element is counted.
    """
    if actual.shape != reference.shape or actual.dtype.kind not in "fiub":
        return None
    step = max(1, actual.size // _MOST)
    one, two = (side.reshape(-1)[::step].astype(np.float64) for side in (actual, reference))
    finite = np.isfinite(one) & np.isfinite(two)
    one, two = one[finite], two[finite]
    if not one.size:
        return None
    low, high = float(min(one.min(), two.min())), float(max(one.max(), two.max()))
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    decades = tuple(range(_FIRST_DECADE, _LAST_DECADE + 1))
    gap = np.abs(one - two)
    with np.errstate(divide="ignore"):
        places = np.clip(np.log10(gap), _FIRST_DECADE, _LAST_DECADE - 1e-9)
    return Histogram(
        name,
        tuple(float(edge) for edge in edges),
        tuple(int(count) for count in np.histogram(one, edges)[0]),
        tuple(int(count) for count in np.histogram(two, edges)[0]),
        tuple(int(count) for count in np.histogram(places, np.array(decades))[0]),
        decades,
    )
