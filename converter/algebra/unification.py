"""Solving the sizes of axes from shapes: every size has an origin that messages can name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from converter.algebra.pattern_text import Group, group_text
from converter.errors import OperationError, UndeterminedError, shape_text
from converter.tensors.dtype import Shape


@dataclass(frozen=True, slots=True)
class ShapeGiven:
    """Where an equation comes from.

    Attributes:
        place: ``"source"``, ``"target 2 of 3"``.
        shape: The shape of that tensor.
        position: The axis in it, counted from 0.
    """

    place: str
    shape: Shape
    position: int

    def __str__(self) -> str:
        return f"axis {self.position} of the {self.place} {shape_text(self.shape)}"


@dataclass(frozen=True, slots=True)
class Equation:
    """The product of some axes and of a constant is the size of one axis of a tensor.

    Attributes:
        axes: The axes whose sizes are multiplied.
        constant: Product of the sizes of the labelled axes among the factors.
        size: What the product must be.
        group: The axis of the tensor as written, for messages.
        origin: The tensor and the axis.
    """

    axes: tuple[str, ...]
    constant: int
    size: int
    group: Group
    origin: ShapeGiven


def solve(
    pattern: str, axes: Sequence[str], equations: Sequence[Equation], given: Mapping[str, int]
) -> dict[str, int]:
    """Return the size of each axis.

    Args:
        pattern: The pattern as written, for messages.
        axes: All axes to solve for; the result has their order.
        equations: What the shapes say.
        given: What the caller says.

    Raises:
        OperationError: If two equations contradict each other.
        UndeterminedError: If they do not suffice.
    """
    solver = _Solver(pattern)
    for axis, size in given.items():
        solver.learn(axis, size, "given")
    solver.run(equations)
    missing = [axis for axis in axes if axis not in solver.sizes]
    if missing:
        raise _undetermined(pattern, missing, equations, set(solver.sizes))
    return {axis: solver.sizes[axis] for axis in axes}


class _Solver:
    """Known sizes with their origins, and the rule that one unknown factor can be divided out."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.sizes: dict[str, int] = {}
        self.origins: dict[str, str] = {}

    def learn(self, axis: str, size: int, origin: str) -> None:
        if size < 0:
            raise OperationError(
                f"cannot fit '{self.pattern}': the size of axis {axis!r} is {size}"
            )
        self.sizes[axis] = size
        self.origins[axis] = origin

    def run(self, equations: Sequence[Equation]) -> None:
        waiting = list(equations)
        while True:
            left = [equation for equation in waiting if not self._settle(equation)]
            if len(left) == len(waiting):
                return
            waiting = left

    def _settle(self, equation: Equation) -> bool:
        """Use an equation as far as possible; whether it has nothing more to say."""
        unknown = [axis for axis in equation.axes if axis not in self.sizes]
        product = equation.constant * math.prod(
            self.sizes[axis] for axis in equation.axes if axis in self.sizes
        )
        if not unknown:
            if product != equation.size:
                raise self._contradiction(equation, product)
            return True
        if product == 0:
            if equation.size != 0:
                raise self._contradiction(equation, product)
            return False
        if equation.size % product:
            raise self._indivisible(equation, product)
        if len(unknown) > 1:
            return False
        self.learn(unknown[0], equation.size // product, str(equation.origin))
        return True

    def _contradiction(self, equation: Equation, product: int) -> OperationError:
        text = group_text(equation.group)
        if equation.axes == equation.group:
            found = self.origins[text] if len(equation.axes) == 1 else self._factors(equation)
        else:
            found = self._factors(equation)
        return OperationError(
            f"cannot fit '{self.pattern}': axis '{text}' is {product} and {equation.size}",
            facts=[(str(product), found), (str(equation.size), str(equation.origin))],
        )

    def _indivisible(self, equation: Equation, product: int) -> OperationError:
        return OperationError(
            f"cannot fit '{self.pattern}': axis '{group_text(equation.group)}' is "
            f"{equation.size}, which is no multiple of {product}",
            facts=[
                (str(equation.size), str(equation.origin)),
                (str(product), self._factors(equation)),
            ],
        )

    def _factors(self, equation: Equation) -> str:
        parts = [
            f"{axis} = {self.sizes[axis]} ({self.origins[axis]})"
            for axis in equation.axes
            if axis in self.sizes
        ]
        if equation.constant > 1:
            parts.append(f"{equation.constant} labels")
        return ", ".join(parts) or "the axis is the number 1"


def _undetermined(
    pattern: str, missing: list[str], equations: Sequence[Equation], known: set[str]
) -> UndeterminedError:
    needed: list[str] = []
    for axis in missing:
        if axis not in known:
            needed.append(axis)
            known.add(axis)
            _mark_known(equations, known)
    facts = [
        (f"{equation.size}", f"'{group_text(equation.group)}', {equation.origin}")
        for equation in equations
        if any(axis in missing for axis in equation.axes)
    ]
    names = ", ".join(repr(axis) for axis in missing)
    return UndeterminedError(
        f"cannot fit '{pattern}': nothing determines the size of {names}",
        facts=facts,
        hint=f"give the size of {' and '.join(repr(axis) for axis in needed)}",
    )


def _mark_known(equations: Sequence[Equation], known: set[str]) -> None:
    changed = True
    while changed:
        changed = False
        for equation in equations:
            unknown = [axis for axis in equation.axes if axis not in known]
            if len(unknown) == 1:
                known.add(unknown[0])
                changed = True
