"""``converter inspect``: what is in this file?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from converter.cli import options
from converter.cli.failures import reporting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from converter.cli import schema
    from converter.formats.base import Checkpoint
    from converter.inspection.inventory import Entry
    from converter.inspection.statistics import Statistics

EXAMPLES = (
    "converter inspect model.keras",
    "converter inspect model.keras --stats",
    "converter inspect model.keras --layer conv1",
    "converter inspect weights.pth --select model_ema --json",
)


def inspect(
    source: options.Source,
    *,
    select: options.Select = None,
    architecture: options.Architecture = None,
    norms: options.Norms = None,
    dequantize: options.Dequantize = False,
    stats: Annotated[
        bool,
        typer.Option(
            "--stats", help="Read every value: means, extremes, norms, what looks broken."
        ),
    ] = False,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            metavar="NAME",
            help="Print the arrays of one layer or tensor, or of all that a pattern such as "
            "'encoder/**' chooses.",
        ),
    ] = None,
    tree: Annotated[
        bool, typer.Option("--tree", help="Layers as a tree, with the tensors of each.")
    ] = False,
    collapsed: Annotated[
        bool, typer.Option("--collapse", help="One row for tensors that differ only in numbers.")
    ] = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show the layers and tensors of a checkpoint; no framework is needed.

    Values are read for --stats and --layer only, in bounded memory.
    """
    with reporting(json=json, debug=debug):
        from converter import api
        from converter.cli import inspect_text, render, schema

        with api.open(
            source, select=select, architecture=architecture, norms=norms, dequantize=dequantize
        ) as checkpoint:
            found = describe(str(source), checkpoint, layer=layer, stats=stats)
            if json:
                render.line(schema.dump(found))
            elif layer is not None and not stats:
                inspect_text.show_arrays(found, checkpoint)
            else:
                inspect_text.show(found, collapsed=collapsed, tree=tree, stats=stats)


def describe(
    path: str, checkpoint: Checkpoint, *, layer: str | None = None, stats: bool = False
) -> schema.Checkpoint:
    """Return what a checkpoint says about itself, and what its values say.

    Args:
        path: As the user named it.
        checkpoint: An open checkpoint.
        layer: Which tensors, as a layer's name, a tensor's or a pattern; all by default.
        stats: Whether values are read.

    Raises:
        UsageError: If ``layer`` chooses no tensor.
    """
    from converter.cli import schema
    from converter.cli.schema_weights import Parameters
    from converter.inspection import findings
    from converter.inspection.inventory import count_parameters, take_inventory

    manifest = checkpoint.manifest
    entries = take_inventory(manifest)
    if layer is not None:
        entries = _chosen(entries, layer, checkpoint.label)
    measured: dict[str, Statistics | None] = {}
    warnings = list(findings.by_name(manifest))
    if stats:
        from converter.inspection.statistics import measure_tensor

        for entry in entries:
            name = entry.spec.name
            measured[name] = measure_tensor(checkpoint, name, entry.unit_axis)
        warnings += findings.by_value(entries, measured)
    totals = count_parameters(entries)
    return schema.Checkpoint(
        path=path,
        format=checkpoint.format,
        family=manifest.family,
        nbytes=sum(entry.spec.nbytes for entry in entries),
        tensors=[_tensor(entry, measured) for entry in entries],
        layers=[
            schema.Layer(one.path, one.class_name, dict(one.tensors)) for one in manifest.layers
        ],
        ties=dict(manifest.ties),
        metadata=dict(manifest.metadata),
        notices=list(manifest.notices),
        writer=manifest.writer,
        parameters=Parameters(
            totals.parameters, totals.trainable, totals.not_trainable, totals.unknown
        ),
        warnings=warnings,
    )


def _chosen(entries: tuple[Entry, ...], pattern: str, label: str) -> tuple[Entry, ...]:
    from converter.errors import UsageError
    from converter.tensors.selection import is_chosen

    found = tuple(entry for entry in entries if is_chosen(entry.spec.name, pattern))
    if not found:
        raise UsageError(
            f"cannot show '{pattern}': {label} has no such layer or tensor",
            hint="'converter inspect FILE' lists them; '**' stands for any number of names",
        )
    return found


def _tensor(entry: Entry, measured: Mapping[str, Statistics | None]) -> schema.Tensor:
    import msgspec

    from converter.cli import schema
    from converter.cli.schema_weights import Statistics as Shown

    spec = entry.spec
    found = measured.get(spec.name)
    return schema.Tensor(
        spec.name,
        list(spec.shape),
        spec.dtype.name,
        spec.nbytes,
        layer=entry.layer,
        role=entry.role,
        axes=list(entry.axes),
        trainable=entry.trainable,
        statistics=None if found is None else msgspec.convert(msgspec.to_builtins(found), Shown),
    )
