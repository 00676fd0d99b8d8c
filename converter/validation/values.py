"""Two checkpoints of one family, tensor by tensor and bit for bit; no framework, no model.

This proves that nothing was lost, doubled or altered on the way there and back. It does not prove
that a conversion is right: two wrongs that undo each other pass. For that, outputs are compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from converter.errors import shape_text
from converter.formats.base import Checkpoint
from converter.tensors.dtype import Array
from converter.validation.compare import compare
from converter.validation.histograms import histogram
from converter.validation.outcomes import Histogram
from converter.validation.report import Report, Row

_BLOCK_BYTES = 1 << 24


def compare_values(
    first: Checkpoint, second: Checkpoint, *, names: Iterable[str] | None = None
) -> Report:
    """Compare all tensors of two checkpoints, byte for byte.

    Values are read one tensor at a time and given back. Negative zero differs from zero, and one
    NaN from another of a different payload: bits are compared, not numbers.

    Args:
        first: One checkpoint.
        second: The other, of the same family.
        names: Tensors to compare; by default all of both, and one that only one has is a failure.

    Returns:
        A report with a row for each tensor that is not equal, and the number compared.
    """
    chosen = list(dict.fromkeys(names if names is not None else _all_names(first, second)))
    rows = [row for name in chosen if (row := _row(first, second, name)) is not None]
    notices = []
    families = {first.manifest.family, second.manifest.family} - {None}
    if len(families) > 1:
        notices.append("One checkpoint has Keras names and the other PyTorch names.")
    settings = {"first": first.label, "second": second.label}
    shown = _histogram(first, second, rows)
    return Report("values", tuple(rows), len(chosen), tuple(notices), settings, histogram=shown)


def _histogram(first: Checkpoint, second: Checkpoint, rows: list[Row]) -> Histogram | None:
    """Return how the values of the tensor that differs most are distributed."""
    measured = [row for row in rows if row.error is not None and not math.isnan(row.error)]
    if not measured:
        return None
    name = max(measured, key=lambda row: row.error or 0.0).name
    try:
        return histogram(name, first.read(name), second.read(name))
    finally:
        first.release(name)
        second.release(name)


def compare_headers(first: Checkpoint, second: Checkpoint) -> tuple[Row, ...]:
    """Return a row for each tensor that only one checkpoint has, or has in another shape or dtype.

    No value is read.
    """
    names = dict.fromkeys(_all_names(first, second))
    return tuple(row for name in names if (row := _header_row(first, second, name)) is not None)


def _all_names(first: Checkpoint, second: Checkpoint) -> Iterator[str]:
    yield from first.manifest.tensors
    yield from second.manifest.tensors


def _header_row(first: Checkpoint, second: Checkpoint, name: str) -> Row | None:
    one, two = first.manifest.tensors.get(name), second.manifest.tensors.get(name)
    if one is None or two is None:
        spec = one or two
        missing = first.label if one is None else second.label
        return Row(name, name, "fail", spec.shape if spec else (), note=f"not in {missing}")
    if one.shape != two.shape:
        note = f"{shape_text(one.shape)} and {shape_text(two.shape)}"
        return Row(name, name, "fail", one.shape, note=note)
    if one.dtype != two.dtype:
        return Row(name, name, "fail", one.shape, note=f"{one.dtype} and {two.dtype}")
    return None


def _row(first: Checkpoint, second: Checkpoint, name: str) -> Row | None:
    """Return what is wrong with one tensor, or ``None``."""
    wrong = _header_row(first, second, name)
    if wrong is not None:
        return wrong
    one = first.manifest[name]
    a, b = first.read(name), second.read(name)
    try:
        different = _different_elements(a, b)
        if not different:
            return None
        note = f"{different:,} of {a.size:,} elements differ in bits"
        if one.dtype.is_packed:
            return Row(name, name, "fail", one.shape, note=note)
        gap = compare(a, b)
        return Row(
            name,
            name,
            "fail",
            one.shape,
            error=gap.relative_l2,
            max_absolute=gap.max_absolute,
            max_relative=gap.max_relative,
            where=gap.where,
            cosine=gap.cosine,
            note=note,
        )
    finally:
        del a, b
        first.release(name)
        second.release(name)


def _different_elements(a: Array, b: Array) -> int:
    """Count the elements of two arrays of one dtype whose bytes differ, in blocks."""
    flat_a, flat_b = (np.ascontiguousarray(array).reshape(-1) for array in (a, b))
    size = flat_a.dtype.itemsize
    step = max(1, _BLOCK_BYTES // size)
    different = 0
    for start in range(0, flat_a.size, step):
        x = flat_a[start : start + step].view(np.uint8).reshape(-1, size)
        y = flat_b[start : start + step].view(np.uint8).reshape(-1, size)
        if x.tobytes() != y.tobytes():
            different += int(np.count_nonzero((x != y).any(axis=1)))
    return different
