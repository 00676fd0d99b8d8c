"""``converter diff``: which tensors of two checkpoints differ, and by how much?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from converter.cli import options
from converter.cli.failures import DIFFERENT, reporting

if TYPE_CHECKING:
    from converter.cli import schema_weights
    from converter.inspection.difference import Comparison, TensorDifference

EXAMPLES = (
    "converter diff before.keras after.keras",
    "converter diff base.safetensors tuned.safetensors --only 'encoder/**'",
    "converter diff model.keras model.safetensors --mapping densenet",
    "converter diff model.weights.h5 model.onnx --architecture model.json",
)


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="The reference.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="What it became.")],
    *,
    mapping: options.MappingName = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only", metavar="PATTERN", help="Names that count, such as 'encoder/**' or encoder."
        ),
    ] = None,
    ignore: Annotated[
        str | None, typer.Option("--ignore", metavar="PATTERN", help="Names that do not count.")
    ] = None,
    architecture: options.Architecture = None,
    every: Annotated[bool, typer.Option("--all", help="Also list what is the same.")] = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Compare two checkpoints tensor by tensor; exit code 1 when they differ.

    Distances are relative to A. A Keras checkpoint is compared with a PyTorch one through a
    mapping, or by kind.
    """
    with reporting(json=json, debug=debug):
        from converter import weights
        from converter.cli import render, schema

        found = weights.diff(
            first, second, mapping=mapping, only=only, ignore=ignore, architecture=architecture
        )
        if json:
            render.line(schema.dump(describe(str(first), str(second), found)))
        else:
            show(str(first), str(second), found, every=every)
        if not found.is_same:
            raise typer.Exit(DIFFERENT)


def describe(first: str, second: str, found: Comparison) -> schema_weights.Difference:
    """Return a comparison as what ``--json`` prints."""
    from converter.cli import schema_weights

    return schema_weights.Difference(
        first=first,
        second=second,
        same=found.count("same"),
        changed=found.count("changed"),
        mismatched=found.count("mismatched"),
        only_first=found.count("only_first"),
        only_second=found.count("only_second"),
        tensors=[
            schema_weights.TensorDifference(
                name=one.name,
                status=one.status,
                shape=list(one.shape),
                relative_l2="inf" if math.isinf(one.relative_l2) else one.relative_l2,
                max_absolute=one.max_absolute,
                where=list(one.where),
                cosine=one.cosine,
                changed=one.changed,
                elements=one.elements,
                note=one.note,
            )
            for one in found.tensors
        ],
    )


def show(first: str, second: str, found: Comparison, *, every: bool) -> None:
    """Print what differs, what changed most first."""
    from converter.cli import render

    parts = [
        f"{count:,} {what}"
        for count, what in (
            (found.count("same"), "same"),
            (found.count("changed"), "changed"),
            (found.count("mismatched"), "of other shape or type"),
            (found.count("only_first"), f"only in {first}"),
            (found.count("only_second"), f"only in {second}"),
        )
        if count
    ]
    render.line(
        f"{first} -> {second}: {render.plural(len(found.tensors), 'tensor')}, {', '.join(parts)}"
    )
    shown = [one for one in found.tensors if every or one.status != "same"]
    if not shown:
        return
    render.line()
    columns = [render.Column("tensor"), render.Column("status")]
    titles = ("relative L2", "largest", "cosine", "changed")
    columns += [render.Column(title, right=True) for title in titles]
    columns.append(render.Column("note"))
    render.table(columns, [_row(one) for one in shown])


def _row(one: TensorDifference) -> tuple[str, ...]:
    status = one.status.replace("_", " in ") if one.status.startswith("only") else one.status
    if one.status in ("mismatched", "only_first", "only_second"):
        return (one.name, status, "-", "-", "-", "-", one.note)
    share = one.changed / one.elements if one.elements else 0.0
    return (
        one.name,
        status,
        f"{one.relative_l2:.2e}",
        f"{one.max_absolute:.2e}",
        f"{one.cosine:.6f}",
        f"{share:.1%}",
        one.note,
    )
