"""From two arrays and a noise floor to one row of the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converter.errors import shape_text
from converter.tensors.dtype import Array
from converter.validation.compare import compare
from converter.validation.outcomes import Verdict
from converter.validation.report import Row, judge, worst


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a person allows: ``|actual - reference| <= absolute + relative * |reference|``.

    Attributes:
        relative: Of each element of the reference.
        absolute: In the unit of the output.
    """

    relative: float = 0.0
    absolute: float = 0.0

    def exceeded(self, actual: Array, reference: Array) -> int:
        """Return the number of elements that are further apart."""
        with np.errstate(all="ignore"):
            gap = np.abs(actual.astype(np.float64) - reference.astype(np.float64))
            allowed = self.absolute + self.relative * np.abs(reference.astype(np.float64))
            finite = np.isfinite(gap)
        return int(np.count_nonzero(finite & (gap > allowed)))


def judge_output(
    name: str,
    other: str,
    actual: Array,
    reference: Array,
    floor: float,
    *,
    tolerance: Tolerance | None = None,
) -> Row:
    """Compare one output of both sides and judge it.

    Shapes must be equal; nothing is broadcast. Integers and booleans must be equal everywhere.
    What is infinite or not a number must be so at the same places of both.

    Args:
        name: Its name on the Keras side.
        other: Its name on the PyTorch side.
        actual: The Keras output.
        reference: The PyTorch output in Keras' layout.
        floor: Its noise floor, as relative L2 error.
        tolerance: What decides in the place of the noise floor. What it allows although its noise
            floor would not is a warning.
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
        verdict, note = judge(gap.relative_l2, floor), ""
        if tolerance is not None:
            verdict, note = _by_tolerance(tolerance, actual, reference, verdict)
        verdicts.append(verdict)
        notes += [note] if note else []
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


def _by_tolerance(
    tolerance: Tolerance, actual: Array, reference: Array, by_floor: Verdict
) -> tuple[Verdict, str]:
    """Return the verdict of what a person allows, and a note where it is not that of the floor."""
    beyond = tolerance.exceeded(actual, reference)
    if beyond:
        return "fail", f"{beyond:,} of {actual.size:,} elements exceed the tolerances"
    if by_floor == "fail":
        return "warn", "within the tolerances given, beyond 300 noise floors"
    return "pass", ""
