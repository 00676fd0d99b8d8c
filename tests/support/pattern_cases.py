"""Random axis patterns with what they mean, spelled out element by element.

A case is built from a list of axes, not from the text, so the oracle shares nothing with the
parser: it walks over every combination of axis positions and says which element goes where.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from hypothesis import strategies as st

from converter.tensors.dtype import DTYPES

WHOLE = [dtype for dtype in DTYPES if not dtype.is_packed]
FLOATS = [dtype for dtype in WHOLE if dtype.is_floating and dtype.name != "float8_e8m0fnu"]


@dataclass(frozen=True)
class Axis:
    """One factor: a name and a size, or labels in the order of each side."""

    name: str
    size: int
    left: tuple[str, ...] = ()
    right: tuple[str, ...] = ()

    def text(self, side):
        labels = getattr(self, side)
        return f"[{' '.join(labels)}]" if labels else self.name

    def position(self, side, value):
        return getattr(self, side).index(value) if self.left else value

    @property
    def values(self):
        return self.left or range(self.size)


@dataclass(frozen=True)
class PatternCase:
    """A pattern as groups of axes on both sides; ``listed`` is the axis that is a list there."""

    left: tuple[tuple[Axis, ...], ...]
    right: tuple[tuple[Axis, ...], ...]
    left_listed: Axis | None = None
    right_listed: Axis | None = None

    @property
    def text(self):
        return f"{self._side('left')} -> {self._side('right')}"

    @property
    def sizes(self):
        axes = [axis for group in self.left for axis in group]
        return {axis.name: axis.size for axis in axes if not axis.left}

    @property
    def num_sources(self):
        return self.left_listed.size if self.left_listed else 1

    @property
    def num_targets(self):
        return self.right_listed.size if self.right_listed else 1

    @property
    def source_shape(self):
        return _shape(self.left)

    @property
    def target_shape(self):
        return _shape(self.right)

    def expected(self, arrays):
        targets = [np.zeros(math.prod(self.target_shape), a.dtype) for a in arrays[:1]]
        targets = [targets[0].copy() for _ in range(self.num_targets)]
        axes = [axis for group in self.left for axis in group]
        axes += [self.left_listed] if self.left_listed else []
        axes += [self.right_listed] if self.right_listed and self.right_listed not in axes else []
        flat = [np.array(array, order="C").reshape(-1) for array in arrays]
        for choice in product(*(axis.values for axis in axes)):
            at = dict(zip(axes, choice, strict=True))
            source = (
                self.left_listed.position("left", at[self.left_listed]) if self.left_listed else 0
            )
            target = (
                self.right_listed.position("right", at[self.right_listed])
                if self.right_listed
                else 0
            )
            targets[target][_flat(self.right, "right", at)] = flat[source][
                _flat(self.left, "left", at)
            ]
        return [target.reshape(self.target_shape) for target in targets]

    def _side(self, side):
        listed = getattr(self, f"{side}_listed")
        words = [listed.text(side)] if listed else []
        for group in getattr(self, side):
            inner = " ".join(axis.text(side) for axis in group)
            words.append(f"({inner})" if len(group) > 1 else inner or "1")
        return " ".join(words)


def _shape(groups):
    return tuple(math.prod(axis.size for axis in group) for group in groups)


def _flat(groups, side, at):
    index = 0
    for group in groups:
        for axis in group:
            index = index * axis.size + axis.position(side, at[axis])
    return index


@st.composite
def pattern_cases(draw, *, lists=True):
    axes = [Axis(name, draw(st.integers(0, 4))) for name in "abcde"[: draw(st.integers(0, 4))]]
    for number in range(draw(st.integers(0, 2))):
        labels = [f"{letter}{number}" for letter in "xyz"[: draw(st.integers(2, 3))]]
        order = tuple(draw(st.permutations(labels)))
        axes.append(Axis(f"#{number}", len(labels), tuple(labels), order))
    labelled = [axis for axis in axes if axis.left]
    left_listed = draw(st.sampled_from([None, *labelled])) if lists else None
    right_listed = draw(st.sampled_from([None, *labelled])) if lists else None
    return PatternCase(
        draw(_sides([axis for axis in axes if axis is not left_listed])),
        draw(_sides([axis for axis in axes if axis is not right_listed])),
        left_listed,
        right_listed,
    )


@st.composite
def _sides(draw, axes):
    axes = draw(st.permutations(axes))
    groups = []
    for axis in axes:
        if groups and groups[-1] and draw(st.booleans()):
            groups[-1] = (*groups[-1], axis)
        else:
            if draw(st.integers(0, 4)) == 0:
                groups.append(())
            groups.append((axis,))
    if draw(st.integers(0, 6)) == 0:
        groups.append(())
    return tuple(groups)


@st.composite
def arrays(draw, shape, dtype, *, strided=True):
    """Return an array of random bytes: every NaN, both zeros; of any memory order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    raw = rng.integers(0, 256, size=(*shape, dtype.itemsize), dtype=np.uint8)
    if dtype.name == "bool":
        raw &= 1
    array = np.ascontiguousarray(raw).reshape(-1).view(dtype.numpy).reshape(shape)
    if strided and array.ndim and draw(st.booleans()):
        order = draw(st.permutations(range(array.ndim)))
        array = array.transpose(order).copy().transpose(np.argsort(order))
    return array


def same_bytes(one, other):
    """Whether two arrays are equal to the last bit, and in shape and dtype."""
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    return one.tobytes() == other.tobytes()


def joined(blocks, shapes, dtypes, max_bytes=None):
    """Put the blocks of a stream together, and check that they come in order."""
    targets = [
        np.empty(math.prod(shape), dtype.numpy) for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
    position, last = [0] * len(targets), 0
    for block in blocks:
        assert block.target >= last
        assert block.start == position[block.target]
        assert block.array.flags.c_contiguous
        assert max_bytes is None or block.array.nbytes <= max(max_bytes, block.array.itemsize)
        last = block.target
        targets[last][block.start : block.start + block.array.size] = block.array.reshape(-1)
        position[last] += block.array.size
    assert position == [target.size for target in targets]
    return [target.reshape(shape) for target, shape in zip(targets, shapes, strict=True)]
