"""``converter average``: the mean of several checkpoints of one architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from converter.cli import options
from converter.cli.failures import reporting

EXAMPLES = (
    "converter average epoch-7.safetensors epoch-8.safetensors --out soup.safetensors",
    "converter average a.keras b.keras --weights 3,1 --out soup.keras",
)


def average(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Checkpoints with the same tensors.")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="TARGET", help="The file to write.")],
    shares: Annotated[
        str | None,
        typer.Option("--weights", metavar="W,W,...", help="One for each; equal by default."),
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Write the mean of several checkpoints, computed in float64, in bounded memory."""
    with reporting(json=json, debug=debug):
        from converter import weights
        from converter.cli import render, schema, schema_weights
        from converter.cli.progress import Bar
        from converter.cli.sizes import size_text

        with Bar() as progress:
            written = weights.average(
                sources, out, weights=parse(shares), force=force, progress=progress
            )
        names = [str(out.parent / file.name) for file in written.files]
        if json:
            found = schema_weights.Averaged(
                [str(source) for source in sources], names, written.nbytes, written.tensors,
                written.seconds,
            )  # fmt: skip
            render.line(schema.dump(found))
        else:
            render.line(
                f"wrote {', '.join(names)}: mean of {len(sources)} checkpoints, "
                f"{render.plural(written.tensors, 'tensor')}, {size_text(written.nbytes)}"
            )


def parse(text: str | None) -> list[float] | None:
    """Return weights as written, separated by commas.

    Raises:
        UsageError: If one is not a number.

    Examples:
        >>> parse("3,1")
        [3.0, 1.0]
    """
    from converter.errors import UsageError

    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"cannot use --weights {text!r}", facts=[("expected", "numbers, as in 3,1")]
        ) from None
