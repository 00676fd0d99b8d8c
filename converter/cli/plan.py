"""``converter plan``: what a conversion would do; nothing is read but names, nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from converter.cli import options
from converter.cli.failures import reporting

if TYPE_CHECKING:
    from converter.execution.plan_report import PlanReport, StepReport, TensorReport

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
    only: options.Only = None,
    prefix: options.Prefix = None,
    sizes: options.Sizes = None,
    dtype: options.DTypeName = None,
    require: options.Require = None,
    select: options.Select = None,
    architecture: options.Architecture = None,
    norms: options.Norms = None,
    dequantize: options.Dequantize = False,
    every: options.Every = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show every step of a conversion, its law, and every problem, before a byte moves."""
    with reporting(json=json, debug=debug):
        from converter import api
        from converter.cli import render, schema
        from converter.cli.sizes import parse_axis_sizes
        from converter.execution.plan_report import plan_report

        wanted = to or (api.default_family(target, like=like) if target else None)
        with api.open(
            source, select=select, architecture=architecture, norms=norms, dequantize=dequantize
        ) as checkpoint:
            conversion = api.plan(
                checkpoint,
                mapping=mapping,
                to=wanted,
                like=like,
                sizes=parse_axis_sizes(sizes or []),
                dtype=dtype,
                require=require.value if require else None,
                norms=norms,
                only=only,
                prefix=prefix,
            )
            found = plan_report(conversion.plan, str(source))
        if json:
            render.line(schema.dump(found))
        else:
            show(found, every=every)


def show(found: PlanReport, *, every: bool) -> None:
    """Print the layers, or every step, and what is assumed."""
    from converter.cli import render
    from converter.cli.collapse import collapse
    from converter.cli.sizes import size_text

    tensors = sum(len(step.targets) for step in found.steps)
    render.line(
        f"{found.source} -> {'PyTorch' if found.to == 'torch' else 'Keras'}: mapping "
        f"{found.mapping}, {render.plural(tensors, 'tensor')}, {size_text(found.nbytes)}, "
        f"{laws_text(found.laws)}"
    )
    render.line()
    if every:
        columns = [render.Column(title) for title in ("source", "target", "operation", "law")]
        render.table(columns, _by_step(found.steps))
    else:
        paired = any(step.layer or step.module for step in found.steps)
        names = ("Keras layer", "PyTorch module") if paired else ("source", "target")
        columns = [render.Column(title) for title in (*names, "axes", "law")]
        columns.append(render.Column("count", right=True))
        groups = collapse(_by_layer(found.steps))
        render.table(columns, [(*group.texts, str(group.count)) for group in groups])
    dropped = [(drop.tensor.name, drop.why) for drop in found.dropped]
    render.sentences("dropped", [": ".join(group.texts) for group in collapse(dropped)])
    render.sentences("tied", [f"{name} = {of}" for name, of in found.ties.items()])
    render.sentences("note", found.notes)
    render.sentences("assumed", found.assumptions)


def laws_text(laws: Mapping[str, int]) -> str:
    """Return how many steps have which law, the weakest last.

    Examples:
        >>> laws_text({"derived": 1, "exact": 11})
        '11 exact, 1 derived'
    """
    from converter.algebra.base import Law

    return ", ".join(f"{laws[law]:,} {law}" for law in Law if law in laws)


def _by_step(steps: Sequence[StepReport]) -> list[tuple[str, ...]]:
    """Return one row for each step: source, target, operation, law."""
    return [
        (
            _names(step.sources),
            _names(step.targets),
            _movement(step) or "as it is",
            step.law,
        )
        for step in steps
    ]


def _by_layer(steps: Sequence[StepReport]) -> list[tuple[str, ...]]:
    """Return one row for each layer: layer, module, what moves in it, its laws.

    A copy within one family has no layers: there each tensor is a row.
    """
    from converter.algebra.base import Law

    layers: dict[tuple[str, str], list[StepReport]] = {}
    for step in steps:
        pair = (step.layer, step.module)
        if not any(pair):
            pair = (_names(step.sources), _names(step.targets))
        layers.setdefault(pair, []).append(step)
    rows: list[tuple[str, ...]] = []
    for (layer, module), parts in layers.items():
        moved = dict.fromkeys(text for step in parts if (text := _movement(step)) and step.sources)
        laws = {step.law for step in parts}
        law = ", ".join(str(law) for law in Law if law in laws)
        rows.append((layer, module, "; ".join(moved) or "as they are", law))
    return rows


def _movement(step: StepReport) -> str:
    """Return what a step does, or an empty text where everything stays where it is."""
    before, arrow, after = step.operation.partition(" -> ")
    return "" if arrow and before == after else step.operation


def _names(tensors: Sequence[TensorReport]) -> str:
    return " + ".join(tensor.name for tensor in tensors) or "(none)"
