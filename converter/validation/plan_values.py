"""Two checkpoints of two families, tensor by tensor through a plan; no framework, no model.

Where a step is exact, bits are compared, in blocks: neither side is ever held whole. Where its law
is canonical or rounded, the two may be different representatives of the same (the split of a sum,
the last bit of a rounding), so they are compared on either side, up to the rounding of the narrower
type. What a plan only checks (a bias that must be zero) is checked too, and what it computes (the
frequencies of a rotary embedding) is recognised in the target.

A pass says that nothing was lost, doubled or altered. It cannot say that the plan is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from converter.algebra.base import Law
from converter.algebra.computed import Computed
from converter.algebra.values import Discard
from converter.errors import OperationError
from converter.formats.base import Checkpoint
from converter.planning.plan import Plan, Step
from converter.tensors.dtype import Array
from converter.validation.compare import Difference, compare
from converter.validation.histograms import histogram
from converter.validation.outcomes import Histogram
from converter.validation.report import Report, Row

BLOCK_BYTES = 1 << 24
_WHOLE_BYTES = 1 << 28  # up to here a tensor that differs is measured too, not only counted
_RESIDENT_BYTES = 1 << 26
_ROUNDINGS = 4.0


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one step: tensors compared, a row where they differ, and the worst of them."""

    compared: int
    row: Row | None = None
    histogram: Histogram | None = None


def compare_by_plan(plan: Plan, source: Checkpoint, target: Checkpoint) -> Report:
    """Compare a target with what a plan makes of a source.

    Args:
        plan: From the source's family to the target's, made with the target's manifest.
        source: Where the plan's sources are.
        target: What is compared.

    Returns:
        A report with a row for each step whose tensors are not equal.
    """
    rows: list[Row] = []
    compared, derived = 0, 0
    worst: Histogram | None = None
    largest = -1.0
    for step in plan.steps:
        outcome = _compared(step, source, target)
        compared += outcome.compared
        derived += not outcome.compared
        if outcome.row is not None:
            rows.append(outcome.row)
            error = outcome.row.error if outcome.row.error is not None else math.inf
            if error > largest and outcome.histogram is not None:
                largest, worst = error, outcome.histogram
    notices = [f"'{one.name}' was not compared: {one.why}." for one in plan.dropped]
    if derived:
        noun = "tensor is" if derived == 1 else "tensors are"
        notices.append(f"{derived} {noun} made at the target (counters), and not compared.")
    settings = {"first": source.label, "second": target.label}
    return Report("values", tuple(rows), compared, tuple(notices), settings, histogram=worst)


def _compared(step: Step, source: Checkpoint, target: Checkpoint) -> _Outcome:
    is_computed = isinstance(step.operation, Computed)
    is_made = step.law is Law.DERIVED and step.targets and not is_computed
    if isinstance(step.operation, Discard) or is_made:
        return _Outcome(0)
    arrays = [source.read(name) for name in step.sources]
    try:
        if not step.targets:
            step.operation.apply(arrays)
            return _Outcome(len(step.sources))
        others = [target.read(name) for name in step.targets]
        if is_computed:  # it is recognised or not, whatever the last bits are
            step.operation.inverse().apply(others)
            return _Outcome(len(others))
        if step.law is Law.EXACT:
            return _bits(step, arrays, others, _Pages(step, source, target))
        return _representatives(step, arrays, others)
    except OperationError as error:
        return _Outcome(1, _row(step, arrays, None, error.summary))
    finally:
        del arrays
        for name in step.sources:
            source.release(name)
        for name in step.targets:
            target.release(name)


class _Pages:
    """Pages of mapped files that were read: given back now and then, so that few are resident."""

    def __init__(self, step: Step, source: Checkpoint, target: Checkpoint) -> None:
        self._step, self._source, self._target = step, source, target
        self._read = 0

    def have_been_read(self, nbytes: int) -> None:
        self._read += nbytes
        if self._read < _RESIDENT_BYTES:
            return
        self._read = 0
        for name in self._step.sources:
            self._source.release(name)
        for name in self._step.targets:
            self._target.release(name)


def _bits(step: Step, arrays: Sequence[Array], others: Sequence[Array], pages: _Pages) -> _Outcome:
    flat = [np.ascontiguousarray(other).reshape(-1) for other in others]
    different = 0
    for block in step.operation.stream(arrays, BLOCK_BYTES):
        one = np.ascontiguousarray(block.array).reshape(-1)
        two = flat[block.target][block.start : block.start + one.size]
        if not _same_bits(one, two):
            different += _different(one, two)
        pages.have_been_read(max(one.nbytes, BLOCK_BYTES))
    if not different:
        return _Outcome(len(others))
    total = sum(other.size for other in others)
    note = f"{different:,} of {total:,} elements differ in bits"
    if sum(other.nbytes for other in others) > _WHOLE_BYTES:
        return _Outcome(len(others), _row(step, others, None, note))
    made = step.operation.apply(arrays)
    return _measured(step, list(zip(made, others, strict=True)), note)


def _same_bits(one: Array, two: Array) -> bool:
    if one.dtype != two.dtype or one.size != two.size:
        return False
    wide = one.nbytes - one.nbytes % 8
    first, second = one.view(np.uint8), two.view(np.uint8)
    return bool(
        np.array_equal(first[wide:], second[wide:])
        # Eight bytes at once: an eighth of the comparisons.
        and np.array_equal(first[:wide].view(np.uint64), second[:wide].view(np.uint64))
    )


def _different(one: Array, two: Array) -> int:
    if one.dtype != two.dtype or one.size != two.size:
        return max(one.size, two.size)
    size = one.dtype.itemsize
    pair = (side.view(np.uint8).reshape(-1, size) for side in (one, two))
    first, second = pair
    return int(np.count_nonzero((first != second).any(axis=1)))


def _representatives(step: Step, arrays: Sequence[Array], others: Sequence[Array]) -> _Outcome:
    made = step.operation.apply(arrays)
    pairs = list(zip(made, others, strict=True))
    if all(_is_close(one, two) for one, two in pairs):
        return _Outcome(len(others))
    if step.sources and _agree_backwards(step, arrays, others):
        return _Outcome(len(others))
    return _measured(step, pairs, f"differs by more than its law ({step.law}) allows")


def _agree_backwards(step: Step, arrays: Sequence[Array], others: Sequence[Array]) -> bool:
    """Whether the target gives the source back: another split of the same sum, for example."""
    try:
        back = step.operation.inverse().apply(others)
    except OperationError:
        return False
    return all(_is_close(one, two) for one, two in zip(back, arrays, strict=True))


def _is_close(one: Array, two: Array) -> bool:
    if one.shape != two.shape:
        return False
    if one.dtype == two.dtype and one.tobytes() == np.ascontiguousarray(two).tobytes():
        return True
    gap = compare(one, two)
    return not gap.mismatched and gap.relative_l2 <= _ROUNDINGS * max(_epsilon(one), _epsilon(two))


def _epsilon(array: Array) -> float:
    import ml_dtypes

    try:
        return float(ml_dtypes.finfo(array.dtype).eps)  # type: ignore[no-untyped-call]  # ml_dtypes has no types
    except ValueError:  # integers are equal or not
        return 0.0


def _measured(step: Step, pairs: Sequence[tuple[Array, Array]], note: str) -> _Outcome:
    readable = [pair for pair in pairs if pair[0].shape == pair[1].shape]
    if len(readable) < len(pairs):
        return _Outcome(len(pairs), _row(step, [pairs[0][1]], None, note))
    gaps = [compare(*pair) for pair in readable]
    index = max(range(len(gaps)), key=lambda one: (gaps[one].relative_l2, gaps[one].mismatched))
    shown = histogram(", ".join(step.targets), *readable[index])
    return _Outcome(len(pairs), _row(step, [readable[index][1]], gaps[index], note), shown)


def _row(step: Step, arrays: Sequence[Array], gap: Difference | None, note: str) -> Row:
    names = ", ".join(step.sources) or ", ".join(step.targets)
    shape = tuple(arrays[0].shape) if arrays else ()
    row = Row(names, ", ".join(step.targets) or names, "fail", shape, note=note)
    if gap is None:
        return row
    return replace(
        row,
        error=gap.relative_l2,
        max_absolute=gap.max_absolute,
        max_relative=gap.max_relative,
        where=gap.where,
        cosine=gap.cosine,
    )
