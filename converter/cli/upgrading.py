"""``converter scaffold --to keras``: an old Keras file becomes one that Keras 3 opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from converter.cli import render
from converter.cli.failures import DIFFERENT
from converter.errors import UsageError

if TYPE_CHECKING:
    from converter.cli import schema_proposals
    from converter.execution.progress import Progress
    from converter.formats.base import Checkpoint
    from converter.upgrading.upgrade import Upgraded

KERAS = "keras"
_TARGETS = ("torch", KERAS)


def check_options(target: Path, to: str, others: Sequence[str]) -> None:
    """Refuse what does not go together.

    Args:
        target: The file to write.
        to: What is asked for.
        others: Options given that only the way to PyTorch has.

    Raises:
        UsageError: If it does not.
    """
    if to not in _TARGETS:
        raise UsageError(
            f"cannot scaffold to '{to}': there is no such target",
            facts=[("expected", " or ".join(_TARGETS))],
        )
    if to == "torch" and target.suffix == ".keras":
        raise UsageError(
            f"cannot write PyTorch source to '{target.name}': that is the name of a Keras file",
            hint="for a model file of Keras 3, add --to keras",
        )
    if to == KERAS and others:
        raise UsageError(f"cannot use {others[0]} with --to keras: it is for PyTorch source")


def run(
    checkpoint: Checkpoint,
    target: Path,
    *,
    force: bool,
    check: bool,
    progress: Progress,
    json: bool,
) -> None:
    """Write the new file and say what came of it; exit code 1 where there is none."""
    from converter.cli import schema
    from converter.upgrading.upgrade import upgrade_file

    found = upgrade_file(checkpoint, target, force=force, check=check, progress=progress)
    if json:
        render.line(schema.dump(describe(found)))
    else:
        _show(checkpoint, target, found)
    if not found.is_complete:
        raise typer.Exit(DIFFERENT)


def _show(checkpoint: Checkpoint, target: Path, found: Upgraded) -> None:
    if found.written is None:
        render.line(f"not written: {target.name}, of which Keras 3 cannot be told")
    else:
        render.line(
            f"wrote {target.name}: {checkpoint.label} of Keras {found.generation}, "
            f"{found.written.tensors} tensors"
        )
    render.sentences("note", found.changes)
    for layer, why in found.refused.items():
        render.line(f"not upgraded: {layer}: {why}")
    proof = found.proof
    if proof is None:
        return
    if proof.loaded is None:
        render.line(f"was not opened: {proof.why_not}")
    elif not proof.loaded:
        render.line(f"fail: Keras does not open it ({proof.why_not})")
    else:
        scaled = f" ({len(found.scaled)} of them scaled)" if found.scaled else ""
        what = "with" if not proof.differing else "not with"
        render.line(
            f"opens in Keras {proof.keras_version}, in a process of its own, {what} every tensor "
            f"of the source{scaled}"
        )
        for name in proof.differing:
            render.line(f"fail: {name} is not that of the source")


def describe(found: Upgraded) -> schema_proposals.Upgraded:
    """Return what ``--json`` prints."""
    from converter.cli import schema_proposals

    proof = found.proof
    return schema_proposals.Upgraded(
        target=str(found.path) if found.path is not None else None,
        generation=found.generation,
        tensors=found.written.tensors if found.written is not None else 0,
        refused=[schema_proposals.Stub(path, why) for path, why in found.refused.items()],
        notes=list(found.changes),
        scaled=list(found.scaled),
        loaded=proof.loaded if proof is not None else None,
        keras_version=proof.keras_version if proof is not None else "",
        equal=proof.equal if proof is not None else 0,
        differing=list(proof.differing) if proof is not None else [],
        verdict=proof.verdict if proof is not None else "not checked",
        why_not=proof.why_not if proof is not None else "",
    )
