"""A checkpoint whose weights make up for what a validation found, written like any other target."""

from __future__ import annotations

import os
from collections.abc import Mapping

from converter.errors import UsageError
from converter.execution.changed import ChangedCheckpoint
from converter.execution.conversion import Conversion
from converter.execution.executor import Written
from converter.formats.base import Checkpoint
from converter.planning.computed import mark_computed
from converter.planning.copy import make_copy_plan
from converter.planning.sides import Side
from converter.tensors.dtype import Array


def write_repaired(
    source: Checkpoint,
    values: Mapping[str, Array],
    target: str | os.PathLike[str],
    *,
    why: str,
    force: bool = False,
) -> Written:
    """Write a PyTorch checkpoint in which some tensors have other values.

    The provenance of the target says which tensors those are, and why.

    Args:
        source: The open checkpoint that is repaired.
        values: Name to new value.
        target: The file to write, complete or not at all; its ending says the format.
        why: What is made up for.
        force: Whether a target that exists is replaced.

    Raises:
        UsageError: If the checkpoint has no tensor of a name.
        TargetExistsError: If the target is there and ``force`` is false.
    """
    manifest = source.manifest.of_family("torch")
    known = {manifest.ties.get(name, name): value for name, value in values.items()}
    absent = [name for name in known if name not in manifest.tensors]
    if absent:
        raise UsageError(
            f"cannot repair {source.label}: it has no tensor '{absent[0]}'", written="nothing"
        )
    plan = make_copy_plan(
        Side("torch", manifest, label=source.label), Side("torch", None, label=os.fspath(target))
    )
    plan = mark_computed(plan, dict.fromkeys(known, f"repair of {why}"), require=None)
    changed = ChangedCheckpoint(source, known)
    return Conversion(plan, changed, like=source).save(target, force=force)
