"""The shape and the type of what a layer gives, of those of what it takes: how a rule is written.

Rules are ours and use sizes alone; they are proved against the shapes that Keras computes. A layer
without a rule is of a class that is not Keras' own, or of one that only prepares data: what its
outputs are is then taken from what the configuration says of values that are used, and is unknown
otherwise.

Source: keras 3.15.1, ``compute_output_shape`` and ``compute_output_spec`` of every class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converter.graph.nested import found_in
from converter.graph.nodes import Layer, ValueShape, ValueSpec


class ShapeError(Exception):
    """Inputs that a layer cannot take, or settings that mean no shape; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Given:
    """One call of a layer, with what the values are in their places.

    Attributes:
        layer: The layer.
        arguments: Its positional arguments.
        keywords: Its keyword arguments.
    """

    layer: Layer
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration of the layer."""
        return self.layer.config

    @property
    def values(self) -> list[ValueSpec]:
        """All values among the arguments, in order."""
        return list(found_in((self.arguments, self.keywords), ValueSpec))

    @property
    def first(self) -> ValueSpec:
        """The first value.

        Raises:
            ShapeError: If there is none.
        """
        found = next(found_in((self.arguments, self.keywords), ValueSpec), None)
        if found is None:
            raise ShapeError("it takes no value")
        return found

    @property
    def shape(self) -> ValueShape:
        """Shape of the first value."""
        return shape_of(self.first)

    @property
    def dtype(self) -> str:
        """The type in which the layer computes."""
        return compute_dtype(str(self.config.get("dtype", "float32")))

    def size(self, key: str) -> int:
        """Return an entry of the configuration that is a size.

        Raises:
            ShapeError: If it is none.
        """
        value = self.config.get(key)
        if type(value) is not int or value < 0:
            raise ShapeError(f"its {key} is no size: {value!r}")
        return value

    def sizes(self, key: str, axes: int, smallest: int = 1) -> list[int]:
        """Return an entry that holds one whole number an axis.

        Raises:
            ShapeError: If it does not.
        """
        value = self.config.get(key)
        if not isinstance(value, list | tuple) or len(value) != axes:
            raise ShapeError(f"its {key} is not {axes} sizes: {value!r}")
        if not all(type(one) is int and one >= smallest for one in value):
            raise ShapeError(f"its {key} is not {axes} sizes: {value!r}")
        return list(value)

    def is_on(self, key: str) -> bool:
        """Whether an entry of the configuration is true."""
        return bool(self.config.get(key))

    @property
    def channels_first(self) -> bool:
        """Whether channels come before the positions."""
        return self.config.get("data_format") == "channels_first"


Rule = Callable[[Given], Sequence[ValueSpec]]
ShapeRule = Callable[[Given], ValueShape]


def shape_of(spec: ValueSpec) -> ValueShape:
    """Return the shape of a value whose shape is known; rules are asked for no others.

    Raises:
        ShapeError: If it is not.
    """
    if spec.shape is None:
        raise ShapeError("the shape of what it takes is not known")
    return spec.shape


def compute_dtype(policy: str) -> str:
    """Return the type in which layers of a policy compute.

    Examples:
        >>> compute_dtype("mixed_bfloat16"), compute_dtype("float32")
        ('bfloat16', 'float32')
    """
    return policy.rpartition("_from_")[2].removeprefix("mixed_")


def in_own_type(rule: ShapeRule) -> Rule:
    """Return a rule for one output of the type in which the layer computes."""

    def found(given: Given) -> Sequence[ValueSpec]:
        return (ValueSpec(rule(given), given.dtype),)

    return found


def in_type_of_input(rule: ShapeRule) -> Rule:
    """Return a rule for one output whose type is that of the input, where that is no float."""

    def found(given: Given) -> Sequence[ValueSpec]:
        return (ValueSpec(rule(given), kept_dtype(given)),)

    return found


def kept_dtype(given: Given) -> str:
    """Return the type of the input as the layer sees it: floats are cast to its own."""
    dtype = given.first.dtype
    return given.dtype if "float" in dtype else dtype


def unchanged(given: Given) -> ValueShape:
    """Return the shape of the input."""
    return given.shape


def need_rank(given: Given, rank: int) -> ValueShape:
    """Return the shape of the input, which has so many axes.

    Raises:
        ShapeError: If it has another number.
    """
    if len(given.shape) != rank:
        raise ShapeError(f"it takes {rank} axes and is given {given.shape}")
    return given.shape


def positions(given: Given, axes: int) -> tuple[list[int | None], int | None, int | None]:
    """Return the sizes of the positions, the channels and the batch of an image-like input."""
    shape = need_rank(given, axes + 2)
    if given.channels_first:
        return list(shape[2:]), shape[1], shape[0]
    return list(shape[1:-1]), shape[-1], shape[0]


def image(
    given: Given, batch: int | None, sizes: Sequence[int | None], channels: int | None
) -> ValueShape:
    """Return the shape of an image-like output."""
    if given.channels_first:
        return (batch, channels, *sizes)
    return (batch, *sizes, channels)


def broadcast(one: ValueShape, other: ValueShape) -> ValueShape:
    """Return the shape of an element-wise result.

    Raises:
        ShapeError: If the shapes do not fit.

    Examples:
        >>> broadcast((None, 1, 4), (3, 4))
        (None, 3, 4)
    """
    rank = max(len(one), len(other))
    first = (1,) * (rank - len(one)) + tuple(one)
    second = (1,) * (rank - len(other)) + tuple(other)
    made: list[int | None] = []
    for left, right in zip(first, second, strict=True):
        if left == 1:
            made.append(right)
        elif left is None:
            made.append(None if right == 1 else right)
        elif right in (1, None, left):
            made.append(left)
        else:
            raise ShapeError(f"{one} and {other} are no shapes of one element-wise result")
    return tuple(made)


def product(sizes: Sequence[int | None]) -> int | None:
    """Return the product of sizes, ``None`` where one is open."""
    total = 1
    for size in sizes:
        if size is None:
            return None
        total *= size
    return total


def axis_of(axis: Any, rank: int) -> int:
    """Return an axis counted from the first.

    Raises:
        ShapeError: If there is none such.
    """
    if type(axis) is not int or not -rank <= axis < rank:
        raise ShapeError(f"{axis!r} is no axis of {rank}")
    return axis % rank
