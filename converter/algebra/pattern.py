"""Axis patterns: how the axes of one or several tensors become those of others, bit for bit.

A pattern such as ``"kh kw in out -> out in kh kw"`` is written as in einops, restricted to
bijections: every axis stands once on each side. Round brackets flatten several axes into one, 1 is
an axis of size 1, and square brackets name the positions of an axis, so that ordered blocks can
change their order: ``"in ([z r n] u) -> ([r z n] u) in"``. Where a side is several tensors, a
labelled axis in front stands for the list of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from converter.algebra.pattern_text import Atom, Group, Labels, Side, parse_sides, side_text
from converter.algebra.unification import Equation, ShapeGiven, solve
from converter.errors import OperationError, shape_text
from converter.tensors.dtype import Shape


@dataclass(frozen=True, slots=True)
class Pattern:
    """A bijection between the axes of sources and those of targets.

    Examples:
        >>> pattern = Pattern.parse("kh kw in out -> out in kh kw")
        >>> pattern.unify(sources=[(7, 7, 3, 64)])
        {'kh': 7, 'kw': 7, 'in': 3, 'out': 64}
        >>> str(pattern.inverse())
        'out in kh kw -> kh kw in out'

    Attributes:
        left: Axes of the sources; each is a tuple of factors, ``()`` for the number 1.
        right: Axes of the targets.
        num_sources: Number of tensors on the left. More than one: the labelled axis in front of
            the left side is the list of them, in the order of its labels.
        num_targets: Number of tensors on the right, likewise.
    """

    left: Side
    right: Side
    num_sources: int = 1
    num_targets: int = 1

    def __post_init__(self) -> None:
        for side, count, what in (
            (self.left, self.num_sources, "source"),
            (self.right, self.num_targets, "target"),
        ):
            if count < 1:
                raise OperationError(f"the pattern '{self}' needs at least one {what}")
            front = side[0] if side else ()
            labels = front[0] if len(front) == 1 else None
            if count > 1 and not (isinstance(labels, Labels) and len(labels.names) == count):
                raise OperationError(
                    f"the pattern '{self}' cannot stand for {count} {what}s",
                    facts=[
                        ("expected", f"a labelled axis with {count} labels in front of the {what}"),
                        ("found", f"'{side_text(side)}'"),
                    ],
                )

    @classmethod
    def parse(cls, text: str, num_sources: int = 1, num_targets: int = 1) -> Self:
        """Read a pattern.

        Args:
            text: Such as ``"(h w c) out -> out (c h w)"``.
            num_sources: Number of tensors that the left side stands for.
            num_targets: Number of tensors that the right side stands for.

        Raises:
            OperationError: If the text is not a pattern, with the place; or if a side that
                stands for several tensors has no labelled axis of that many labels in front.
        """
        left, right = _parsed(text)
        return cls(left, right, num_sources, num_targets)

    def inverse(self) -> Pattern:
        """Return the pattern from targets to sources."""
        return Pattern(self.right, self.left, self.num_targets, self.num_sources)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes, as they come on the left; labelled axes have no name."""
        return tuple(atom for group in self.left for atom in group if isinstance(atom, str))

    @property
    def source_groups(self) -> Side:
        """Axes of each single source."""
        return self.left[1:] if self.num_sources > 1 else self.left

    @property
    def target_groups(self) -> Side:
        """Axes of each single target."""
        return self.right[1:] if self.num_targets > 1 else self.right

    @property
    def is_identity(self) -> bool:
        """Whether every target is the source of the same place, with the same axes."""
        return self.left == self.right and self.num_sources == self.num_targets

    @property
    def keeps_order(self) -> bool:
        """Whether one source becomes one target with the elements in the same order."""
        if self.num_sources > 1 or self.num_targets > 1:
            return False
        return _atoms(self.left) == _atoms(self.right)

    def source_shapes(self, sizes: Mapping[str, int]) -> tuple[Shape, ...]:
        """Return the shapes of the sources for these sizes of all axes."""
        return (_shape(self.source_groups, sizes),) * self.num_sources

    def target_shapes(self, sizes: Mapping[str, int]) -> tuple[Shape, ...]:
        """Return the shapes of the targets for these sizes of all axes."""
        return (_shape(self.target_groups, sizes),) * self.num_targets

    def unify(
        self,
        sources: Sequence[Shape] | None = None,
        targets: Sequence[Shape] | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> dict[str, int]:
        """Return the size of every axis, from the shapes of either or both sides and from sizes.

        Args:
            sources: Shapes of all sources, or ``None`` when they are not known.
            targets: Shapes of all targets, or ``None``.
            sizes: Sizes of some axes; names that are no axis of this pattern are passed over.

        Raises:
            OperationError: If number or rank of the tensors do not fit, or if two places give one
                axis different sizes; the message names both places.
            UndeterminedError: If nothing determines the size of an axis; the message names all
                such axes, and which sizes to give.
        """
        axes = self.axes
        given = {axis: size for axis, size in (sizes or {}).items() if axis in axes}
        equations = self._equations("source", self.source_groups, self.num_sources, sources)
        equations += self._equations("target", self.target_groups, self.num_targets, targets)
        return solve(str(self), axes, equations, given)

    def _equations(
        self, what: str, groups: Side, count: int, shapes: Sequence[Shape] | None
    ) -> list[Equation]:
        if shapes is None:
            return []
        if len(shapes) != count:
            raise OperationError(
                f"cannot fit '{self}': it has {_count(count, what)}, not {len(shapes)}"
            )
        equations = []
        for number, shape in enumerate(shapes, 1):
            place = f"{what} {number} of {count}" if count > 1 else what
            if len(shape) != len(groups):
                raise OperationError(
                    f"cannot fit '{self}': the {place} has rank {len(shape)}, not {len(groups)}",
                    facts=[
                        ("expected", f"'{side_text(groups)}'"),
                        ("found", shape_text(shape)),
                    ],
                )
            equations += [
                Equation(
                    tuple(atom for atom in group if isinstance(atom, str)),
                    _label_product(group),
                    size,
                    group,
                    ShapeGiven(place, shape, position),
                )
                for position, (group, size) in enumerate(zip(groups, shape, strict=True))
            ]
        return equations

    def __str__(self) -> str:
        return f"{side_text(self.left)} -> {side_text(self.right)}"


def atom_size(atom: Atom, sizes: Mapping[str, int]) -> int:
    """Return the size of one factor of an axis."""
    return len(atom.names) if isinstance(atom, Labels) else sizes[atom]


@lru_cache(maxsize=4096)
def _parsed(text: str) -> tuple[Side, Side]:
    return parse_sides(text)


def _atoms(side: Side) -> list[Atom]:
    return [atom for group in side for atom in group]


def _shape(groups: Side, sizes: Mapping[str, int]) -> Shape:
    return tuple(math.prod(atom_size(atom, sizes) for atom in group) for group in groups)


def _label_product(group: Group) -> int:
    return math.prod(len(atom.names) for atom in group if isinstance(atom, Labels))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
