"""Pictures of weights, with matplotlib. What is drawn was measured elsewhere.

Each function returns a figure. A network of 500 layers stays readable: rows of a heat map instead
of a curve each, and names thinned out until they fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converter import _optional
from converter.inspection.difference import TensorDifference
from converter.inspection.series import Moment
from converter.tensors.dtype import Array

INK = "#1f2937"
ACCENT = "#2563eb"
MAX_NAMES = 60  # on one axis; more would overlap
MAX_TILES = 64  # of a grid of filters
MAX_CURVES = 16  # of a training; more are a heat map
MAX_SPECTRA = 40  # curves from the first to the last layer; more are a heat map


def _figure(width: float, height: float) -> Any:
    why = "cannot draw"
    _optional.require("matplotlib", why=why, extra="plots")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=110)


def histograms(densities: Mapping[str, tuple[Array, Array]], title: str) -> Any:
    """Draw where the values of each tensor lie: a row each, dark where there are many.

    Args:
        densities: Tensor to counts of shape ``(bins,)`` and edges of shape ``(bins + 1,)``; the
            edges are the same for all.
        title: Of the figure.
    """
    names = list(densities)
    figure = _figure(9, _height(len(names)))
    axes = figure.subplots()
    counts = np.array([one / max(1, one.max()) for one, _ in densities.values()])
    edges = next(iter(densities.values()))[1]
    rows = np.arange(len(names) + 1) - 0.5
    mesh = axes.pcolormesh(edges, rows, np.sqrt(counts), cmap="Blues", rasterized=True)
    axes.axvline(0, color=INK, linewidth=0.6, linestyle=":")
    axes.set_xscale("symlog", linthresh=_threshold(edges))
    bound = float(edges[-1])
    axes.set_xticks([-bound, -bound / 10, 0, bound / 10, bound])
    axes.set_xticklabels([f"{tick:.2g}" for tick in (-bound, -bound / 10, 0, bound / 10, bound)])
    axes.minorticks_off()
    axes.invert_yaxis()
    _names(axes, names)
    axes.set_xlabel("value (logarithmic away from zero)")
    axes.set_title(title, loc="left")
    bar = figure.colorbar(mesh, ax=axes, shrink=min(1.0, 4 / _height(len(names))))
    bar.set_label("share of the fullest bin (root)")
    return figure


def kernel_grid(tiles: Array, title: str) -> Any:
    """Draw filters as images, all with one scale.

    Args:
        tiles: Shape ``(filters, height, width)``, or ``(filters, height, width, 3)`` for colours.
        title: Of the figure.
    """
    shown = tiles[:MAX_TILES]
    columns = max(1, math.ceil(math.sqrt(len(shown))))
    rows = max(1, math.ceil(len(shown) / columns))
    figure = _figure(1.0 * columns + 1.2, 1.0 * rows + 0.8)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    bound = _largest(shown)
    image = None
    for number, axes in enumerate(grid):
        axes.set_axis_off()
        if number >= len(shown):
            continue
        tile = shown[number]
        values = tile
        if tile.ndim == 3:  # what is not a number is black
            values = np.nan_to_num(tile / (2 * bound) + 0.5, posinf=1.0, neginf=0.0)
        image = axes.imshow(values, cmap="RdBu_r", vmin=-bound, vmax=bound)
        axes.set_title(str(number), fontsize=6, color="#6b7280", pad=1)
    left = f", the first {len(shown)} of {len(tiles)}" if len(tiles) > len(shown) else ""
    figure.suptitle(title + left, x=0.01, ha="left", fontsize=10)
    if image is not None and shown.ndim == 3:
        figure.colorbar(image, ax=list(grid), shrink=0.7, aspect=30)
    return figure


def matrix(values: Array, title: str, axes_names: tuple[str, str]) -> Any:
    """Draw a matrix as a heat map, red above zero and blue below."""
    figure = _figure(8, 5)
    axes = figure.subplots()
    largest = _largest(values)
    # One value far outside would leave all others white.
    most = float(np.quantile(np.abs(np.nan_to_num(values, posinf=0.0, neginf=0.0)), 0.995))
    bound = most if 0 < 3 * most < largest else largest
    image = axes.imshow(
        values, cmap="RdBu_r", vmin=-bound, vmax=bound, aspect="auto", interpolation="nearest"
    )
    axes.set_ylabel(axes_names[0])
    axes.set_xlabel(axes_names[1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    axes.set_title(title, loc="left")
    bar = figure.colorbar(image, ax=axes, extend="both" if bound < largest else "neither")
    if bound < largest:
        bar.set_label(f"the largest is {largest:.3g}")
    return figure


def _largest(values: Array) -> float:
    """Return the largest finite absolute value, or 1 where all are zero."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0)) or 1.0


def spectra(values: Mapping[str, Array], title: str) -> Any:
    """Draw the singular values of each matrix, largest first, relative to the largest.

    Args:
        values: Tensor to singular values of shape ``(rank,)``, descending.
        title: Of the figure.
    """
    if len(values) > MAX_SPECTRA:
        return _spectra_heat(values, title)
    figure = _figure(9, 5)
    axes = figure.subplots()
    colours = _colours(len(values))
    for colour, (name, one) in zip(colours, values.items(), strict=True):
        if one.size and one[0] > 0:
            place = (np.arange(one.size) + 0.5) / one.size
            axes.plot(place, one / one[0], color=colour, label=name, linewidth=1.2, alpha=0.85)
    axes.set_yscale("log")
    least = min((one[-1] / one[0] for one in values.values() if one.size and one[0] > 0), default=1)
    axes.set_ylim(bottom=max(1e-6, least / 1.5), top=1.2)
    axes.set_xlim(0, 1)
    axes.set_xlabel("number of the singular value, as a share of all")
    axes.set_ylabel("relative to the largest")
    axes.set_title(title, loc="left")
    axes.grid(alpha=0.25)
    _legend(figure, axes, list(values), "first tensor of the model", "last")
    return figure


def _spectra_heat(values: Mapping[str, Array], title: str) -> Any:
    """Draw a row for each matrix instead of a curve."""
    figure = _figure(9, _height(len(values)))
    axes = figure.subplots()
    shares = np.linspace(0, 1, 101)
    rows = np.full((len(values), shares.size), np.nan)
    for row, one in zip(rows, values.values(), strict=True):
        if one.size and one[0] > 0:
            place = (np.arange(one.size) + 0.5) / one.size
            row[:] = np.interp(shares, place, np.log10(np.maximum(one / one[0], 1e-6)))
    image = axes.imshow(
        rows, aspect="auto", cmap="viridis", interpolation="nearest",
        extent=(0, 1, len(rows) - 0.5, -0.5),
    )  # fmt: skip
    _names(axes, list(values))
    axes.set_xlabel("number of the singular value, as a share of all")
    axes.set_title(title, loc="left")
    label = "log10 of the singular value, relative to the largest"
    figure.colorbar(image, ax=axes, shrink=min(1.0, 4 / _height(len(rows)))).set_label(label)
    return figure


def change_by_depth(tensors: Sequence[TensorDifference], title: str) -> Any:
    """Draw how far each tensor changed, from the input of the model to its output.

    Args:
        tensors: In the order of the model.
        title: Of the figure.
    """
    names = [one.name for one in tensors]
    figure = _figure(9, _height(len(names)))
    axes = figure.subplots()
    values = [one.relative_l2 for one in tensors]
    drawn = [value if 0 < value < math.inf else np.nan for value in values]
    least = np.nanmin(drawn) if not np.all(np.isnan(drawn)) else 1.0
    rows = np.arange(len(names))
    axes.barh(rows, drawn, color=ACCENT, height=0.75)
    axes.set_xscale("log")
    axes.set_xlim(left=least / 3)
    untouched = [row for row, value in zip(rows, values, strict=True) if value == 0]
    axes.plot([least / 2.6] * len(untouched), untouched, "|", color="#9ca3af", markersize=5,
              label=f"the same ({len(untouched)})")  # fmt: skip
    axes.set_ylim(len(names) - 0.4, -0.6)
    _names(axes, names)
    axes.set_xlabel("relative change, |B - A| / |A|")
    axes.set_title(title, loc="left")
    axes.grid(axis="x", alpha=0.25)
    if untouched:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    return figure


def evolution(moments: Sequence[Moment], title: str) -> Any:
    """Draw norms, relative updates and distances from the start over a series of checkpoints."""
    names = list(dict.fromkeys(point.name for moment in moments for point in moment.points))
    figure = _figure(11, 8.5 if len(names) <= MAX_CURVES else 10)
    panels = figure.subplots(3, 1, sharex=True)
    kinds = (
        ("norm", "norm"),
        ("update", "update / weight"),
        ("distance", "distance from start / weight"),
    )
    for axes, (field, label) in zip(panels, kinds, strict=True):
        values = _table(moments, names, field)
        if len(names) <= MAX_CURVES:
            _curves(axes, values, names)
            axes.set_ylabel(label)
        else:
            _heat(figure, axes, values, label, names)
    labels = [moment.label for moment in moments]
    step = max(1, math.ceil(len(labels) / 20))
    panels[-1].set_xticks(range(0, len(labels), step), labels[::step], rotation=30, ha="right")
    panels[0].set_title(title, loc="left")
    if len(names) <= MAX_CURVES:
        _legend(figure, panels[0], names, "", "")
    return figure


def _curves(axes: Any, values: Array, names: Sequence[str]) -> None:
    for colour, name, row in zip(_colours(len(names)), names, values, strict=True):
        drawn = np.where(row > 0, row, np.nan)
        axes.plot(drawn, color=colour, label=name, linewidth=1.3, marker=".", markersize=4)
    axes.set_yscale("log")
    axes.grid(alpha=0.25)


def _heat(figure: Any, axes: Any, values: Array, label: str, names: Sequence[str]) -> None:
    with np.errstate(all="ignore"):
        logarithms = np.where(values > 0, np.log10(values), np.nan)
    image = axes.imshow(logarithms, aspect="auto", cmap="viridis", interpolation="nearest")
    _names(axes, names, most=20)
    white = "none" if label == "norm" else "none, or no change"
    figure.colorbar(image, ax=axes, label=f"log10 of {label}\n(white: {white})")


def _table(moments: Sequence[Moment], names: Sequence[str], field: str) -> Array:
    """Return values of shape ``(tensors, moments)``; NaN where there is none."""
    found = np.full((len(names), len(moments)), np.nan)
    place = {name: row for row, name in enumerate(names)}
    for column, moment in enumerate(moments):
        for point in moment.points:
            value = getattr(point, field)
            if value is not None:
                found[place[point.name], column] = value
    return found


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    if count <= 10:
        return [colormaps["tab10"](number) for number in range(count)]
    return [colormaps["viridis"](number / max(1, count - 1)) for number in range(count)]


def _legend(figure: Any, axes: Any, names: Sequence[str], first: str, last: str) -> None:
    """Name each curve beside the figure; of many, say what the first and last colours are."""
    if len(names) <= MAX_CURVES:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=7)
        return
    from matplotlib import cm, colors

    scale = cm.ScalarMappable(colors.Normalize(0, 1), "viridis")
    bar = figure.colorbar(scale, ax=axes)
    bar.set_ticks([0, 1], labels=[first, last])


def _height(rows: int) -> float:
    return min(16.0, 1.6 + 0.22 * rows)


def _names(axes: Any, names: Sequence[str], most: int = MAX_NAMES) -> None:
    """Write the names of rows: all where they fit, else every n-th."""
    step = max(1, math.ceil(len(names) / most))
    axes.set_yticks(range(0, len(names), step), names[::step], fontsize=7)


def _threshold(edges: Array) -> float:
    return float(edges[-1]) / 10
