"""``converter schema``: the JSON Schema of what ``--json`` prints."""

from __future__ import annotations

from typing import Annotated

import typer

from converter.cli import options
from converter.cli.failures import reporting

EXAMPLES = (
    "converter schema plan",
    "converter schema error",
)


def show_schema(
    command: Annotated[
        str, typer.Argument(metavar="COMMAND", help="Such as plan, or 'mappings list', or error.")
    ],
    *,
    debug: options.Debug = False,
) -> None:
    """Print the JSON Schema of a command's --json output, or of 'error'."""
    with reporting(debug=debug):
        import json

        from converter.cli import render, schema
        from converter.errors import UsageError

        kinds = schema.results()
        kind = kinds.get(command)
        if kind is None:
            raise UsageError(
                f"cannot describe {command!r}: it prints no JSON",
                facts=[("one of", ", ".join(sorted(kinds)))],
            )
        render.line(json.dumps(schema.json_schema(kind), indent=2))
