"""How two checkpoints differ: which tensors are the same, and how far apart the others are.

Two tensors are the same when their bits are: negative zero differs from zero. Distances are taken
in ``float64``, relative to the first checkpoint, piece by piece, so that tensors larger than memory
can be compared. What is infinite or not a number on one side is left out of the distances and
counts as changed unless both sides have it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from converter.algebra.copying import as_bytes, contiguous
from converter.errors import shape_text
from converter.formats.base import Checkpoint
from converter.inspection.pieces import PIECE_BYTES, RELEASE_BYTES, Piece, pieces
from converter.inspection.statistics import has_numbers, norm_of
from converter.tensors.dtype import Array
from converter.tensors.spec import TensorSpec

Status = Literal["same", "changed", "mismatched", "only_first", "only_second"]
_ORDER = ("mismatched", "only_first", "only_second", "changed", "same")


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """One tensor of two checkpoints.

    Attributes:
        name: Its name; that of the second checkpoint where both are of different families.
        status: ``same``, ``changed``, ``mismatched`` (shapes, or types that do not compare),
            ``only_first`` or ``only_second``.
        shape: Size of each axis, in the first checkpoint where it has the tensor.
        relative_l2: Norm of the difference, divided by the norm in the first checkpoint.
        max_absolute: Largest absolute difference.
        where: Index of the largest absolute difference.
        cosine: Cosine of the angle between both; 1 where both are zero.
        changed: Number of elements that are not the same.
        elements: Number of elements.
        note: What numbers do not say, or an empty text.
    """

    name: str
    status: Status
    shape: tuple[int, ...]
    relative_l2: float = 0.0
    max_absolute: float = 0.0
    where: tuple[int, ...] = ()
    cosine: float = 1.0
    changed: int = 0
    elements: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All tensors of two checkpoints.

    Attributes:
        tensors: What is not the same first, by how far it changed; then what is the same.
    """

    tensors: tuple[TensorDifference, ...]

    def count(self, status: Status) -> int:
        """Return the number of tensors of a status."""
        return sum(one.status == status for one in self.tensors)

    @property
    def is_same(self) -> bool:
        """Whether every tensor is in both, bit for bit."""
        return all(one.status == "same" for one in self.tensors)


def compare_checkpoints(
    first: Checkpoint, second: Checkpoint, chosen: Callable[[str], bool] | None = None
) -> Comparison:
    """Compare two checkpoints of one family, tensor by tensor.

    A further name of a tied tensor stands for the tensor that holds the value.

    Args:
        first: The reference.
        second: The other.
        chosen: Which names count; all by default.

    Raises:
        CorruptFileError: If values are not where a file says.
    """
    names = list(dict.fromkeys((*first.manifest.tensors, *second.manifest.tensors)))
    found = []
    for name in names:
        if chosen is not None and not chosen(name):
            continue
        one, two = _holder(first, name), _holder(second, name)
        if one is not None and two is not None:
            if name in second.manifest.ties and one != name:
                continue
            found.append(_compared(name, first, one, second, two))
        elif one is not None:
            found.append(TensorDifference(name, "only_first", first.manifest[one].shape))
        elif two is not None:
            found.append(TensorDifference(name, "only_second", second.manifest[two].shape))
    found.sort(key=lambda one: (_ORDER.index(one.status), -one.relative_l2))
    return Comparison(tuple(found))


def _holder(checkpoint: Checkpoint, name: str) -> str | None:
    """Return the name under which a checkpoint holds a tensor."""
    held = checkpoint.manifest.ties.get(name, name)
    return held if held in checkpoint.manifest else None


def _compared(
    name: str, first: Checkpoint, one: str, second: Checkpoint, two: str
) -> TensorDifference:
    a, b = first.manifest[one], second.manifest[two]
    note = "" if a.dtype == b.dtype else f"{a.dtype} and {b.dtype}"
    if a.shape != b.shape:
        note = f"{shape_text(a.shape)} and {shape_text(b.shape)}"
        return TensorDifference(name, "mismatched", a.shape, note=note)
    if a.dtype != b.dtype and not (has_numbers(a.dtype) and has_numbers(b.dtype)):
        return TensorDifference(name, "mismatched", a.shape, note=note)
    distance = Distance(numbers=has_numbers(a.dtype), same_type=a.dtype == b.dtype)
    _read_both(first, a, second, b, distance)
    return TensorDifference(
        name,
        "changed" if distance.changed or note else "same",
        a.shape,
        relative_l2=distance.relative_l2,
        max_absolute=distance.max_absolute,
        where=distance.where,
        cosine=distance.cosine,
        changed=distance.changed,
        elements=distance.elements,
        note=note if has_numbers(a.dtype) else "compared byte by byte",
    )


def _read_both(
    first: Checkpoint, a: TensorSpec, second: Checkpoint, b: TensorSpec, distance: Distance
) -> None:
    x, y = first.read(a.name), second.read(b.name)
    since = 0
    for piece in pieces(x, PIECE_BYTES * x.itemsize // max(x.itemsize, y.itemsize) or 1):
        distance.add(piece, _same_place(y, piece))
        since += piece.array.nbytes
        if since >= RELEASE_BYTES:
            first.release(a.name)
            second.release(b.name)
            since = 0
    del x, y
    first.release(a.name)
    second.release(b.name)


def _same_place(array: Array, piece: Piece) -> Array:
    part: Array = array[piece.indices]
    if part.ndim == 0:
        return part
    return part[piece.start : piece.start + piece.array.shape[0]]


@dataclass(slots=True)
class Distance:
    """Measures how far two arrays are apart, piece by piece.

    Attributes:
        numbers: Whether their elements are numbers; else only bytes are counted.
        same_type: Whether both have one dtype, so that bits can be compared.
    """

    numbers: bool = True
    same_type: bool = True
    elements: int = 0
    changed: int = 0
    max_absolute: float = 0.0
    where: tuple[int, ...] = ()
    _gap: float = 0.0
    _norms: list[float] = field(default_factory=lambda: [0.0, 0.0])
    _products: float = 0.0

    def add(self, piece: Piece, other: Array) -> None:
        """Take one piece of the first array, and the same part of the second."""
        a, b = contiguous(piece.array).reshape(-1), contiguous(other).reshape(-1)
        self.elements += a.size
        if self.same_type and a.tobytes() == b.tobytes():
            if self.numbers:
                self._add_equal(a)
            return
        if not self.numbers:
            self.changed += int(np.count_nonzero(as_bytes(a) != as_bytes(b)))
            return
        with np.errstate(all="ignore"):  # ml_dtypes warns of NaNs
            wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
            unequal = (wide_a != wide_b) & ~(np.isnan(wide_a) & np.isnan(wide_b))
        if self.same_type:
            unequal = as_bytes(a) != as_bytes(b)
        self.changed += int(np.count_nonzero(unequal))
        finite = np.isfinite(wide_a) & np.isfinite(wide_b)
        wide_a, wide_b = np.where(finite, wide_a, 0.0), np.where(finite, wide_b, 0.0)
        self._add_distances(piece, wide_a, wide_b)

    def _add_equal(self, array: Array) -> None:
        with np.errstate(all="ignore"):
            wide = array.astype(np.float64)
        norm = norm_of(np.where(np.isfinite(wide), wide, 0.0))
        self._norms = [math.hypot(one, norm) for one in self._norms]
        self._products += norm * norm

    def _add_distances(self, piece: Piece, a: Array, b: Array) -> None:
        gap = np.abs(a - b)
        largest = float(gap.max(initial=0.0))
        if largest > self.max_absolute or not self.where:
            index = np.unravel_index(int(gap.argmax()), piece.array.shape)
            self.where = piece.place(tuple(int(one) for one in index))
            self.max_absolute = largest
        self._gap = math.hypot(self._gap, norm_of(gap))
        norms = norm_of(a), norm_of(b)
        self._norms = [math.hypot(one, norm) for one, norm in zip(self._norms, norms, strict=True)]
        if 0.0 not in norms:
            cosine = float(np.dot(a / norms[0], b / norms[1]))
            self._products += cosine * norms[0] * norms[1]

    @property
    def relative_l2(self) -> float:
        """Norm of the difference, divided by that of the first; infinite where that is zero."""
        if self._gap == 0.0:
            return 0.0
        return self._gap / self._norms[0] if self._norms[0] else math.inf

    @property
    def cosine(self) -> float:
        """Cosine of the angle between both; 1 where both are zero, 0 where one is."""
        if self._norms == [0.0, 0.0]:
            return 1.0
        if 0.0 in self._norms:
            return 0.0
        return max(-1.0, min(1.0, self._products / self._norms[0] / self._norms[1]))
