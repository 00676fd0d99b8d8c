"""Every message of the algebra, whole, as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

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
from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange
from converter.algebra.shared_rows import AddRow, ShareRow
from converter.algebra.values import Cast, Constant, Discard, Expect, Offset, Scale
from converter.errors import OperationError, UndeterminedError
from converter.tensors.dtype import find_dtype

F32, F16, BF16, I64 = map(find_dtype, ("float32", "float16", "bfloat16", "int64"))
F4 = find_dtype("float4_e2m1fn_x2")
FLATTEN = Pattern.parse("(h w c) out -> out (c h w)")


@dataclass(frozen=True)
class Refusal:
    """A call that fails, and all that it says."""

    name: str
    call: Callable[[], object]
    text: str


def unread(name, pattern, reason, column, **counts):
    lines = [
        f"cannot read the pattern {pattern!r}: {reason}",
        f"  at  {pattern}",
        f"      {' ' * column}^",
    ]
    return Refusal(name, lambda: Pattern.parse(pattern, **counts), "\n".join(lines))


REFUSALS = [
    unread("no arrow", "a b", "there is no '->'", 3),
    unread("two arrows", "a -> a -> a", "there is a second '->'", 7),
    unread("half an arrow", "a - a", "unknown character '-'", 2),
    unread("unknown character", "a ... -> a", "unknown character '.'", 2),
    unread("newline", "a\n-> a", "unknown character '\\n'", 1),
    unread("axis twice", "a b a -> a b", "axis 'a' is twice on the left", 4),
    unread("axis twice on the right", "a b -> a (b a)", "axis 'a' is twice on the right", 12),
    unread("only left", "a b -> a", "axis 'b' is only on the left", 2),
    unread("only right", "a -> a b", "axis 'b' is only on the right", 7),
    unread("number", "2 a -> a", "'2' is not an axis; of all sizes only 1 is written", 0),
    unread("digits first", "1a -> 1a", "'1a' is not an axis; of all sizes only 1 is written", 0),
    unread("nested", "(a (b)) -> a b", "a group inside a group", 3),
    unread("empty group", "a () -> a", "an empty group; write 1", 2),
    unread("number in group", "(a 1) -> a", "the number '1' inside a group; leave it out", 3),
    unread("open group", "(a b -> a b", "'(' is never closed", 0),
    unread("closing", "a) -> a", "')' closes nothing", 1),
    unread("open labels", "[a b -> [a b]", "'[' is never closed", 0),
    unread("closing labels", "a ] -> a", "']' closes nothing", 2),
    unread("one label", "[a] b -> b [a]", "a labelled axis needs two labels", 0),
    unread("label twice", "[a b] [b c] -> [a b]", "label 'b' is twice on the left", 7),
    unread(
        "group in labels",
        "[a (b)] -> [a b]",
        "'(' inside a labelled axis, which holds labels only",
        3,
    ),
    unread(
        "labels differ",
        "[z r n] -> [z r h]",
        "no labelled axis on the right has the labels [z r n]",
        0,
    ),
    unread("labels lost", "a -> a [x y]", "no labelled axis on the left has the labels [x y]", 7),
    Refusal(
        "no list",
        lambda: Pattern.parse("[q k] d -> d [q k]", num_sources=3),
        "the pattern '[q k] d -> d [q k]' cannot stand for 3 sources\n"
        "  expected  a labelled axis with 3 labels in front of the source\n"
        "  found     '[q k] d'",
    ),
    Refusal(
        "no list on the right",
        lambda: Pattern.parse("[q k] d -> d [q k]", 2, 2),
        "the pattern '[q k] d -> d [q k]' cannot stand for 2 targets\n"
        "  expected  a labelled axis with 2 labels in front of the target\n"
        "  found     'd [q k]'",
    ),
    Refusal(
        "none",
        lambda: Pattern.parse("a -> a", num_sources=0),
        "the pattern 'a -> a' needs at least one source",
    ),
    Refusal(
        "count",
        lambda: Pattern.parse("a b -> b a").unify(sources=[(2, 3), (2, 3)]),
        "cannot fit 'a b -> b a': it has 1 source, not 2",
    ),
    Refusal(
        "rank",
        lambda: Pattern.parse("[q k] a b -> b [q k] a", 2).unify(sources=[(2, 3), (2,)]),
        "cannot fit '[q k] a b -> b [q k] a': the source 2 of 2 has rank 1, not 2\n"
        "  expected  'a b'\n"
        "  found     (2,)",
    ),
    Refusal(
        "two shapes",
        lambda: Pattern.parse("i o -> o i").unify(sources=[(2, 3)], targets=[(4, 2)]),
        "cannot fit 'i o -> o i': axis 'o' is 3 and 4\n"
        "  3  axis 1 of the source (2, 3)\n"
        "  4  axis 0 of the target (4, 2)",
    ),
    Refusal(
        "given and shape",
        lambda: FLATTEN.unify(sources=[(24, 5)], sizes={"h": 2, "w": 3, "c": 5}),
        "cannot fit '(h w c) out -> out (c h w)': axis '(h w c)' is 30 and 24\n"
        "  30  h = 2 (given), w = 3 (given), c = 5 (given)\n"
        "  24  axis 0 of the source (24, 5)",
    ),
    Refusal(
        "labels and shape",
        lambda: Pattern.parse("([z r n] u) -> ([r z n] u)").unify(sources=[(7,)]),
        "cannot fit '([z r n] u) -> ([r z n] u)': axis '([z r n] u)' is 7, "
        "which is no multiple of 3\n"
        "  7  axis 0 of the source (7,)\n"
        "  3  3 labels",
    ),
    Refusal(
        "one",
        lambda: Pattern.parse("a 1 -> a").unify(sources=[(7, 2)]),
        "cannot fit 'a 1 -> a': axis '1' is 1 and 2\n"
        "  1  the axis is the number 1\n"
        "  2  axis 1 of the source (7, 2)",
    ),
    Refusal(
        "undetermined",
        lambda: FLATTEN.unify(sources=[(24, 5)], targets=[(5, 24)]),
        "cannot fit '(h w c) out -> out (c h w)': nothing determines the size of 'h', 'w', 'c'\n"
        "  24    '(h w c)', axis 0 of the source (24, 5)\n"
        "  24    '(c h w)', axis 1 of the target (5, 24)\n"
        "  hint  give the size of 'h' and 'w'",
    ),
    Refusal(
        "negative",
        lambda: FLATTEN.unify(sizes={"h": -1}),
        "cannot fit '(h w c) out -> out (c h w)': the size of axis 'h' is -1",
    ),
    Refusal(
        "unknown size",
        lambda: Rearrange(FLATTEN, {"kh": 3}),
        "cannot give '(h w c) out -> out (c h w)' a size of 'kh': it has no such axis",
    ),
    Refusal(
        "packed",
        lambda: Rearrange(Pattern.parse("a b -> b a")).infer_dtypes([F4]),
        "cannot rearrange float4_e2m1fn_x2 by 'a b -> b a': its elements share bytes",
    ),
    Refusal(
        "dtypes",
        lambda: Stack(2).infer_dtypes([F32, F16]),
        "cannot apply 'stack 2 along axis 0': the sources differ in dtype\n"
        "  found  float32, float16",
    ),
    Refusal(
        "arrays",
        lambda: Stack(2).apply([np.zeros(2, "f4"), np.zeros(2, "f2")]),
        "cannot apply 'stack 2 along axis 0': the sources differ in dtype\n"
        "  found  float32, float16",
    ),
    Refusal(
        "no source",
        lambda: Stack(2).apply([]),
        "cannot apply 'stack 2 along axis 0': there is no source",
    ),
    Refusal(
        "packed join",
        lambda: Concat(0, (1, 2)).infer_dtypes([F4, F4]),
        "cannot apply 'concatenate (1, 2) along axis 0' to float4_e2m1fn_x2: "
        "its elements share bytes",
    ),
    Refusal(
        "sources",
        lambda: Concat(0, (1, 2)).infer([(1, 2)]),
        "cannot apply 'concatenate (1, 2) along axis 0': it takes 2 sources, not 1",
    ),
    Refusal(
        "concat",
        lambda: Concat(1, (1, 2)).infer([(4, 1), (4, 3)]),
        "cannot apply 'concatenate (1, 2) along axis 1': the shape does not fit\n"
        "  expected  (4, 2)\n"
        "  found     (4, 3)",
    ),
    Refusal(
        "split",
        lambda: Split(0, (1, 2)).infer([(4, 5)]),
        "cannot apply 'split (1, 2) along axis 0': the shape does not fit\n"
        "  expected  (3, 5)\n"
        "  found     (4, 5)",
    ),
    Refusal(
        "axis",
        lambda: Split(2, (1, 2)).infer([(4, 5)]),
        "cannot apply 'split (1, 2) along axis 2': the source (4, 5) has no axis 2",
    ),
    Refusal(
        "stack",
        lambda: Stack(2, 1).infer([(4, 5), (5, 4)]),
        "cannot apply 'stack 2 along axis 1': the shape does not fit\n"
        "  expected  (4, 5)\n"
        "  found     (5, 4)",
    ),
    Refusal(
        "unstack",
        lambda: Unstack(2, 1).infer([(4, 5)]),
        "cannot apply 'unstack 2 along axis 1': the shape does not fit\n"
        "  expected  (4, 2)\n"
        "  found     (4, 5)",
    ),
    Refusal(
        "rows",
        lambda: SliceRows(3).infer([(2, 5)]),
        "cannot apply 'leave out the first 3 rows': the source has 2 rows",
    ),
    Refusal(
        "no rows",
        lambda: PadRows(2).infer([()]),
        "cannot apply 'put 2 rows of 0.0 in front': the source () has no axis 0",
    ),
    Refusal(
        "sum of counters",
        lambda: SignedSum((1, -1)).infer_dtypes([I64, I64]),
        "cannot apply '+ #0 - #1' to int64: only floating-point values are calculated with",
    ),
    Refusal(
        "sum of shapes",
        lambda: SignedSum((1, 1)).infer([(2,), (3,)]),
        "cannot apply '+ #0 + #1': the shape does not fit\n  expected  (2,)\n  found     (3,)",
    ),
    Refusal(
        "row of another width",
        lambda: AddRow(1).infer([(3, 2), (1, 5)]),
        "cannot apply 'leave out the first 1 rows, add the row #1 to the others': the shape does "
        "not fit\n  expected  (1, 2)\n  found     (1, 5)",
    ),
    Refusal(
        "rows of counters",
        lambda: ShareRow(2).infer_dtypes([I64]),
        "cannot apply 'put 2 rows of 0.0 in front, and zeros in the row #1' to int64: only "
        "floating-point values are calculated with",
    ),
    Refusal(
        "signs",
        lambda: SplitSum((1, 0)),
        "cannot sum with the signs (1, 0): each is 1 or -1",
    ),
    Refusal(
        "offset of counters",
        lambda: Offset(-1.5).apply([np.zeros(2, "i8")]),
        "cannot apply '- 1.5' to int64: only floating-point values are calculated with",
    ),
    Refusal(
        "infinite offset",
        lambda: Offset(float("inf")),
        "cannot add inf: it is not finite",
    ),
    Refusal("scale", lambda: Scale(0.0), "cannot scale by 0.0: there is no way back"),
    Refusal(
        "cast of integers",
        lambda: Cast(I64, F32),
        "cannot cast int64 to float32: int64 is no floating type",
    ),
    Refusal(
        "cast of another type",
        lambda: Cast(BF16, F32).apply([np.zeros(2, "f2")]),
        "cannot apply 'cast bfloat16 to float32' to float16",
    ),
    Refusal(
        "too large",
        lambda: Cast(F32, F16).apply([np.array([1, 70000], "f4")]),
        "cannot cast float32 to float16: 70000.0 is too large\n  largest  65504.0",
    ),
    Refusal(
        "expect",
        lambda: Expect(1.0, (2, 3), F32).apply([np.array([[1, 1, 1], [1, 2, 0]], "f4")]),
        "cannot leave out a tensor that must be 1.0 everywhere: 2 of 6 values differ\n"
        "  first     index (1, 1)\n"
        "  expected  1.0\n"
        "  found     2.0",
    ),
    Refusal(
        "expect a scalar",
        lambda: Expect(0, (), I64).apply([np.array(7)]),
        "cannot leave out a tensor that must be 0 everywhere: 1 of 1 values differ\n"
        "  first     index ()\n"
        "  expected  0\n"
        "  found     7",
    ),
    Refusal(
        "expect a shape",
        lambda: Expect(1.0, (2, 3), F32).infer([(3, 2)]),
        "cannot apply 'leave out, all 1.0': the shape does not fit\n"
        "  expected  (2, 3)\n"
        "  found     (3, 2)",
    ),
    Refusal(
        "constant",
        lambda: Constant(1.5, (2,), I64),
        "cannot fill a tensor of int64 with 1.5",
    ),
    Refusal(
        "packed constant",
        lambda: Constant(0, (2,), F4),
        "cannot fill a tensor of float4_e2m1fn_x2: its elements share bytes",
    ),
    Refusal(
        "no way back",
        lambda: Discard("The optimiser is not converted.").inverse(),
        "cannot make a tensor that was left out again: The optimiser is not converted.",
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_a_refusal_says_what_and_where(refusal):
    with pytest.raises(OperationError) as caught:
        refusal.call()
    assert str(caught.value) == refusal.text


def test_an_undetermined_size_has_its_own_class():
    with pytest.raises(UndeterminedError):
        FLATTEN.unify(sources=[(24, 5)])


def test_a_nan_where_a_constant_is_expected_is_a_difference():
    values = np.array([1, np.nan], "f4").astype(BF16.numpy)
    with pytest.raises(OperationError, match="1 of 2 values differ"):
        Expect(1.0, (2,), F32).apply([values])
