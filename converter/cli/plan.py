"""``converter plan``: what a conversion would do; nothing is read but names, nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from converter.cli import options
from converter.cli.failures import reporting

if TYPE_CHECKING:
    from converter.cli import schema
    from converter.planning.plan import Plan

EXAMPLES = (
    "converter plan model.keras",
    "converter plan bert.safetensors --to keras --mapping bert --like keras_bert.weights.h5",
)


def plan(
    source: options.Source,
    target: Annotated[
        Path | None, typer.Argument(metavar="[TARGET]", help="Where 'convert' would write.")
    ] = None,
    *,
    to: options.To = None,
    mapping: options.MappingName = None,
    like: options.Like = None,
    sizes: options.Sizes = None,
    dtype: options.DTypeName = None,
    require: options.Require = None,
    select: options.Select = None,
    architecture: options.Architecture = None,
    every: Annotated[
        bool, typer.Option("--all", help="One row for each step, even where only numbers differ.")
    ] = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show every step of a conversion, its law, and every problem, before a byte moves."""
    with reporting(json=json, debug=debug):
        from converter import api
        from converter.cli import render, schema
        from converter.cli.sizes import parse_axis_sizes

        with api.open(source, select=select, architecture=architecture) as checkpoint:
            conversion = api.plan(
                checkpoint,
                mapping=mapping,
                to=to.value if to else family_of(target),
                like=like,
                sizes=parse_axis_sizes(sizes or []),
                dtype=dtype,
                require=require.value if require else None,
            )
            found = describe(str(source), conversion.plan)
        if json:
            render.line(schema.dump(found))
        else:
            show(found, every=every)


def family_of(target: Path | None) -> str | None:
    """Return whose layout the format of a target holds, or ``None`` where it holds either."""
    if target is None:
        return None
    from converter.formats import registry

    return registry.target_format(target).family


def describe(source: str, plan: Plan) -> schema.Plan:
    """Return a plan as what ``--json`` prints."""
    from converter.cli import schema

    return schema.Plan(
        source=source,
        to=plan.to,
        mapping=plan.mapping,
        law=str(plan.law),
        nbytes=plan.target.nbytes,
        steps=[
            schema.Step(
                sources=list(step.sources),
                targets=list(step.targets),
                operation=step.operation.describe(),
                law=str(step.law),
                rule=step.rule,
                layer=step.layer,
                module=step.module,
            )
            for step in plan.steps
        ],
        tensors=[
            schema.Tensor(spec.name, list(spec.shape), spec.dtype.name, spec.nbytes)
            for spec in plan.target
        ],
        dropped=[schema.Dropped(drop.name, drop.why) for drop in plan.dropped],
        ties=dict(plan.ties),
        assumptions=list(plan.assumptions),
    )


def show(found: schema.Plan, *, every: bool) -> None:
    """Print the steps, those that differ only in numbers as one row, and what is assumed."""
    from converter.cli import render
    from converter.cli.collapse import collapse
    from converter.cli.sizes import size_text

    render.line(
        f"{found.source} -> {'PyTorch' if found.to == 'torch' else 'Keras'}: mapping "
        f"{found.mapping}, {render.plural(len(found.tensors), 'tensor')}, "
        f"{size_text(found.nbytes)}, law {found.law}"
    )
    render.line()
    rows = [
        (
            " + ".join(step.sources) or "(none)",
            " + ".join(step.targets) or "(none)",
            step.operation,
            step.law,
        )
        for step in found.steps
    ]
    columns = [render.Column(title) for title in ("source", "target", "operation", "law")]
    if every:
        render.table(columns, rows)
    else:
        columns.append(render.Column("count", right=True))
        render.table(columns, [(*group.texts, str(group.count)) for group in collapse(rows)])
    dropped = [(drop.name, drop.why) for drop in found.dropped]
    render.sentences("dropped", [": ".join(group.texts) for group in collapse(dropped)])
    render.sentences("tied", [f"{name} = {of}" for name, of in found.ties.items()])
    render.sentences("assumed", found.assumptions)
