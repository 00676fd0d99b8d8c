"""The narrowest floating type that holds every value of a tensor exactly.

A ``float32`` file whose values are all ``bfloat16`` was cast up: it can be stored in half the
space without losing a bit, and its model was not trained as its dtype says.
"""

from __future__ import annotations

import numpy as np

from converter.tensors.dtype import Array, DType, get_dtype

_NARROWER = {
    "float64": ("bfloat16", "float16", "float32"),
    "float32": ("bfloat16", "float16"),
}


class Narrowing:
    """Strikes out, piece by piece, the types that do not hold the values.

    Examples:
        >>> narrowing = Narrowing(get_dtype("float32"))
        >>> values = np.array([1.5, -2.0], np.float32)
        >>> narrowing.add(values, values.astype(np.float64))
        >>> narrowing.result()
        'bfloat16'
    """

    def __init__(self, dtype: DType) -> None:
        """Begin with all types narrower than ``dtype``; for most there is none."""
        self._dtype = dtype
        self._left = list(_NARROWER.get(dtype.name, ()))

    def add(self, values: Array, wide: Array) -> None:
        """Take values of the tensor's type, of rank 1, and the same as ``float64``.

        Infinities and NaNs are in every type.
        """
        if self._left:
            self._left = [name for name in self._left if _holds(name, values, wide)]

    def result(self) -> str:
        """Return the narrowest type that is left, or the tensor's own."""
        return self._left[0] if self._left else self._dtype.name


def _holds(name: str, values: Array, wide: Array) -> bool:
    # A look at the beginning decides for nearly every tensor that was trained in its own type.
    head = 4096
    return _all_held(name, values[:head], wide[:head]) and (
        values.size <= head or _all_held(name, values[head:], wide[head:])
    )


def _all_held(name: str, values: Array, wide: Array) -> bool:
    if name == "bfloat16" and values.dtype == np.float32:
        return not (values.view(np.uint32) & 0xFFFF).any() or _equal(name, wide)
    return _equal(name, wide)


def _equal(name: str, wide: Array) -> bool:
    with np.errstate(all="ignore"):
        back = wide.astype(get_dtype(name).numpy).astype(np.float64)
    return bool(((back == wide) | np.isnan(wide)).all())
