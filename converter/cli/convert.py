"""``converter convert``: one checkpoint in, the other framework's out, all or nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.cli import options
from converter.cli.automatic import settled
from converter.cli.failures import reporting
from converter.cli.layouts import save_layout

if TYPE_CHECKING:
    from converter.cli import schema
    from converter.execution.executor import Written
    from converter.formats.base import Checkpoint
    from converter.planning.plan import Plan

EXAMPLES = (
    "converter convert model.keras model.safetensors",
    "converter convert model.safetensors model.weights.h5 --like model.keras",
    "converter convert big.keras mine.keras --like fresh.keras --only 'encoder/**'",
    "converter convert my_preset my_model --layout huggingface",
    "converter convert model.keras model.safetensors --mapping auto --torch network.py:Net",
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
    layout: options.Layout = None,
    sidecar: options.Sidecar = False,
    force: options.Force = False,
    select: options.Select = None,
    architecture: options.Architecture = None,
    norms: options.Norms = None,
    dequantize: options.Dequantize = False,
    keras: options.KerasFactory = None,
    torch: options.TorchFactory = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Convert a checkpoint; the target appears under its name only when it is complete.

    With --mapping auto a mapping is drafted, and used only if running both models proves it: else
    exit code 1. --keras and --torch say what builds them; by default what --like names.
    """
    with reporting(json=json, debug=debug):
        from converter import api
        from converter.cli.sizes import parse_axis_sizes, parse_size

        limit = parse_size(max_shard_size, "--max-shard-size") if max_shard_size else None
        law = require.value if require else None
        planning: dict[str, Any] = {"mapping": mapping, "dtype": dtype, "require": law}
        writing: dict[str, Any] = {"force": force, "max_shard_size": limit}
        more: dict[str, Any] = {"to": to, "like": like, "only": only, "prefix": prefix}
        with api.open(
            source, select=select, architecture=architecture, norms=norms, dequantize=dequantize
        ) as checkpoint:
            if layout is not None:
                more |= {"keras": keras, "torch": torch, "set": sizes, "norms": norms}
                more |= {"format": target_format, "sidecar": sidecar}
                plan, written = save_layout(
                    checkpoint, target, layout.value, more, planning | writing
                )
            else:
                planning |= more | {"norms": norms, "sizes": parse_axis_sizes(sizes or [])}
                writing |= {"format": target_format, "sidecar": sidecar}
                models = {"keras": keras, "torch": torch}
                plan, written = _save(checkpoint, target, planning, writing, models, json=json)
            show(describe(source, target, plan, written), json=json)


def _save(
    checkpoint: Checkpoint,
    target: Path,
    planning: dict[str, Any],
    writing: dict[str, Any],
    models: dict[str, str | None],
    *,
    json: bool,
) -> tuple[Plan, Written]:
    """Plan and write one file, with a bar; a mapping that is to be drafted is proved first."""
    from converter import api
    from converter.cli.memory import return_what_is_freed
    from converter.cli.progress import Bar

    return_what_is_freed()
    planning["mapping"], planning["like"] = settled(
        checkpoint, planning["mapping"], planning["like"], models, json=json
    )
    given = planning["to"]
    family = given.value if given is not None else None
    planning["to"] = family or api.default_family(
        target, like=planning["like"], format=writing["format"]
    )
    conversion = api.plan(checkpoint, **planning)
    with Bar() as progress:
        return conversion.plan, conversion.save(target, progress=progress, **writing)


def describe(source: Path, target: Path, plan: Plan, written: Written) -> schema.Written:
    """Return what was written as what ``--json`` prints; files as the user would name them."""
    from converter.cli import schema

    return schema.Written(
        source=str(source),
        files=[_as_named(target, file) for file in written.files],
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


def _as_named(target: Path, file: Path) -> str:
    """Return a file of the target as the user would name it; the target may be its folder."""
    is_inside = file.parent == target.resolve()
    return str((target if is_inside else target.parent) / file.name)


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
