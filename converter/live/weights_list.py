"""A bare ``get_weights()`` list, given names by the model or manifest it belongs to.

A list has no names: length and every shape must agree with what it is said to belong to, and that
is all that can be checked. Two arrays of one shape that were swapped cannot be noticed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from converter.errors import Problem, ProblemsError, shape_text
from converter.formats.base import Checkpoint
from converter.tensors.dtype import Array, find_dtype, get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec
from converter.tensors.structure import KerasStructure


class WeightsList(Checkpoint):
    """Arrays in ``get_weights()`` order, with the names of ``like``.

    Args:
        arrays: As ``model.get_weights()`` gives them.
        like: The model's checkpoint, or its manifest in ``get_weights()`` order.

    Raises:
        ProblemsError: If the number or a shape differs; every difference is listed.
    """

    path: Path | None = None
    format = "live"

    def __init__(self, arrays: Sequence[Array], like: Manifest | Checkpoint) -> None:
        manifest = like.manifest if isinstance(like, Checkpoint) else like
        self._structure = like.structure if isinstance(like, Checkpoint) else None
        values = [np.asarray(array) for array in arrays]
        problems = _problems(values, manifest)
        if problems:
            raise ProblemsError(
                f"cannot read the list of {len(values)} arrays as {len(manifest)} tensors",
                problems,
            )
        self._arrays = dict(zip(manifest.tensors, values, strict=True))
        self._manifest = Manifest.of(
            [TensorSpec(name, a.shape, get_dtype(a.dtype)) for name, a in self._arrays.items()],
            family=manifest.family,
            layers=manifest.layers,
            ties=manifest.ties,
            metadata=manifest.metadata,
            notices=manifest.notices,
        )

    @property
    def manifest(self) -> Manifest:
        """Names of the model, shapes and dtypes of the arrays."""
        return self._manifest

    @property
    def structure(self) -> KerasStructure | None:
        """That of the model the list belongs to."""
        return self._structure

    @property
    def label(self) -> str:
        """What messages call this checkpoint."""
        return "weights list"

    def read(self, name: str) -> Array:
        """Return one array, C-contiguous.

        Raises:
            KeyError: If there is no such tensor.
        """
        array = self._arrays[name]
        return np.ascontiguousarray(array).reshape(array.shape)


def _problems(values: Sequence[Array], manifest: Manifest) -> list[Problem]:
    problems = []
    for index, (value, spec) in enumerate(zip_longest(values, manifest)):
        if spec is None:
            text = f"{shape_text(value.shape)} {value.dtype}"
            problems.append(Problem("unexpected", f"array {index}", text))
        elif value is None:
            problems.append(Problem("missing", spec.name, f"{shape_text(spec.shape)} {spec.dtype}"))
        elif value.shape != spec.shape:
            text = f"expected {shape_text(spec.shape)}, found {shape_text(value.shape)}"
            problems.append(Problem("mismatched", f"array {index}, '{spec.name}'", text))
        elif find_dtype(value.dtype.name) is None:
            text = f"no tensor has elements of type '{value.dtype}'"
            problems.append(Problem("mismatched", f"array {index}, '{spec.name}'", text))
    return problems
