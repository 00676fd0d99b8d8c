"""``converter mappings new``: begin a mapping file for two factories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from converter.cli import options, render
from converter.cli.failures import reporting

EXAMPLES = (
    "converter mappings new --keras network.py:keras_net --torch network.py:Net --out mine.toml",
)


def new(
    *,
    keras: Annotated[
        str, typer.Option("--keras", metavar="FACTORY", help="What builds the Keras model.")
    ],
    torch: Annotated[
        str, typer.Option("--torch", metavar="FACTORY", help="What builds the PyTorch module.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the file here; else it is printed."),
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Write a first mapping file: what is certain is paired, the rest marked for a person."""
    with reporting(json=json, debug=debug):
        from converter.cli import schema, schema_drafts
        from converter.drafting.beginning import begin
        from converter.execution.small_files import write_small

        found = begin(keras, torch, name=out.stem if out is not None else "mine")
        if out is not None:
            write_small(out, found.text.encode(), force=force)
        if json:
            layers, modules = list(found.layers), list(found.modules)
            told = schema_drafts.Beginning(found.text, found.rules, found.paired, layers, modules)
            render.line(schema.dump(told))
        elif out is None:
            render.line(found.text.rstrip("\n"))
        else:
            render.line(
                f"{found.rules} rules pair {found.paired} layers; {len(found.layers)} layers and "
                f"{len(found.modules)} modules are left to you; wrote {out}"
            )
