"""``converter plot``: weights as pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from converter.cli import options
from converter.cli.failures import reporting

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = (
    "converter plot model.keras --out values.png",
    "converter plot model.keras --kind kernel --layer conv1 --out filters.svg",
    "converter plot before.keras after.keras --out change.png",
    "converter plot epoch-*.weights.h5 --out training.html",
    "converter plot training.jsonl --out training.png",
)


class Kind(StrEnum):
    """What is drawn."""

    histograms = "histograms"
    kernel = "kernel"
    spectra = "spectra"
    change = "change"
    evolution = "evolution"


def plot(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Checkpoints, or the .jsonl of a WeightWatcher."),
    ],
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="A .png, a .svg, or a .html page.")
    ],
    kind: Annotated[
        Kind | None,
        typer.Option(
            "--kind",
            help="By default what the number of sources suggests: histograms of one, the change "
            "between two, the evolution over more; all that can be drawn for a page.",
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer", metavar="NAMES", help="Draw only what is called so: conv1, 'encoder/**'."
        ),
    ] = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Draw weights: values by layer, kernels, spectra, changes, and evolution in training."""
    with reporting(json=json, debug=debug):
        from converter.cli import render, schema, schema_weights
        from converter.inspection import drawing

        kinds = chosen(sources, kind, page=out.suffix == ".html")
        drawn = [draw(one, sources, layer) for one in kinds]
        drawing.save(drawn, out, ", ".join(source.name for source in sources[:3]))
        if json:
            names = [str(one) for one in kinds]
            found = schema_weights.Plot([str(one) for one in sources], str(out), names)
            render.line(schema.dump(found))
        else:
            render.line(f"wrote {out}: {', '.join(kinds)}")


def chosen(sources: Sequence[Path], kind: Kind | None, *, page: bool) -> list[Kind]:
    """Return what is drawn of so many sources."""
    from converter.inspection.series import is_record

    if kind is not None:
        return [kind]
    if len(sources) > 2 or is_record(sources[0]):
        return [Kind.evolution]
    if len(sources) == 2:
        return [Kind.change, Kind.evolution] if page else [Kind.change]
    return [Kind.histograms, Kind.kernel, Kind.spectra] if page else [Kind.histograms]


def draw(kind: Kind, sources: Sequence[Path], layer: str | None) -> Any:
    """Return one figure.

    Raises:
        UsageError: If there are too many or too few sources for it, or no such tensors.
    """
    from converter import api, weights
    from converter.errors import UsageError
    from converter.inspection import drawing

    if kind is Kind.evolution:
        return _evolution(sources, layer)
    wanted = 2 if kind is Kind.change else 1
    if len(sources) != wanted:
        raise UsageError(f"cannot draw {kind} of {len(sources)} sources: it takes {wanted}")
    with api.open(sources[0]) as first:
        if kind is Kind.change:
            with api.open(sources[1]) as second:
                found = weights.diff(first, second, only=layer)
                return drawing.draw_change(found, first, second)
        if kind is Kind.kernel:
            return drawing.draw_kernel(first, layer)
        if kind is Kind.spectra:
            return drawing.draw_spectra(first, layer)
        return drawing.draw_histograms(first, layer)


def _evolution(sources: Sequence[Path], layer: str | None) -> Any:
    """Return the figure of a series of checkpoints, or of one record of a training."""
    from converter.errors import UsageError
    from converter.inspection import figures, series

    names = [source.name for source in sources]
    if any(series.is_record(source) for source in sources):
        if len(sources) > 1:
            raise UsageError(f"cannot draw {len(sources)} sources: a record is drawn alone")
        moments = series.read_record(sources[0])
    else:
        moments = series.measure_series(sources)
    if layer is not None:
        moments = series.chosen(moments, layer)
    if not any(moment.points for moment in moments):
        what = "no weight in it" if layer is None else f"no weight is called '{layer}'"
        raise UsageError(f"cannot draw the evolution of {names[0]}: {what}")
    title = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    return figures.evolution(moments, f"{title}: evolution of the weights")
