"""``converter scaffold``: a Keras file becomes PyTorch source, or a file of today's Keras."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from converter.cli import options, render
from converter.cli.failures import DIFFERENT, reporting

if TYPE_CHECKING:
    from converter.cli import schema_proposals
    from converter.scaffold.scaffolding import Scaffolded

EXAMPLES = (
    "converter scaffold model.keras net.py --weights net.safetensors",
    "converter scaffold old.h5 net.py --custom my_layers.py",
    "converter scaffold old.h5 new.keras --to keras",
)

Target = Annotated[
    Path,
    typer.Argument(metavar="TARGET", help="The Python file to write; with --to keras, .keras."),
]
To = Annotated[
    str,
    typer.Option("--to", metavar="torch|keras", help="PyTorch source, or a model file of Keras 3."),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", help="Also write the converted weights here."),
]
Custom = Annotated[
    Path | None,
    typer.Option(
        "--custom", metavar="FILE.py", help="Your own translations of classes that Keras lacks."
    ),
]
Recorded = Annotated[
    Path | None,
    typer.Option(
        "--outputs",
        metavar="NPZ",
        help="What the model gave for --inputs; by default, Keras is run.",
    ),
]
Check = Annotated[
    bool, typer.Option("--check/--no-check", help="Load the module and compare its outputs.")
]


def scaffold(
    source: options.Source,
    target: Target,
    *,
    to: To = "torch",
    weights: Weights = None,
    custom: Custom = None,
    architecture: options.Architecture = None,
    inputs: options.Inputs = None,
    outputs: Recorded = None,
    check: Check = True,
    force: options.Force = False,
    seed: options.Seed = 0,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Write a readable PyTorch module, or a file of today's Keras.

    Exit code 1 where a layer has no translation.
    """
    with reporting(json=json, debug=debug):
        from converter.api import open as open_any
        from converter.cli import schema, upgrading
        from converter.cli.progress import Bar
        from converter.scaffold.scaffolding import Wishes, scaffold_file

        only = {"--weights": weights, "--custom": custom, "--inputs": inputs, "--outputs": outputs}
        upgrading.check_options(target, to, [name for name, one in only.items() if one is not None])
        with open_any(source, architecture=architecture) as checkpoint, Bar() as bar:
            if to == upgrading.KERAS:
                upgrading.run(checkpoint, target, force=force, check=check, progress=bar, json=json)
                return
            wishes = Wishes(weights, custom, inputs, outputs, check, force, seed, bar)
            found = scaffold_file(checkpoint, target, wishes)
        if json:
            render.line(schema.dump(describe(found)))
        else:
            _show(found)
        if not found.is_complete:
            raise typer.Exit(DIFFERENT)


def _show(found: Scaffolded) -> None:
    render.line(f"wrote {found.path.name}: class {found.source.class_name}, {found.lines} lines")
    if found.weights is not None:
        for path in found.weights.files:
            render.line(f"wrote {Path(path).name}")
    render.sentences("note", found.source.notes)
    for layer, why in found.source.stubs.items():
        render.line(f"not translated: {layer}: {why}")
    checked = found.checked
    if checked is None:
        return
    if not checked.loaded:
        render.line(f"fail: the module does not load ({checked.why_not})")
        return
    render.line("loads its weights, strictly, in a process of its own")
    if checked.report is None:
        render.line(f"outputs were not compared: {checked.why_not}")
        return
    for row in checked.report["rows"]:
        floors = f", {row['floors']:.1f}x the noise floor" if row["floors"] is not None else ""
        note = f", {row['note']}" if row["note"] else ""
        render.line(f"{row['verdict']}: output {row['name']}{floors}{note}")


def describe(found: Scaffolded) -> schema_proposals.Scaffolded:
    """Return what ``--json`` prints."""
    from converter.cli import schema_proposals

    checked = found.checked
    return schema_proposals.Scaffolded(
        module=str(found.path),
        class_name=found.source.class_name,
        lines=found.lines,
        weights=[str(path) for path in found.weights.files] if found.weights is not None else [],
        stubs=[schema_proposals.Stub(path, why) for path, why in found.source.stubs.items()],
        notes=list(found.source.notes),
        loaded=checked.loaded if checked is not None else None,
        verdict=checked.verdict if checked is not None else "not checked",
        why_not=checked.why_not if checked is not None else "",
        report=dict(checked.report) if checked is not None and checked.report else None,
    )
