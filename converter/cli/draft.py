"""``converter draft``: propose a mapping for two models, and prove it where both can run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from converter.cli import options, render
from converter.cli.failures import DIFFERENT, reporting

if TYPE_CHECKING:
    from converter.cli import schema_drafts
    from converter.drafting.draft import Leftover
    from converter.drafting.propose import Proposal

EXAMPLES = (
    "converter draft --keras network.py:keras_net --torch network.py:Net --out network.toml",
    "converter draft --keras old.keras --torch new.safetensors --hint 'encoder=enc.layers'",
)

KerasSide = Annotated[
    str,
    typer.Option(
        "--keras", metavar="FILE|FACTORY", help="The Keras side; a factory is built to be run."
    ),
]
TorchSide = Annotated[
    str, typer.Option("--torch", metavar="FILE|FACTORY", help="The PyTorch side, likewise.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write the mapping here; else it is printed."),
]
Hints = Annotated[
    list[str] | None,
    typer.Option(
        "--hint",
        metavar="KERAS=TORCH",
        help="What belongs together, such as encoder/block_0=layers.0. Repeatable.",
    ),
]
Prove = Annotated[
    bool,
    typer.Option("--prove/--no-prove", help="Run both models to settle and prove the draft."),
]
Budget = Annotated[
    int, typer.Option("--budget", help="Largest number of runs to find out who is who.")
]


def draft(
    *,
    keras: KerasSide,
    torch: TorchSide,
    out: Out = None,
    hint: Hints = None,
    prove: Prove = True,
    budget: Budget = 24,
    seed: options.Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Propose a mapping; exit code 1 when it is not complete, or the outputs differ."""
    with reporting(json=json, debug=debug):
        from converter.cli import schema
        from converter.drafting.propose import draft as propose

        name = out.stem if out is not None else "drafted"
        found = propose(
            keras, torch, name=name, hints=hint or (), prove=prove, seed=seed, budget=budget
        )
        if out is not None:
            found.save(out, force=force)
        if json:
            render.line(schema.dump(describe(found)))
        elif out is None:
            render.line(found.text.rstrip("\n"))
        else:
            show_rules(found)
            render.line(f"{verdict(found)}; wrote {out}")
        if not found.draft.is_complete or (found.proof.report is not None and not found.is_proved):
            raise typer.Exit(DIFFERENT)


def show_rules(found: Proposal) -> None:
    """Print the rules with what speaks for them, and what is left over."""
    columns = [render.Column(title) for title in ("kind", "Keras layer", "PyTorch module")]
    columns += [render.Column("pairs", right=True), render.Column("evidence")]
    rows = [
        (rule.kind, rule.keras, rule.torch, str(rule.count), f"{rule.certainty.label}: {rule.why}")
        for rule in found.draft.rules
    ]
    render.table(columns, rows)
    for title, left in (("Keras", found.draft.layers), ("PyTorch", found.draft.tensors)):
        if left:
            _show_left(title, left)


def _show_left(title: str, left: tuple[Leftover, ...]) -> None:
    from converter.drafting.composing import module_of

    render.line()
    columns = [render.Column(f"left over in {title}"), render.Column("shapes")]
    columns.append(render.Column("hint"))
    rows = []
    for one in left:
        near = one.nearest[0] if one.nearest else ""
        pair = f"{one.name}={near}" if title == "Keras" else f"{near}={module_of(one.name)}"
        hint = f"--hint '{pair}'" if near else ""
        rows.append((one.name, ", ".join(str(shape) for shape in one.shapes), hint))
    render.table(columns, rows)


def verdict(found: Proposal) -> str:
    """Return how far the draft can be trusted, and what finding out took, a few words."""
    runs, budget = found.proof.runs, found.proof.budget
    return _verdict(found) + (f"; {runs} of at most {budget} runs of PyTorch" if runs else "")


def _verdict(found: Proposal) -> str:
    if found.is_proved:
        return "proved: both models give equal outputs"
    if not found.draft.is_complete:
        return "not complete: something is left over on one side"
    if found.proof.report is not None:
        more = f" ({found.proof.why_not})" if found.proof.why_not else ""
        return f"not proved: the outputs differ{more}"
    return f"not proved: {found.proof.why_not}; review it before use"


def describe(found: Proposal) -> schema_drafts.Draft:
    """Return what ``--json`` prints."""
    from converter.cli import schema_drafts

    return schema_drafts.Draft(
        mapping=found.text,
        complete=found.draft.is_complete,
        proved=found.is_proved,
        verdict=verdict(found),
        runs=found.proof.runs,
        rules=[
            schema_drafts.DraftedRule(
                kind=rule.kind,
                keras=rule.keras,
                torch=rule.torch,
                pairs=rule.count,
                certainty=rule.certainty.label,
                why=rule.why,
                rivals=list(rule.rivals),
            )
            for rule in found.draft.rules
        ],
        layers=[_left(one) for one in found.draft.layers],
        tensors=[_left(one) for one in found.draft.tensors],
    )


def _left(one: Leftover) -> schema_drafts.Leftover:
    from converter.cli import schema_drafts

    return schema_drafts.Leftover(
        one.name, [list(shape) for shape in one.shapes], list(one.nearest)
    )
