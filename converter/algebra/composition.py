"""Two axis patterns, one after the other, as one, where the patterns alone can tell which."""

from __future__ import annotations

from collections.abc import Mapping

from converter.algebra.pattern import Pattern
from converter.algebra.pattern_text import Atom, Group, Labels, Side
from converter.algebra.rearrange import Rearrange
from converter.errors import OperationError


def compose(first: Rearrange, second: Rearrange) -> Rearrange | None:
    """Return the operation that does both, or ``None`` where no single pattern is known for it.

    Tensors between the two have the axes of the first one's right and of the second one's left. A
    pattern is found when each of these axes is a single factor for one of them, or is cut into the
    same sizes by both.
    """
    between, after = first.pattern.right, second.pattern.left
    if first.pattern.num_targets != second.pattern.num_sources or len(between) != len(after):
        return None
    # Axes of the second get a mark in front, so that equal names do not meet by accident.
    mark = "_"
    while any(axis.startswith(mark) for axis in first.pattern.axes):
        mark += "_"
    names = _Names({**first.sizes, **{f"{mark}{axis}": n for axis, n in second.sizes.items()}})
    for ours, theirs in zip(between, _marked(after, mark), strict=True):
        if not names.match(ours, theirs):
            return None
    left = _rename(first.pattern.left, names.in_first)
    right = _rename(_marked(second.pattern.right, mark), names.in_second)
    try:
        merged = Pattern.parse(
            str(Pattern(left, right)), first.pattern.num_sources, second.pattern.num_targets
        )
        return Rearrange(
            merged, {axis: names.sizes[axis] for axis in merged.axes if axis in names.sizes}
        )
    except OperationError:  # labels of one that the other has as well
        return None


class _Names:
    """What the factors of both patterns are called in the merged one, and the sizes known."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes
        self.in_first: dict[Atom, Group] = {}
        self.in_second: dict[Atom, Group] = {}

    def match(self, ours: Group, theirs: Group) -> bool:
        """Identify one axis of the first's targets with one of the second's sources."""
        if len(ours) == len(theirs):
            alone = len(ours) == 1
            return all(
                (alone or self._are_known(one, other)) and self._match_atoms(one, other)
                for one, other in zip(ours, theirs, strict=True)
            )
        if len(theirs) == 1 and ours and self._is_free(theirs[0]):
            self.in_second[theirs[0]] = ours
            return True
        if len(ours) == 1 and theirs and self._is_free(ours[0]):
            self.in_first[ours[0]] = theirs
            return True
        return False

    def _match_atoms(self, one: Atom, other: Atom) -> bool:
        if isinstance(one, Labels) and isinstance(other, Labels):
            self.in_second[other] = (one,)
            return len(one.names) == len(other.names)
        if isinstance(other, Labels):
            self.in_first[one] = (other,)
            return self._is_free(one)
        self.in_second[other] = (one,)
        if isinstance(one, Labels):
            return self._is_free(other)
        size = self.sizes.get(other)
        return size is None or self.sizes.setdefault(one, size) == size

    def _is_free(self, atom: Atom) -> bool:
        return isinstance(atom, str) and atom not in self.sizes

    def _are_known(self, one: Atom, other: Atom) -> bool:
        """Whether two factors among several are of one size for certain."""
        if isinstance(one, Labels):
            return isinstance(other, Labels)
        return isinstance(other, str) and one in self.sizes and other in self.sizes


def _marked(side: Side, mark: str) -> Side:
    return tuple(
        tuple(f"{mark}{atom}" if isinstance(atom, str) else atom for atom in group)
        for group in side
    )


def _rename(side: Side, renaming: Mapping[Atom, tuple[Atom, ...]]) -> Side:
    return tuple(tuple(new for atom in group for new in _renamed(atom, renaming)) for group in side)


def _renamed(atom: Atom, renaming: Mapping[Atom, tuple[Atom, ...]]) -> tuple[Atom, ...]:
    if isinstance(atom, str):
        return renaming.get(atom, (atom,))
    for known, (new, *_) in renaming.items():
        if isinstance(known, Labels) and isinstance(new, Labels) and known.key == atom.key:
            translation = dict(zip(known.names, new.names, strict=True))
            return (Labels(tuple(translation[name] for name in atom.names)),)
    return (atom,)
