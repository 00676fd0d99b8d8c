"""Arrays without names, given those of the Keras model whose ``get_weights()`` they are.

A pickled list, an ``.npz`` of ``arr_0``, ``arr_1`` and a folder of numbered files hold positions,
no names. Number and shapes must agree with the model, and that is all that can be checked: two
arrays of one shape that were swapped cannot be noticed here.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path

from converter.errors import Problem, ProblemsError, UsageError, shape_text
from converter.formats.base import Checkpoint
from converter.formats.wording import cannot_read
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec
from converter.tensors.structure import KerasStructure


def is_nameless(manifest: Manifest) -> bool:
    """Whether the names are only positions: ``0``, ``1``, ..., or ``arr_0``, ``arr_1``, ...."""
    if manifest.family is not None or not len(manifest):
        return False
    names = list(manifest.tensors)
    return any(
        names == [f"{prefix}{position}" for position in range(len(names))]
        for prefix in ("", "arr_")
    )


def named_after(checkpoint: Checkpoint, like: Checkpoint | Manifest) -> Checkpoint:
    """Return nameless arrays under the names of a Keras model, in ``get_weights()`` order.

    Args:
        checkpoint: Arrays whose names are positions; see :func:`is_nameless`.
        like: The model's checkpoint, or its manifest.

    Raises:
        UsageError: If ``like`` is no Keras model.
        ProblemsError: If the number or a shape differs; every difference is listed.
    """
    manifest = like.manifest if isinstance(like, Checkpoint) else like
    if manifest.family != "keras":
        label = like.label if isinstance(like, Checkpoint) else "the manifest"
        raise UsageError(
            f"cannot name the arrays of '{checkpoint.label}' after {label}: it is no Keras model"
        )
    problems = _problems(checkpoint.manifest, manifest)
    if problems:
        raise ProblemsError(
            cannot_read(
                checkpoint.path,
                f"its {len(checkpoint.manifest)} arrays are not the {len(manifest)} weights of "
                "the model",
            ),
            problems,
        )
    structure = like.structure if isinstance(like, Checkpoint) else None
    return PositionalCheckpoint(checkpoint, manifest, structure)


class PositionalCheckpoint(Checkpoint):
    """Another checkpoint's arrays under the names of a model."""

    def __init__(
        self, checkpoint: Checkpoint, like: Manifest, structure: KerasStructure | None
    ) -> None:
        """Wrap an open checkpoint whose arrays are those of ``like``, in its order."""
        self._checkpoint = checkpoint
        self._structure = structure
        self.path = checkpoint.path
        self.format = checkpoint.format
        self._positions = dict(zip(like.tensors, checkpoint.manifest.tensors, strict=True))
        specs = (
            TensorSpec(name, found.shape, found.dtype)
            for name, found in zip(like.tensors, checkpoint.manifest, strict=True)
        )
        self._manifest = Manifest.of(
            specs,
            family="keras",
            layers=like.layers,
            ties=like.ties,
            metadata=checkpoint.manifest.metadata,
            writer=checkpoint.manifest.writer,
            notices=(
                "The arrays have no names: they got those of the model by their positions.",
                *checkpoint.manifest.notices,
            ),
        )

    @property
    def manifest(self) -> Manifest:
        """Names and layers of the model, shapes and dtypes of the arrays."""
        return self._manifest

    @property
    def structure(self) -> KerasStructure | None:
        """That of the model."""
        return self._structure

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the arrays."""
        return self._checkpoint.files

    def read(self, name: str) -> Array:
        """Return the values of one tensor."""
        return self._checkpoint.read(self._positions[name])

    def release(self, name: str) -> None:
        """Give back the memory of one tensor."""
        self._checkpoint.release(self._positions[name])

    def close(self) -> None:
        """Close the wrapped checkpoint."""
        self._checkpoint.close()


def _problems(found: Manifest, wanted: Manifest) -> list[Problem]:
    problems = []
    for position, (array, spec) in enumerate(zip_longest(found, wanted)):
        if spec is None:
            text = f"{shape_text(array.shape)} {array.dtype}"
            problems.append(Problem("unexpected", f"array {position}", text))
        elif array is None:
            problems.append(Problem("missing", spec.name, f"{shape_text(spec.shape)} {spec.dtype}"))
        elif array.shape != spec.shape:
            text = f"expected {shape_text(spec.shape)}, found {shape_text(array.shape)}"
            problems.append(Problem("mismatched", f"array {position}, '{spec.name}'", text))
    return problems
