"""From two arrays and a noise floor to one row of the report."""

from __future__ import annotations

import numpy as np

from converter.errors import shape_text
from converter.tensors.dtype import Array
from converter.validation.compare import compare
from converter.validation.report import Row, Verdict, judge, worst


def judge_output(name: str, other: str, actual: Array, reference: Array, floor: float) -> Row:
    """Compare one output of both sides and judge it.

    Shapes must be equal; nothing is broadcast. Integers and booleans must be equal everywhere.
    What is infinite or not a number must be so at the same places of both.

    Args:
        name: Its name on the Keras side.
        other: Its name on the PyTorch side.
        actual: The Keras output.
        reference: The PyTorch output in Keras' layout.
        floor: Its noise floor, as relative L2 error.
    """
    if actual.shape != reference.shape:
        note = f"shapes differ: {shape_text(actual.shape)} and {shape_text(reference.shape)}"
        return Row(name, other, "fail", actual.shape, note=note)
    gap = compare(actual, reference)
    is_exact = actual.dtype.kind in "biu" and reference.dtype.kind in "biu"
    verdicts: list[Verdict] = []
    notes: list[str] = []
    if is_exact:
        different = int(np.count_nonzero(actual != reference))
        verdicts.append("fail" if different else "pass")
        if different:
            notes.append(f"{different:,} of {actual.size:,} integers differ")
    else:
        verdicts.append(judge(gap.relative_l2, floor))
    if gap.mismatched:
        verdicts.append("fail")
        notes.append(f"{gap.mismatched:,} elements are infinite or NaN on one side only")
    if gap.skipped:
        verdicts.append("warn")
        notes.append(f"{gap.skipped:,} elements are infinite or NaN on both sides")
    if not gap.elements and actual.size:
        notes.append("no element could be compared")
        return Row(name, other, "fail", actual.shape, note="; ".join(notes))
    return Row(
        name,
        other,
        worst(verdicts),
        actual.shape,
        error=gap.relative_l2,
        floor=None if is_exact else floor,
        max_absolute=gap.max_absolute,
        max_relative=gap.max_relative,
        where=gap.where,
        cosine=gap.cosine,
        note="; ".join(notes),
    )
