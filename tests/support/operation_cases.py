"""Random operations of every class, with sources that fit."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from support.pattern_cases import FLOATS, WHOLE, arrays, pattern_cases

from converter.algebra.computed import Count, Frequencies
from converter.algebra.copies import Copies, TakeOne
from converter.algebra.initial import Initial
from converter.algebra.joins import (
    Concat,
    PadRows,
    SignedSum,
    SliceRows,
    Split,
    SplitSum,
    Stack,
    Unstack,
)
from converter.algebra.materialised import Materialised
from converter.algebra.parts import ScaleParts
from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange
from converter.algebra.row_parts import JoinRows
from converter.algebra.shared_rows import AddRow, ShareRow
from converter.algebra.values import Cast, Constant, Derive, Discard, Expect, Offset, Scale
from converter.tensors.dtype import get_dtype

SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
SIZES = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple)
NUMBERS = st.floats(-4, 4, width=16)
SIGNS = st.lists(st.sampled_from([1, -1]), min_size=1, max_size=3).map(tuple)
MODEST = [dtype for dtype in FLOATS if dtype.bits >= 16]


def replaced(shape, axis, size):
    return (*shape[:axis], size, *shape[axis + 1 :])


@st.composite
def modest(draw, shape, dtype):
    """Return values that no sum or product here takes out of range."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.normal(size=shape)
    values[rng.random(shape) < 0.2] = -0.0
    return values.astype(dtype.numpy)


@st.composite
def rearranges(draw):
    case = draw(pattern_cases())
    dtype = draw(st.sampled_from(WHOLE))
    rule = Rearrange(Pattern.parse(case.text, case.num_sources, case.num_targets), case.sizes)
    return rule, [draw(arrays(case.source_shape, dtype)) for _ in range(case.num_sources)]


@st.composite
def concats(draw):
    sizes, shape = draw(SIZES), draw(SHAPES.filter(len))
    axis = draw(st.integers(0, len(shape) - 1))
    dtype = draw(st.sampled_from(WHOLE))
    return Concat(axis, sizes), [draw(arrays(replaced(shape, axis, n), dtype)) for n in sizes]


@st.composite
def splits(draw):
    sizes, shape = draw(SIZES), draw(SHAPES.filter(len))
    axis = draw(st.integers(0, len(shape) - 1))
    dtype = draw(st.sampled_from(WHOLE))
    return Split(axis, sizes), [draw(arrays(replaced(shape, axis, sum(sizes)), dtype))]


@st.composite
def stacks(draw):
    count, shape = draw(st.integers(1, 3)), draw(SHAPES)
    axis = draw(st.integers(0, len(shape)))
    dtype = draw(st.sampled_from(WHOLE))
    return Stack(count, axis), [draw(arrays(shape, dtype)) for _ in range(count)]


@st.composite
def unstacks(draw):
    shape = draw(SHAPES.filter(any))
    axis = draw(st.sampled_from([axis for axis, size in enumerate(shape) if size]))
    return Unstack(shape[axis], axis), [draw(arrays(shape, draw(st.sampled_from(WHOLE))))]


def _heads(draw):
    """Return what moves heads, not as many in each tensor, and the shapes of the tensors."""
    pattern = Pattern.parse("e h d -> (h d) e")
    e, d = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    heads = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    parts = [Rearrange(pattern, {"e": e, "h": h, "d": d}) for h in heads]
    return JoinRows(tuple(parts)), [(e, h, d) for h in heads]


@st.composite
def row_joins(draw):
    (operation, shapes), dtype = _heads(draw), draw(st.sampled_from(WHOLE))
    return operation, [draw(arrays(shape, dtype)) for shape in shapes]


@st.composite
def row_splits(draw):
    (operation, shapes), dtype = _heads(draw), draw(st.sampled_from(WHOLE))
    return operation.inverse(), [draw(arrays(operation.infer(shapes)[0], dtype))]


@st.composite
def pads(draw):
    shape = draw(SHAPES.filter(len))
    return PadRows(draw(st.integers(0, 3)), 1), [draw(arrays(shape, draw(st.sampled_from(WHOLE))))]


@st.composite
def row_slices(draw):
    shape = draw(SHAPES.filter(len))
    count = draw(st.integers(0, shape[0]))
    return SliceRows(count, 1), [draw(arrays(shape, draw(st.sampled_from(WHOLE))))]


@st.composite
def sums(draw):
    signs, shape, dtype = draw(SIGNS), draw(SHAPES), draw(st.sampled_from(MODEST))
    return SignedSum(signs), [draw(modest(shape, dtype)) for _ in signs]


@st.composite
def sum_splits(draw):
    return SplitSum(draw(SIGNS)), [draw(arrays(draw(SHAPES), draw(st.sampled_from(FLOATS))))]


@st.composite
def added_rows(draw):
    shape, dtype = draw(SHAPES.filter(len)), draw(st.sampled_from(MODEST))
    sources = [draw(modest(one, dtype)) for one in (shape, (1, *shape[1:]))]
    return AddRow(draw(st.integers(0, shape[0]))), sources


@st.composite
def shared_rows(draw):
    shape, dtype = draw(SHAPES.filter(len)), draw(st.sampled_from(FLOATS))
    return ShareRow(draw(st.integers(0, 3))), [draw(arrays(shape, dtype))]


@st.composite
def offsets(draw):
    shape, dtype = draw(SHAPES), draw(st.sampled_from(MODEST))
    return Offset(draw(NUMBERS)), [draw(modest(shape, dtype)) for _ in range(2)]


@st.composite
def materialised(draw):
    shape, dtype = draw(SHAPES), draw(st.sampled_from(MODEST))
    return Materialised("weight_norm"), [draw(modest(shape, dtype)) for _ in range(2)]


@st.composite
def scales(draw):
    shape, dtype = draw(SHAPES), draw(st.sampled_from(MODEST))
    by = draw(NUMBERS.filter(lambda number: abs(number) > 0.01))
    return Scale(by, draw(st.booleans())), [draw(modest(shape, dtype))]


@st.composite
def scaled_parts(draw):
    shape, dtype = draw(SHAPES.filter(len)), draw(st.sampled_from(MODEST))
    by = tuple(draw(st.lists(NUMBERS.filter(lambda one: abs(one) > 0.01), min_size=1, max_size=4)))
    shape = (*shape[:-1], shape[-1] * len(by))
    return ScaleParts(by, draw(st.booleans())), [draw(modest(shape, dtype))]


@st.composite
def casts(draw):
    source, target = draw(st.sampled_from(FLOATS)), draw(st.sampled_from(FLOATS))
    index = draw(st.sampled_from([None, 0, 1]))
    values = [draw(modest(draw(SHAPES), source)) for _ in range(2)]
    return Cast(source, target, index, 1 if index is None else 2), values


@st.composite
def constants(draw):
    make = draw(st.sampled_from([Constant, Derive]))
    return make(1, draw(SHAPES), draw(st.sampled_from(WHOLE))), []


@st.composite
def initials(draw):
    kind = draw(st.sampled_from(["uniform", "normal", "truncated_normal"]))
    seed = tuple(draw(st.lists(st.integers(0, 2**40), min_size=1, max_size=3)))
    shape, dtype = draw(SHAPES), draw(st.sampled_from(MODEST))
    rule = Initial(kind, draw(st.floats(-2, 0)), draw(st.floats(0, 2)), shape, dtype, seed)
    if draw(st.booleans()):
        return rule, []
    return rule.inverse(), [draw(modest(shape, dtype))]


@st.composite
def omissions(draw):
    shape, dtype = draw(SHAPES), draw(st.sampled_from(WHOLE))
    make = draw(st.sampled_from([Expect, lambda *facts: Discard("a counter", *facts)]))
    return make(1, shape, dtype), [np.ones(shape, dtype.numpy)]


@st.composite
def computed(draw):
    """Return what makes a tensor, or what recognises it and the tensor itself."""
    if draw(st.booleans()):
        dtype = get_dtype(draw(st.sampled_from(["int8", "uint16", "int32", "int64"])))
        made = Count(draw(SHAPES.filter(len)), dtype)
    else:
        shape, dtype = (draw(st.integers(0, 40)),), draw(st.sampled_from(MODEST))
        made = Frequencies(draw(st.integers(1, 10**7)), shape, dtype)
    return (made, []) if draw(st.booleans()) else (made.inverse(), list(made.apply([])))


@st.composite
def taken(draw):
    count, array = draw(st.integers(1, 3)), draw(arrays(draw(SHAPES), draw(st.sampled_from(WHOLE))))
    return TakeOne(count), [array.copy(order="K") for _ in range(count)]


@st.composite
def copied(draw):
    array = draw(arrays(draw(SHAPES), draw(st.sampled_from(WHOLE))))
    return Copies(draw(st.integers(1, 3))), [array]


CASES = {
    "Rearrange": rearranges(),
    "Concat": concats(),
    "Split": splits(),
    "Stack": stacks(),
    "Unstack": unstacks(),
    "JoinRows": row_joins(),
    "SplitRows": row_splits(),
    "PadRows": pads(),
    "SliceRows": row_slices(),
    "SignedSum": sums(),
    "SplitSum": sum_splits(),
    "AddRow": added_rows(),
    "ShareRow": shared_rows(),
    "Materialised": materialised(),
    "Offset": offsets(),
    "Scale": scales(),
    "ScaleParts": scaled_parts(),
    "Cast": casts(),
    "Count, Frequencies, Recognise": computed(),
    "TakeOne": taken(),
    "Copies": copied(),
    "Constant, Derive": constants(),
    "Initial, Forget": initials(),
    "Expect, Discard": omissions(),
}
