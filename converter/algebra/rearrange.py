"""Moving elements by an axis pattern, without touching a value: the operation of most rules."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from types import MappingProxyType

import numpy as np

from converter.algebra.assembly import Assembled, Assembly, Piece
from converter.algebra.base import Block, joint_dtype
from converter.algebra.copying import native
from converter.algebra.pattern import Pattern, atom_size
from converter.algebra.pattern_text import Atom, Labels, Side
from converter.errors import OperationError
from converter.tensors.dtype import DTYPES, Array, DType, Shape

_SMALL_BYTES = 1 << 16
_PACKED_BITS = sorted({dtype.bits for dtype in DTYPES if dtype.is_packed})


@dataclass(frozen=True, slots=True)
class Rearrange(Assembled):
    """Move elements from the axes on the left of a pattern to those on the right.

    The law is exact for every dtype: bytes are moved, values are never looked at. Results are
    C-contiguous; they are views of the source where the order of the elements stays. Packed dtypes
    pass only patterns that keep the order.

    Examples:
        >>> operation = Rearrange(Pattern.parse("kh kw in out -> out in kh kw"))
        >>> operation.infer([(7, 7, 3, 64)])
        ((64, 3, 7, 7),)
        >>> operation.inverse().describe()
        'out in kh kw -> kh kw in out'

    Attributes:
        pattern: The axes.
        sizes: Sizes of axes that the sources' shapes do not determine, or that they must have.
            Sizes that only the target's shape determines belong here, as does everything that
            :meth:`Pattern.unify` found out, so that the inverse can do without shapes too.
    """

    pattern: Pattern
    sizes: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        unknown = [axis for axis in self.sizes if axis not in self.pattern.axes]
        if unknown:
            raise OperationError(
                f"cannot give '{self.pattern}' a size of {', '.join(map(repr, unknown))}: "
                "it has no such axis"
            )
        object.__setattr__(self, "sizes", MappingProxyType(dict(sorted(self.sizes.items()))))

    def infer(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """Return the shapes of the targets."""
        return self.pattern.target_shapes(self._unify(shapes))

    def infer_dtypes(self, dtypes: Sequence[DType]) -> tuple[DType, ...]:
        """Return the one dtype of the sources, for every target.

        Raises:
            OperationError: If the sources' dtypes differ, or are packed and the order changes.
        """
        dtype = joint_dtype(self, dtypes)
        if dtype.is_packed and not self.pattern.keeps_order:
            raise OperationError(
                f"cannot rearrange {dtype.name} by '{self.pattern}': its elements share bytes"
            )
        return (dtype,) * self.pattern.num_targets

    def apply(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Return the targets, C-contiguous; see :meth:`Operation.apply`."""
        if self._is_raw(arrays):
            return (np.ascontiguousarray(arrays[0]),)
        small = self._small(arrays, _SMALL_BYTES)
        return Assembled.apply(self, arrays) if small is None else (small,)

    def stream(self, arrays: Sequence[Array], max_bytes: int) -> Iterator[Block]:
        """Yield the targets in blocks; see :mod:`converter.algebra.assembly` for the pages."""
        if self._is_raw(arrays):
            yield Block(0, 0, np.ascontiguousarray(arrays[0]))
            return
        small = self._small(arrays, max_bytes)
        if small is not None:
            yield Block(0, 0, small)
            return
        yield from Assembled.stream(self, arrays, max_bytes)

    def _small(self, arrays: Sequence[Array], max_bytes: int) -> Array | None:
        """Return the target of one small source, without the machinery that large ones need.

        ``None`` where a source is large or an axis is labelled. Models with many thousand tensors
        consist of small ones.
        """
        if len(arrays) != 1 or arrays[0].nbytes > min(max_bytes, _SMALL_BYTES):
            return None
        recipe = _recipe(self, arrays[0].shape)
        if recipe is None:
            return None
        array = native(arrays[0]).reshape(recipe.grid).transpose(recipe.order)
        return np.ascontiguousarray(array).reshape(recipe.shape)

    def inverse(self) -> Rearrange:
        """Return the operation of the inverse pattern."""
        return Rearrange(self.pattern.inverse(), self.sizes)

    def describe(self) -> str:
        """Return the pattern."""
        return str(self.pattern)

    def _unify(self, shapes: Sequence[Shape]) -> Mapping[str, int]:
        return _unified(self, tuple(map(tuple, shapes)))

    def _is_raw(self, arrays: Sequence[Array]) -> bool:
        """Whether the one source is the raw bytes of a packed dtype: ``uint8``, flat, too short."""
        if len(arrays) != 1 or arrays[0].dtype != np.uint8 or arrays[0].ndim != 1:
            return False
        if not self.pattern.keeps_order:
            return False
        if len(self.sizes) < len(self.pattern.axes):
            return len(self.pattern.left) != 1
        (shape,) = self.pattern.source_shapes(self.sizes)
        elements = math.prod(shape)
        return arrays[0].shape != shape and any(
            arrays[0].size * 8 == elements * bits for bits in _PACKED_BITS
        )

    def assemblies(self, sources: Sequence[Array]) -> Iterator[Assembly]:
        """Yield the targets."""
        sizes = self._unify([array.shape for array in sources])
        pieces = _pieces(self.pattern, sizes, sources)
        right = [atom for group in self.pattern.target_groups for atom in group]
        grid = tuple(atom_size(atom, sizes) for atom in right)
        for index, shape in enumerate(self.pattern.target_shapes(sizes)):
            yield Assembly(shape, grid, tuple(pieces[index]), sources[0].dtype)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """A permutation of one tensor, ready for NumPy: split axes, order them, join axes."""

    grid: Shape
    order: tuple[int, ...]
    shape: Shape


@lru_cache(maxsize=1024)
def _recipe(operation: Rearrange, shape: Shape) -> _Recipe | None:
    """Return how to move one tensor of this shape, ``None`` where an axis is labelled."""
    pattern = operation.pattern
    if pattern.num_sources > 1 or pattern.num_targets > 1:
        return None
    left = [atom for group in pattern.source_groups for atom in group]
    right = [atom for group in pattern.target_groups for atom in group]
    if any(isinstance(atom, Labels) for atom in left):
        return None
    sizes = _unified(operation, (shape,))
    order = tuple(left.index(atom) for atom in right)
    return _Recipe(
        tuple(atom_size(atom, sizes) for atom in left), order, pattern.target_shapes(sizes)[0]
    )


@lru_cache(maxsize=1024)  # models repeat their layers, and every tensor asks several times
def _unified(operation: Rearrange, shapes: tuple[Shape, ...]) -> Mapping[str, int]:
    return MappingProxyType(operation.pattern.unify(sources=shapes, sizes=operation.sizes))


def identity(shape: Shape | int) -> Rearrange:
    """Return the operation that changes nothing, for tensors of this shape, or of this rank.

    Examples:
        >>> identity(2).describe(), identity((3, 4)).infer([(3, 4)])
        ('a b -> a b', ((3, 4),))
    """
    rank = shape if isinstance(shape, int) else len(shape)
    axes = tuple(chr(ord("a") + axis) if rank <= 26 else f"a{axis}" for axis in range(rank))
    side: Side = tuple((axis,) for axis in axes)
    sizes = {} if isinstance(shape, int) else dict(zip(axes, shape, strict=True))
    return Rearrange(Pattern(side, side), sizes)


def _pieces(
    pattern: Pattern, sizes: Mapping[str, int], sources: Sequence[Array]
) -> list[list[Piece]]:
    """Return what fills each target: one view for every choice of those labels that move."""
    left = [atom for group in pattern.source_groups for atom in group]
    right = [atom for group in pattern.target_groups for atom in group]
    grids = [array.reshape([atom_size(atom, sizes) for atom in left]) for array in sources]
    moving = _moving(pattern)
    pieces: list[list[Piece]] = [[] for _ in range(pattern.num_targets)]
    for choice in product(*(labels.names for labels in moving)):
        chosen = {labels.key: name for labels, name in zip(moving, choice, strict=True)}
        source = _listed(pattern.left, pattern.num_sources, chosen)
        target = _listed(pattern.right, pattern.num_targets, chosen)
        view = grids[source][(*(_position(atom, chosen) for atom in left), ...)]
        pieces[target].append(_piece(view, left, right, chosen))
    return pieces


def _moving(pattern: Pattern) -> list[Labels]:
    """Return the labelled axes that are a list of tensors on one side, or change their order."""
    order = {atom for group in pattern.target_groups for atom in group}
    listed = pattern.left[0] if pattern.num_sources > 1 else ()
    labelled = [atom for group in pattern.left for atom in group if isinstance(atom, Labels)]
    return [labels for labels in labelled if labels in listed or labels not in order]


def _listed(side: Side, count: int, chosen: Mapping[frozenset[str], str]) -> int:
    """Return which tensor of a side holds the chosen labels."""
    if count == 1:
        return 0
    labels = side[0][0]
    return labels.names.index(chosen[labels.key]) if isinstance(labels, Labels) else 0


def _position(atom: Atom, chosen: Mapping[frozenset[str], str]) -> int | slice:
    if isinstance(atom, Labels) and atom.key in chosen:
        return atom.names.index(chosen[atom.key])
    return slice(None)


def _piece(
    view: Array, left: list[Atom], right: list[Atom], chosen: Mapping[frozenset[str], str]
) -> Piece:
    """Return the view with its axes in the order of the target; chosen labels have size 1."""
    kept = [_key(atom) for atom in left if _key(atom) not in chosen]
    order = [kept.index(_key(atom)) for atom in right if _key(atom) not in chosen]
    view = view.transpose(order)
    start = []
    for axis, atom in enumerate(right):
        position = _position(atom, chosen)
        if isinstance(position, int):
            view = np.expand_dims(view, axis)
            start.append(position)
        else:
            start.append(0)
    return Piece(view, tuple(start))


def _key(atom: Atom) -> str | frozenset[str]:
    return atom.key if isinstance(atom, Labels) else atom
