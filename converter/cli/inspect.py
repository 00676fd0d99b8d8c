"""``converter inspect``: what is in this file?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from converter.cli import options
from converter.cli.failures import reporting

if TYPE_CHECKING:
    from converter.cli import schema
    from converter.formats.base import Checkpoint

EXAMPLES = (
    "converter inspect model.keras",
    "converter inspect weights.pth --select model_ema --json",
)


def inspect(
    source: options.Source,
    *,
    select: options.Select = None,
    architecture: options.Architecture = None,
    norms: options.Norms = None,
    dequantize: options.Dequantize = False,
    collapsed: Annotated[
        bool, typer.Option("--collapse", help="One row for tensors that differ only in numbers.")
    ] = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show the layers and tensors of a checkpoint; no value is read, no framework is needed."""
    with reporting(json=json, debug=debug):
        from converter import api
        from converter.cli import render, schema

        with api.open(
            source, select=select, architecture=architecture, norms=norms, dequantize=dequantize
        ) as checkpoint:
            found = describe(str(source), checkpoint)
        if json:
            render.line(schema.dump(found))
        else:
            show(found, collapsed=collapsed)


def describe(path: str, checkpoint: Checkpoint) -> schema.Checkpoint:
    """Return what a checkpoint says about itself."""
    from converter.cli import schema

    manifest = checkpoint.manifest
    return schema.Checkpoint(
        path=path,
        format=checkpoint.format,
        family=manifest.family,
        nbytes=manifest.nbytes,
        tensors=[
            schema.Tensor(spec.name, list(spec.shape), spec.dtype.name, spec.nbytes)
            for spec in manifest
        ],
        layers=[
            schema.Layer(layer.path, layer.class_name, dict(layer.tensors))
            for layer in manifest.layers
        ],
        ties=dict(manifest.ties),
        metadata=dict(manifest.metadata),
        notices=list(manifest.notices),
        writer=manifest.writer,
    )


def show(found: schema.Checkpoint, *, collapsed: bool) -> None:
    """Print a table of the tensors, and what is unusual."""
    from converter.cli import render
    from converter.cli.collapse import collapse
    from converter.cli.sizes import size_text
    from converter.errors import shape_text

    owners = {name: layer.class_name for layer in found.layers for name in layer.tensors.values()}
    rows: list[tuple[str, ...]] = [
        (tensor.name, owners.get(tensor.name) or "-", shape_text(tensor.shape), tensor.dtype)
        for tensor in found.tensors
    ]
    columns = [render.Column(title) for title in ("tensor", "layer", "shape", "dtype")]
    if not any(owners.values()):
        rows = [(row[0], *row[2:]) for row in rows]
        columns.pop(1)
    family = {"keras": "Keras", "torch": "PyTorch", None: "unknown"}[found.family]
    render.line(
        f"{found.path}: format {found.format}, names {family}, "
        f"{render.plural(len(found.tensors), 'tensor')}, {size_text(found.nbytes)}"
    )
    render.line(f"written by: {found.writer or 'nothing in the file says it'}")
    render.line()
    if collapsed:
        columns.append(render.Column("count", right=True))
        shown = [(*group.texts, str(group.count)) for group in collapse(rows)]
        render.table(columns, shown)
    else:
        columns.append(render.Column("bytes", right=True))
        sizes = [f"{tensor.nbytes:,}" for tensor in found.tensors]
        render.table(columns, [(*row, size) for row, size in zip(rows, sizes, strict=True)])
    render.sentences("tied", [f"{name} = {of}" for name, of in found.ties.items()])
    render.sentences("note", found.notices)
