"""weight_norm and spectral_norm: the weight that a module computes with, from what it trains.

PyTorch keeps a direction and a length, or an unnormalised kernel and two vectors, in place of a
weight; no Keras layer does. Here they are recognised by their names together with their shapes,
and the weight is computed when it is read: in ``float64``, rounded once.

Source: PyTorch 2.13 ``torch/nn/utils/weight_norm.py``, ``spectral_norm.py`` (names with ``_g``,
``_orig``) and ``parametrizations.py`` (``_WeightNorm``, ``_SpectralNorm``, in evaluation mode).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converter.algebra.casting import FLOAT64, convert
from converter.errors import CheckpointError, UsageError
from converter.formats.base import Checkpoint
from converter.formats.noticed import NoticedCheckpoint
from converter.formats.wording import cannot_read, quoted
from converter.tensors.dtype import Array, get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

BLOCK = 2**20  # elements
_MARK = ".parametrizations."
# Endings of the first part, and of the others, in the order of Norm.parts.
_WEIGHT_NORM = (("_g", "_v"), (".original0", ".original1"))
_SPECTRAL_NORM = (("_orig", "_u", "_v"), (".original", ".0._u", ".0._v"))
_CLEARLY = 10.0


@dataclass(frozen=True, slots=True)
class Norm:
    """A weight that is computed from other tensors.

    Attributes:
        name: What it is called once computed.
        kind: ``"weight_norm"`` or ``"spectral_norm"``.
        parts: Length and direction; or the kernel and the two vectors.
    """

    name: str
    kind: str
    parts: tuple[str, ...]


def find_norms(manifest: Manifest) -> tuple[Norm, ...]:
    """Return the weights that are there in parts, in the order of the manifest."""
    if manifest.family == "keras":
        return ()
    ties = manifest.ties
    names = dict.fromkeys((*manifest.tensors, *ties))
    specs = {name: manifest[ties.get(name, name)] for name in names}
    return tuple(norm for name in names if (norm := _norm_at(name, specs)) is not None)


def _norm_at(name: str, specs: Mapping[str, TensorSpec]) -> Norm | None:
    """Return the weight whose first part is ``name``."""
    for kind, endings in (("weight_norm", _WEIGHT_NORM), ("spectral_norm", _SPECTRAL_NORM)):
        for first, *others in endings:
            stem = name.removesuffix(first)
            parts = (name, *(f"{stem}{ending}" for ending in others))
            if stem == name or stem[-1:] in ("", ".") or not all(part in specs for part in parts):
                continue
            weight = stem
            if first.startswith("."):  # a.parametrizations.weight.original0
                before, mark, last = f".{stem}".rpartition(_MARK)
                if not mark or "." in last:
                    continue
                weight = f"{before}.{last}".lstrip(".")
            fits = _is_weight_norm if kind == "weight_norm" else _is_spectral_norm
            if weight not in specs and fits(*(specs[part] for part in parts)):
                return Norm(weight, kind, parts)
    return None


def _is_weight_norm(length: TensorSpec, direction: TensorSpec) -> bool:
    """Whether the length has one axis of the direction, all others being 1; or is one number."""
    if length.dtype != direction.dtype or not direction.dtype.is_floating:
        return False
    if direction.dtype.is_packed or not direction.shape:
        return False
    if not length.shape:
        return True
    kept = [i for i, size in enumerate(length.shape) if size != 1]
    return (
        len(length.shape) == len(direction.shape)
        and len(kept) <= 1
        and all(length.shape[i] == direction.shape[i] for i in kept)
    )


def _is_spectral_norm(kernel: TensorSpec, left: TensorSpec, right: TensorSpec) -> bool:
    return (
        kernel.dtype == left.dtype == right.dtype
        and kernel.dtype.is_floating
        and not kernel.dtype.is_packed
        and bool(_possible_axes(kernel.shape, left.shape, right.shape))
    )


def _possible_axes(
    kernel: tuple[int, ...], left: tuple[int, ...], right: tuple[int, ...]
) -> list[int]:
    """Return which axis may be the output: 0, or 1 for transposed convolutions."""
    if len(left) != 1 or len(right) != 1:
        return []
    count = math.prod(kernel)
    axes = (0,) if len(kernel) == 2 or kernel[:2] == (1, 1) else (0, 1)
    return [
        axis
        for axis in axes
        if len(kernel) > 1 and left[0] == kernel[axis] and left[0] * right[0] == count and count
    ]


def with_norms(checkpoint: Checkpoint, norms: str | None) -> Checkpoint:
    """Return a checkpoint with the weights computed, or with a notice that they can be.

    Args:
        checkpoint: Any checkpoint.
        norms: ``"materialise"`` computes; else a file gets a notice.

    Raises:
        UsageError: If ``norms`` is neither of the two.
    """
    if norms not in (None, "keep", "materialise"):
        raise UsageError(f"norms cannot be {quoted(norms)}: it is 'keep' or 'materialise'")
    found = find_norms(checkpoint.manifest)
    if not found:
        return checkpoint
    if norms == "materialise":
        return MaterialisedNorms(checkpoint, found)
    if norms == "keep" or checkpoint.path is None:
        return checkpoint
    return NoticedCheckpoint(
        checkpoint,
        f"{_listed(found)} in parts, as in the file; the weight is computed on the way to Keras, "
        "or with norms='materialise' (on the command line: --norms materialise).",
    )


def _listed(norms: tuple[Norm, ...]) -> str:
    kinds = " and ".join(dict.fromkeys(norm.kind for norm in norms))
    shown = ", ".join(quoted(norm.name) for norm in norms[:3])
    more = f" and {len(norms) - 3} more" if len(norms) > 3 else ""
    return f"{kinds}: {shown}{more} {'is' if len(norms) == 1 else 'are'}"


class MaterialisedNorms(Checkpoint):
    """Another checkpoint, with weights in place of the parts of weight_norm and spectral_norm.

    Attributes:
        computed: Name of each computed weight to the kind of its norm.
    """

    def __init__(self, checkpoint: Checkpoint, norms: tuple[Norm, ...]) -> None:
        """Wrap an open checkpoint that has these norms."""
        self._checkpoint = checkpoint
        self.path = checkpoint.path
        self.format = checkpoint.format
        manifest = checkpoint.manifest
        ties = dict(manifest.ties)
        self._norms: dict[str, Norm] = {}
        first: dict[tuple[str, ...], str] = {}
        inner_ties: dict[str, str] = {}
        for norm in norms:
            parts = tuple(ties.get(part, part) for part in norm.parts)
            of = first.setdefault(parts, norm.name)
            if of == norm.name:
                self._norms[norm.name] = Norm(norm.name, norm.kind, parts)
            else:
                inner_ties[norm.name] = of
        self.computed = {norm.name: norm.kind for norm in self._norms.values()}
        used = {part for norm in norms for part in norm.parts}
        self._manifest = Manifest.of(
            self._specs(manifest, used),
            family=manifest.family,
            layers=manifest.layers,
            ties={**{name: of for name, of in ties.items() if name not in used}, **inner_ties},
            metadata=manifest.metadata,
            writer=manifest.writer,
            notices=(*manifest.notices, f"{_listed(norms)} computed from the parts in the source."),
        )

    def _specs(self, manifest: Manifest, used: set[str]) -> Iterator[TensorSpec]:
        """Yield every tensor; a computed one in the place of its first part."""
        after = {norm.parts[0]: norm for norm in self._norms.values()}
        for spec in manifest:
            norm = after.get(spec.name)
            if norm is not None:
                kernel = manifest[norm.parts[1 if norm.kind == "weight_norm" else 0]]
                yield TensorSpec(norm.name, kernel.shape, kernel.dtype)
            if spec.name not in used:
                yield spec

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes, the computed weights among them."""
        return self._manifest

    @property
    def files(self) -> tuple[Path, ...]:
        """As the wrapped checkpoint says."""
        return self._checkpoint.files

    @property
    def label(self) -> str:
        """As the wrapped checkpoint says."""
        return self._checkpoint.label

    def read(self, name: str) -> Array:
        """Return the values of one tensor; a computed one is new memory."""
        norm = self._norms.get(name)
        if norm is None:
            return self._checkpoint.read(name)
        parts = [self._checkpoint.read(part) for part in norm.parts]
        if norm.kind == "weight_norm":
            return weight_norm(*parts)
        return spectral_norm(*parts, what=quoted(name), path=self.path)

    def release(self, name: str) -> None:
        """Give back the memory of one tensor, or of the parts that it was computed from."""
        norm = self._norms.get(name)
        for part in norm.parts if norm is not None else (name,):
            self._checkpoint.release(part)

    def close(self) -> None:
        """Close the wrapped checkpoint."""
        self._checkpoint.close()


def weight_norm(length: Array, direction: Array) -> Array:
    """Return ``length * direction / norm(direction)``, the norm over all axes that length lacks.

    Args:
        length: As the direction, with size 1 on the axes that the norm is taken over; or one
            number, then the norm is taken over all.
        direction: ``(out, ...)``, for a transposed convolution ``(in, out, ...)``.
    """
    length = length.reshape(length.shape or (1,) * direction.ndim).astype(np.float64)
    reduced = tuple(i for i, size in enumerate(length.shape) if size == 1)
    squares = np.zeros(length.shape)
    with np.errstate(all="ignore"):
        for rows in _rows(direction):
            part = np.square(direction[rows].astype(np.float64)).sum(axis=reduced, keepdims=True)
            if 0 in reduced:
                squares += part
            else:
                squares[rows] = part
        return _scaled(direction, length / np.sqrt(squares))


def spectral_norm(
    kernel: Array, left: Array, right: Array, *, what: str = "the weight", path: Path | None = None
) -> Array:
    """Return the kernel divided by ``left @ matrix(kernel) @ right``.

    Args:
        kernel: ``(out, ...)``, or ``(in, out, ...)`` for a transposed convolution.
        left: ``(out,)``.
        right: ``(rest,)``.
        what: What messages call it.
        path: The file, for messages.

    Raises:
        CheckpointError: If shapes and values leave open which axis is the output.
    """
    axes = _possible_axes(kernel.shape, left.shape, right.shape)
    wide, u, v = (array.astype(np.float64) for array in (kernel, left, right))
    with np.errstate(all="ignore"):
        matrices = {axis: _matrix(wide, axis) for axis in axes}
        errors = {axis: _residual(matrix, u, v) for axis, matrix in matrices.items()}
        axis = min(axes, key=lambda one: errors[one])
        if len(axes) > 1 and not errors[axis] * _CLEARLY < max(errors.values()):
            raise CheckpointError(
                cannot_read(path, f"nothing tells which axis of {what} spectral_norm is for"),
                hint="open it with norms='keep'",
            )
        return _scaled(kernel, np.full((1,) * kernel.ndim, 1 / (u @ (matrices[axis] @ v))))


def _matrix(kernel: Array, axis: int) -> Array:
    moved: Array = np.moveaxis(kernel, axis, 0)
    return moved.reshape(moved.shape[0], -1)


def _residual(matrix: Array, left: Array, right: Array) -> float:
    """Return how far the vectors are from what power iteration leaves.

    It ends with ``left = normalised(matrix @ right)`` (the old one), or with
    ``right = normalised(left @ matrix)`` (the parametrization). Only one axis makes it so.
    """
    pairs = ((matrix @ right, left), (left @ matrix, right))
    found = [float(np.linalg.norm(p / np.linalg.norm(p) - vector)) for p, vector in pairs]
    return min((one for one in found if not math.isnan(one)), default=math.inf)


def _scaled(kernel: Array, factor: Array) -> Array:
    """Return the product, computed in blocks of rows and rounded once to the kernel's type."""
    result = np.empty(kernel.shape, kernel.dtype)
    dtype = get_dtype(kernel.dtype)
    for rows in _rows(kernel):
        by = factor[rows] if factor.shape[0] == kernel.shape[0] else factor
        wide = kernel[rows].astype(np.float64) * by
        result[rows] = convert(wide.reshape(-1), FLOAT64, dtype).reshape(wide.shape)
    return result


def _rows(array: Array) -> Iterator[slice]:
    step = max(1, BLOCK * len(array) // max(array.size, 1))
    for start in range(0, len(array), step):
        yield slice(start, start + step)
