"""Whose names the two sides of a conversion have, where not both of them say so.

A file of names without a family (an ``.npz`` of ``weight`` and ``bias``) is of the family of a
model that has most of these names, and else of the other one than what is wanted.
"""

from __future__ import annotations

from converter.errors import UsageError
from converter.formats.base import Checkpoint
from converter.tensors.manifest import Family, Manifest


def families(source: Checkpoint, like: Checkpoint | None, to: str | None) -> tuple[Family, Family]:
    """Return the family of the source and that of the target.

    Args:
        source: What is read.
        like: What the target must look like, or ``None``.
        to: The family that was asked for, or ``None``.

    Raises:
        UsageError: If ``to`` is no family, contradicts ``like``, or nothing tells the families.
    """
    if to not in (None, "keras", "torch"):
        raise UsageError(f"cannot convert to '{to}'", hint="the families are keras and torch")
    target: Family | None = "keras" if to == "keras" else "torch" if to == "torch" else None
    wanted = like.manifest.family if like is not None else None
    if like is not None and target is not None and wanted is not None and target != wanted:
        raise UsageError(f"cannot convert to {target} like {like.label}: that is {wanted}")
    target = target or wanted
    family = source.manifest.family
    if family is None and target is None:
        raise UsageError(
            f"cannot tell whose tensors {source.label} holds",
            hint="say what to convert to: --to torch, or --to keras",
        )
    if family is None and like is not None and _shares_names(source.manifest, like.manifest):
        family = target
    if family is None:
        family = "torch" if target == "keras" else "keras"
    return family, target or ("torch" if family == "keras" else "keras")


def own(manifest: Manifest, family: Family) -> Manifest:
    """Return a manifest that says its family."""
    return manifest if manifest.family == family else manifest.of_family(family)


def _shares_names(manifest: Manifest, model: Manifest) -> bool:
    """Whether a model has most of the names of a checkpoint."""
    known = sum(name in model or name in model.ties for name in manifest.tensors)
    return 2 * known > len(manifest)
