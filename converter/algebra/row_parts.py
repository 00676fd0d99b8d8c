"""Tensors as the rows of one, each moved by a pattern of its own: query, key and value of Phi-3.

A pattern with a labelled axis says this where the parts are equal. Here they are not: the keys of
grouped attention have fewer heads than the queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from converter.algebra.assembly import Assembled, Assembly
from converter.algebra.checks import require_sources
from converter.algebra.rearrange import Rearrange
from converter.errors import OperationError, shape_text
from converter.tensors.dtype import Array, Shape


@dataclass(frozen=True, slots=True)
class JoinRows(Assembled):
    """Move each source by its own pattern, and put the results one below the other.

    The law is exact.

    Examples:
        >>> from converter.algebra.pattern import Pattern
        >>> pattern = Pattern.parse("e h d -> (h d) e")
        >>> sizes = [{"e": 5, "h": heads, "d": 2} for heads in (4, 2)]
        >>> JoinRows(tuple(Rearrange(pattern, one) for one in sizes)).infer([(5, 4, 2), (5, 2, 2)])
        ((12, 5),)

    Attributes:
        parts: What moves each source; all sizes are in them.
    """

    parts: tuple[Rearrange, ...]

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shape of the joined tensor.

        Raises:
            OperationError: If the results differ in another axis than the first.
        """
        require_sources(self, len(shapes), len(self.parts))
        moved = [part.infer([shape])[0] for part, shape in zip(self.parts, shapes, strict=True)]
        for shape in moved:
            if shape[1:] != moved[0][1:]:
                raise OperationError(
                    f"cannot apply '{self.describe()}': the rows differ in size",
                    facts=[("found", " and ".join(shape_text(one) for one in (moved[0], shape)))],
                )
        return ((sum(shape[0] for shape in moved), *moved[0][1:]),)

    def assemblies(self, sources: Sequence[Array]) -> Iterator[Assembly]:
        """Yield the one target, whose grid is that of a part, with more along its first axis."""
        (shape,) = self.infer([source.shape for source in sources])
        pieces = []
        position = 0
        rest: Sequence[int] = ()
        for part, source in zip(self.parts, sources, strict=True):
            (moved,) = part.assemblies([source])
            for piece in moved.pieces:
                start = (piece.start[0] + position, *piece.start[1:])
                pieces.append(replace(piece, start=start))
            first, *rest = moved.grid
            position += first
        yield Assembly(shape, (position, *rest), tuple(pieces), sources[0].dtype)

    def inverse(self) -> SplitRows:
        """Return the operation that takes the rows apart and moves them back."""
        return SplitRows(tuple(part.inverse() for part in self.parts))

    def describe(self) -> str:
        """Return the pattern and the number of parts."""
        return f"{_patterns(self.parts)}, {len(self.parts)} tensors one below the other"


@dataclass(frozen=True, slots=True)
class SplitRows(Assembled):
    """Cut a tensor into groups of rows, and move each by its own pattern. The law is exact.

    Attributes:
        parts: What moves each group; all sizes are in them.
    """

    parts: tuple[Rearrange, ...]

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shapes of the parts.

        Raises:
            OperationError: If the parts do not add up to the source.
        """
        require_sources(self, len(shapes), 1)
        cut = [part.pattern.source_shapes(part.sizes)[0] for part in self.parts]
        expected = (sum(shape[0] for shape in cut), *cut[0][1:])
        if tuple(shapes[0]) != expected:
            raise OperationError(
                f"cannot apply '{self.describe()}': the shape does not fit",
                facts=[("expected", shape_text(expected)), ("found", shape_text(shapes[0]))],
            )
        return tuple(part.infer([one])[0] for part, one in zip(self.parts, cut, strict=True))

    @property
    def num_targets(self) -> int:
        """Number of parts."""
        return len(self.parts)

    def assemblies(self, sources: Sequence[Array]) -> Iterator[Assembly]:
        """Yield the parts."""
        self.infer([sources[0].shape])
        position = 0
        for part in self.parts:
            rows = part.pattern.source_shapes(part.sizes)[0][0]
            yield from part.assemblies([sources[0][position : position + rows]])
            position += rows

    def inverse(self) -> JoinRows:
        """Return the operation that moves the parts back and joins them."""
        return JoinRows(tuple(part.inverse() for part in self.parts))

    def describe(self) -> str:
        """Return the number of parts and the pattern."""
        return f"{len(self.parts)} groups of rows, {_patterns(self.parts)}"


def _patterns(parts: Sequence[Rearrange]) -> str:
    return " and ".join(dict.fromkeys(part.describe() for part in parts))
