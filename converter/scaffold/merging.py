"""Layers that make one value of several."""

from __future__ import annotations

from collections.abc import Sequence

from converter.errors import UnsupportedFileError
from converter.scaffold.program import Code, Literal, Part, Use, call
from converter.scaffold.scope import Order, Translation, Value, axis_in


def common_order(values: Sequence[Value]) -> Order:
    """Return the order in which values of one rank meet: channels first where one is so."""
    if len({value.rank for value in values}) > 1:
        return "keras"
    orders = {value.own for value in values}
    if orders == {"flat"} and len({value.shape for value in values}) == 1:
        return "flat"
    return "first" if "first" in orders and values[0].rank > 2 else "keras"


def _met(t: Translation) -> tuple[list[Use], Order]:
    values = t.values()
    order = common_order(values)
    return [t.scope.use(value, order) for value in values], order


def _give(t: Translation, code: Code, order: Order) -> None:
    channels = t.first.channels if order == "flat" else None
    t.give(t.write(code), order, channels=channels)
    masks = [value.mask for value in t.values()]
    if all(mask is not None for mask in masks):
        t.set_mask(masks[0])


def _infix(t: Translation, operator: str) -> None:
    uses, order = _met(t)
    code: Code = (uses[0],)
    for use in uses[1:]:
        code = (*code, f" {operator} ", use)
    _give(t, code, order)


def add(t: Translation) -> None:
    """Add."""
    _infix(t, "+")


def subtract(t: Translation) -> None:
    """Subtract."""
    _infix(t, "-")


def multiply(t: Translation) -> None:
    """Multiply."""
    _infix(t, "*")


def average(t: Translation) -> None:
    """Average."""
    uses, order = _met(t)
    code: Code = ("(", uses[0])
    for use in uses[1:]:
        code = (*code, " + ", use)
    _give(t, (*code, ") / ", Literal(len(uses))), order)


def maximum(t: Translation) -> None:
    """Maximum."""
    _nested(t, "torch.maximum")


def minimum(t: Translation) -> None:
    """Minimum."""
    _nested(t, "torch.minimum")


def _nested(t: Translation, function: str) -> None:
    uses, order = _met(t)
    code: Code = (uses[0],)
    for use in uses[1:]:
        code = call(function, code, use)
    _give(t, code, order)


def concatenate(t: Translation) -> None:
    """Concatenate along any axis."""
    joined(t, t.config["axis"])


def joined(t: Translation, axis: int) -> None:
    """Write a concatenation of all values that a call takes."""
    values = t.values()
    order = common_order(values)
    order = "keras" if order == "flat" else order
    uses = [t.scope.use(value, order) for value in values]
    place = axis_in(axis, values[0].rank, order)
    parts: list[Part] = ["["]
    for index, use in enumerate(uses):
        parts += [", "] if index else []
        parts.append(use)
    code = call("torch.cat", (*parts, "]"), Literal(place, "dim"))
    t.give(t.write(code), order)


def dot(t: Translation) -> None:
    """Dot: a product along one axis of each of two values of rank 2 or 3."""
    first, second = t.values()
    axes = t.config["axes"]
    one, two = (axes, axes) if isinstance(axes, int) else axes
    letters = "abcdefg"
    left = list(letters[: first.rank])
    right = ["a", *(letter.upper() for letter in letters[1 : second.rank])]
    one, two = one % first.rank, two % second.rank
    if one == 0 or two == 0:
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': it sums over the batch")
    right[two] = left[one]
    result = [letter for index, letter in enumerate(left) if index != one]
    result += [letter for index, letter in enumerate(right) if index not in (0, two)]
    uses = [t.scope.use(value, "keras") for value in (first, second)]
    if t.config.get("normalize"):
        uses = [
            Use(t.write(call("F.normalize", use, dim=Literal(axis))))
            for use, axis in zip(uses, (one, two), strict=True)
        ]
    equation = f"{''.join(left)},{''.join(right)}->{''.join(result)}"
    number = t.write(call("torch.einsum", Literal(equation), *uses))
    if len(result) == 1:
        number = t.write((Use(number), ".unsqueeze(-1)"))
    t.give(number, "keras")
