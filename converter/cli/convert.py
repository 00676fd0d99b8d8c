"""``converter convert``: one checkpoint in, the other framework's out, all or nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from converter.cli import options
from converter.cli.failures import reporting

if TYPE_CHECKING:
    from converter.cli import schema
    from converter.execution.executor import Written
    from converter.planning.plan import Plan

EXAMPLES = (
    "converter convert model.keras model.safetensors",
    "converter convert model.safetensors model.weights.h5 --like model.keras",
    "converter convert big.keras mine.keras --like fresh.keras --only 'encoder/**'",
)


def convert(
    source: options.Source,
    target: options.Target,
    *,
    to: options.To = None,
    mapping: options.MappingName = None,
    like: options.Like = None,
    only: options.Only = None,
    prefix: options.Prefix = None,
    sizes: options.Sizes = None,
    dtype: options.DTypeName = None,
    require: options.Require = None,
    target_format: options.TargetFormat = None,
    max_shard_size: options.MaxShardSize = None,
    sidecar: options.Sidecar = False,
    force: options.Force = False,
    select: options.Select = None,
    architecture: options.Architecture = None,
    norms: options.Norms = None,
    dequantize: options.Dequantize = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Convert a checkpoint; the target appears under its name only when it is complete."""
    with reporting(json=json, debug=debug):
        from converter import api
        from converter.cli.progress import Bar
        from converter.cli.sizes import parse_axis_sizes, parse_size

        limit = parse_size(max_shard_size, "--max-shard-size") if max_shard_size else None
        with api.open(
            source, select=select, architecture=architecture, norms=norms, dequantize=dequantize
        ) as checkpoint:
            conversion = api.plan(
                checkpoint,
                mapping=mapping,
                to=to.value if to else api.default_family(target, like=like, format=target_format),
                like=like,
                sizes=parse_axis_sizes(sizes or []),
                dtype=dtype,
                require=require.value if require else None,
                norms=norms,
                only=only,
                prefix=prefix,
            )
            with Bar() as progress:
                written = conversion.save(
                    target, format=target_format, force=force, max_shard_size=limit,
                    sidecar=sidecar, progress=progress,
                )  # fmt: skip
            show(describe(source, target, conversion.plan, written), json=json)


def describe(source: Path, target: Path, plan: Plan, written: Written) -> schema.Written:
    """Return what was written as what ``--json`` prints; files as the user would name them."""
    from converter.cli import schema

    return schema.Written(
        source=str(source),
        files=[str(target.parent / file.name) for file in written.files],
        nbytes=written.nbytes,
        tensors=written.tensors,
        to=plan.to,
        mapping=plan.mapping,
        law=str(plan.law),
        laws=dict(Counter(str(step.law) for step in plan.steps)),
        dropped=[schema.Dropped(drop.name, drop.why) for drop in plan.dropped],
        assumptions=list(plan.assumptions),
        seconds=written.seconds,
        kept=list(plan.kept),
        notes=list(plan.notes),
    )


def show(found: schema.Written, *, json: bool) -> None:
    """Print what was written, and what it takes to give equal outputs."""
    from converter.cli import render, schema
    from converter.cli.collapse import collapse
    from converter.cli.plan import laws_text
    from converter.cli.sizes import size_text

    if json:
        render.line(schema.dump(found))
        return
    for file in found.files:
        render.line(f"wrote {file}")
    render.line(
        f"{render.plural(found.tensors, 'tensor')}, {size_text(found.nbytes)}, "
        f"mapping {found.mapping}, {laws_text(found.laws)}, {found.seconds:.2f} s"
    )
    dropped = [(drop.name, drop.why) for drop in found.dropped]
    render.sentences("dropped", [": ".join(group.texts) for group in collapse(dropped)])
    render.sentences("note", found.notes)
    render.sentences("kept", [group.texts[0] for group in collapse([one] for one in found.kept)])
    render.sentences("assumed", found.assumptions)
