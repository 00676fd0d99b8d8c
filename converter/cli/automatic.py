"""``--mapping auto``: draft a mapping, and go on only where the outputs of both models prove it.

A guess converts nothing. Where the proof fails, what was found is shown as ``converter draft``
shows it, and the command ends there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from converter.cli import render
from converter.cli.failures import DIFFERENT

if TYPE_CHECKING:
    from converter.drafting.propose import Proposal
    from converter.formats.base import Checkpoint
    from converter.mapping.rules import Mapping
    from converter.tensors.manifest import Family

AUTO = "auto"


def settled(
    checkpoint: Checkpoint,
    mapping: str | None,
    like: str | None,
    models: dict[str, str | None],
    *,
    json: bool = False,
) -> tuple[Mapping | str | None, str | None]:
    """Return the mapping to use, drafted and proved where it is ``auto``, and what it is like.

    Args:
        checkpoint: What is converted.
        mapping: What the user named.
        like: What the target must look like.
        models: Side to what builds it; what is converted serves where it is a Keras file.
        json: Whether a refusal is told as JSON.

    Raises:
        UsageError: If nothing says how to build a side, or one cannot be run.
        typer.Exit: If the draft is not complete, or the outputs differ.
    """
    from converter.errors import UsageError

    if mapping != AUTO:
        if any(models.values()):
            raise UsageError(
                "cannot use --keras or --torch: they build models for --mapping auto alone"
            )
        return mapping, like
    family: Family = "torch" if checkpoint.manifest.family == "keras" else "keras"
    like = like or models[family]
    own = str(checkpoint.path) if checkpoint.manifest.family == "keras" else None
    sides = {"keras": models["keras"] or own, "torch": models["torch"]}
    sides[family] = models[family] or like
    return _proved(sides["keras"], sides["torch"], json=json), like


def _proved(keras: str | None, torch: str | None, *, json: bool) -> Mapping:
    from converter.drafting.propose import draft
    from converter.errors import UsageError

    if keras is None or torch is None:
        side, option = (
            ("Keras model", "--keras") if keras is None else ("PyTorch module", "--torch")
        )
        raise UsageError(
            f"cannot prove a drafted mapping: nothing says how to build the {side}",
            hint=f"{option} network.py:build",
        )
    found = draft(keras, torch)
    if found.is_proved:
        render.note("proved: with random weights both models give equal outputs")
        return found.draft.mapping
    if found.draft.is_complete and found.proof.report is None:
        raise UsageError(
            "cannot prove a drafted mapping: the models were not run",
            facts=[("because", found.proof.why_not)],
        )
    _refuse(found, json=json)
    raise typer.Exit(DIFFERENT)


def _refuse(found: Proposal, *, json: bool) -> None:
    from converter.cli import schema
    from converter.cli.draft import describe, show_rules, verdict

    if json:
        render.line(schema.dump(describe(found)))
    else:
        show_rules(found)
    render.note(f"{verdict(found)}; nothing was written")
    render.note("hint: 'converter draft --out mine.toml' with hints, then --mapping mine.toml")
