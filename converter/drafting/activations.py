"""What goes into each layer, in a form that no layout hides: what only running models show.

A layer and its module get the same numbers in different arrangements: channels last or first,
padded with zeros or not, flattened in another order. Sums over all elements see none of that, and
with random weights no two places of a network have the same sums.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.drafting.units import Unit
from converter.live.keras_model import KerasModelCheckpoint, keras_to_array
from converter.live.keras_walk import walk
from converter.live.torch_module import is_tensor, to_array
from converter.tensors.dtype import Array
from converter.validation.running import run_keras

_CLOSE = 1e-3  # float32 through a deep network; other places differ by far more


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over all elements of an array: of the values, of their sizes and of their squares."""

    values: float
    sizes: float
    squares: float

    def is_like(self, other: Sums) -> bool:
        """Whether two arrays may hold the same numbers, zeros apart."""
        largest = max(self.sizes, other.sizes)
        squares = max(self.squares, other.squares)
        if not np.isfinite(largest + squares):
            return False
        return (
            abs(self.sizes - other.sizes) <= _CLOSE * largest
            and abs(self.values - other.values) <= _CLOSE * largest
            and abs(self.squares - other.squares) <= _CLOSE * squares
        )


def sums_of(array: Array) -> Sums:
    """Return the sums of an array.

    Examples:
        >>> one = np.arange(12.0).reshape(3, 4)
        >>> sums_of(one).is_like(sums_of(np.pad(one.T, 2))), sums_of(one).is_like(sums_of(one + 1))
        (True, False)
    """
    wide = array.astype(np.float64)
    return Sums(float(wide.sum()), float(np.abs(wide).sum()), float((wide * wide).sum()))


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a Keras model fed its layers.

    Attributes:
        inputs: Layer path to the sums of its first input, one for each call.
        order: Layer path to its place in the order of execution.
    """

    inputs: Mapping[str, Sequence[Sums]]
    order: Mapping[str, float]


def record_keras(
    view: KerasModelCheckpoint, units: Sequence[Unit], arrays: Mapping[str, Array]
) -> Recorded:
    """Run a Keras model and return what its layers got.

    Args:
        view: The model.
        units: The layers to look at.
        arrays: Inputs by name.

    Raises:
        UsageError: If the model raises.
    """
    inputs: dict[str, list[Sums]] = {}

    def note(path: str, value: Any) -> None:
        inputs.setdefault(path, []).append(sums_of(keras_to_array(value, path)))

    with contextlib.ExitStack() as stack:
        for path, layer in _layers(view, units).items():
            stack.enter_context(_listening(layer, path, note))
        run_keras(view.model, arrays)
    return Recorded(inputs, {path: float(place) for place, path in enumerate(inputs)})


def _layers(view: KerasModelCheckpoint, units: Sequence[Unit]) -> dict[str, Any]:
    """Return the object of each unit: the outermost layer that holds just its variables."""
    variables = view.variables()
    wanted = {frozenset(id(variables[name]) for name in unit.names): unit.path for unit in units}
    found: dict[str, Any] = {}
    for node in walk(view.model).below():
        path = wanted.get(frozenset(map(id, node.variables())))
        if path is not None:
            found.setdefault(path, node.layer)
    return found


@contextlib.contextmanager
def _listening(layer: Any, path: str, note: Callable[[str, Any], None]) -> Iterator[None]:
    """Hear of every call of a layer; its attribute is set past Keras' own bookkeeping."""
    call = layer.call

    def heard(*arguments: Any, **keywords: Any) -> Any:
        first = first_tensor((arguments, keywords))
        if first is not None:
            note(path, first)
        return call(*arguments, **keywords)

    layer.__dict__["call"] = heard
    try:
        yield
    finally:
        del layer.__dict__["call"]


def first_tensor(value: Any) -> Any:
    """Return the first tensor in nested arguments, or ``None``."""
    if is_tensor(value) or (hasattr(value, "shape") and hasattr(value, "dtype")):
        return value
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return next((found for one in value if (found := first_tensor(one)) is not None), None)
    return None


def sums_of_tensor(value: Any) -> Sums:
    """Return the sums of a PyTorch tensor."""
    return sums_of(to_array(value.detach(), "an input"))
