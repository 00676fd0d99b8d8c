"""From open checkpoints to pictures: what is measured for each, and how it is kept as a file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converter import _optional
from converter.errors import UsageError
from converter.execution.small_files import write_small
from converter.formats.base import Checkpoint
from converter.inspection import figures
from converter.inspection.difference import Comparison
from converter.inspection.inventory import Entry, take_inventory
from converter.inspection.pieces import read_pieces
from converter.inspection.series import weights_of
from converter.inspection.statistics import measure_tensor
from converter.tensors.dtype import Array
from converter.tensors.selection import is_chosen

BINS = 121
MAX_MATRIX = 64 << 20  # bytes in float64: singular values of a larger one take minutes
SUFFIXES = (".png", ".svg", ".html")


def draw_histograms(checkpoint: Checkpoint, only: str | None = None) -> Any:
    """Return a figure of where the values of each weight lie.

    Args:
        checkpoint: An open checkpoint.
        only: A pattern of the names that are drawn, or ``None`` for all.

    Raises:
        UsageError: If there are no such weights.
    """
    entries = _chosen(checkpoint, only)
    measured = {one.spec.name: measure_tensor(checkpoint, one.spec.name) for one in entries}
    bound = max((one.largest for one in measured.values() if one is not None), default=0.0) or 1.0
    # Fine around zero and coarse outside, as the axis is drawn.
    half = np.concatenate([np.linspace(0, bound / 10, 31), np.geomspace(bound / 10, bound, 31)[1:]])
    edges = np.concatenate([-half[:0:-1], half])
    densities = {
        name: (_counts(checkpoint, name, edges), edges)
        for name, one in measured.items()
        if one is not None and one.elements
    }
    if not densities:
        what = "it has no floating-point weights" if only is None else f"no weight is '{only}'"
        raise UsageError(f"cannot draw {checkpoint.label}: {what}")
    return figures.histograms(densities, f"{checkpoint.label}: values by tensor")


def _counts(checkpoint: Checkpoint, name: str, edges: Array) -> Array:
    counts: Array = np.zeros(edges.size - 1)
    for piece in read_pieces(checkpoint, name):
        with np.errstate(all="ignore"):
            wide = piece.array.astype(np.float64).reshape(-1)
        counts += np.histogram(wide[np.isfinite(wide)], edges)[0]
    return counts / np.diff(edges)


def _chosen(checkpoint: Checkpoint, only: str | None) -> list[Entry]:
    """Return the weights of a checkpoint whose names a pattern chooses."""
    entries = weights_of(take_inventory(checkpoint.manifest))
    return [one for one in entries if only is None or is_chosen(one.spec.name, only)]


def draw_kernel(checkpoint: Checkpoint, name: str | None = None) -> Any:
    """Return a figure of one kernel: filters as images, or a matrix as a heat map.

    Args:
        checkpoint: An open checkpoint.
        name: The tensor, or a pattern that chooses it; by default the first with spatial axes, and
            else the first matrix.

    Raises:
        UsageError: If there is no such tensor, or it has no two axes.
    """
    chosen = _kernel(checkpoint, name)
    array = _float(checkpoint, chosen.spec.name)
    title = f"{checkpoint.label}: {chosen.spec.name}"
    if array.ndim == 4:
        return figures.kernel_grid(_tiles(array, chosen), title)
    units = array.ndim - 1 if chosen.unit_axis is None else chosen.unit_axis
    names = chosen.axes if len(chosen.axes) == array.ndim else ()
    rest = [name for axis, name in enumerate(names) if axis != units]
    labels = (names[units], " ".join(rest)) if names else ("unit", "what goes into it")
    if array.ndim == 2:  # as it lies in the file
        labels = (names[0], names[1]) if names else ("row", "column")
        return figures.matrix(array, title, labels)
    flat = np.moveaxis(array, units, 0).reshape(array.shape[units], -1)
    return figures.matrix(flat, title, labels)


def _kernel(checkpoint: Checkpoint, name: str | None) -> Entry:
    entries = [one for one in _chosen(checkpoint, name) if len(one.spec.shape) > 1]
    for rank in (4, 2, 3, 5):
        for entry in entries:
            if len(entry.spec.shape) == rank:
                return entry
    if name is not None:
        raise UsageError(f"cannot draw '{name}': {checkpoint.label} has no such kernel")
    raise UsageError(f"cannot draw {checkpoint.label}: it has no kernel")


def _tiles(array: Array, entry: Entry) -> Array:
    """Return filters of shape ``(filters, height, width)``, in colours where they take three.

    Axes that the catalogue names kh and kw are the image; a PyTorch kernel is ``(out, in, kh, kw)``
    by the convention of ``torch.nn``, and ``(in, out, kh, kw)`` where it is transposed.
    """
    if entry.axes:
        height, width = entry.axes.index("kh"), entry.axes.index("kw")
        channels = next((n for n, axis in enumerate(entry.axes) if axis == "in"), 2)
        array = array.transpose(3 if channels == 2 else 2, channels, height, width)
    elif entry.unit_axis == 1:  # a transposed convolution of PyTorch
        array = array.swapaxes(0, 1)
    if array.shape[1] == 3:
        return array.transpose(0, 2, 3, 1)
    if array.shape[1] == 1:
        return array[:, 0]
    return array.reshape(-1, *array.shape[2:])


def draw_spectra(checkpoint: Checkpoint, only: str | None = None) -> Any:
    """Return a figure of the singular values of each weight, seen as a matrix.

    A kernel of more axes is a matrix of its units and all the rest, where its units are known;
    larger ones than ``MAX_MATRIX`` are left out.

    Args:
        checkpoint: An open checkpoint.
        only: A pattern of the names that are drawn, or ``None`` for all.

    Raises:
        UsageError: If there is no matrix.
    """
    found, left_out = {}, 0
    for entry in _chosen(checkpoint, only):
        rank = len(entry.spec.shape)
        if rank < 2 or not entry.elements or (rank > 2 and entry.unit_axis is None):
            continue
        left_out += 1
        if entry.elements * 8 > MAX_MATRIX:
            continue
        array = _float(checkpoint, entry.spec.name)
        units = np.moveaxis(array, entry.unit_axis or 0, 0)
        if np.isfinite(units).all():
            matrix = units.reshape(units.shape[0], -1)
            found[entry.spec.name] = np.linalg.svd(matrix, compute_uv=False)
            left_out -= 1
    if not found:
        raise UsageError(f"cannot draw the spectra of {checkpoint.label}: it has no such matrix")
    some = f" ({left_out} too large or not finite)" if left_out else ""
    return figures.spectra(found, f"{checkpoint.label}: singular values{some}")


def draw_change(found: Comparison, first: Checkpoint, second: Checkpoint) -> Any:
    """Return a figure of how far each tensor changed, in the order of the model.

    Counters and other whole numbers are left out.

    Args:
        found: The comparison of both.
        first: The reference.
        second: The other.

    Raises:
        UsageError: If the checkpoints have no tensor of one shape in common.
    """
    specs = {**second.manifest.tensors, **first.manifest.tensors}
    order = {name: number for number, name in enumerate(specs)}
    tensors = [
        one
        for one in found.tensors
        if one.status in ("changed", "same") and specs[one.name].dtype.is_floating
    ]
    if not tensors:
        raise UsageError(
            f"cannot draw the change from {first.label} to {second.label}: no tensor is in both"
        )
    tensors.sort(key=lambda one: order[one.name])
    return figures.change_by_depth(tensors, f"{first.label} -> {second.label}: change by depth")


def _float(checkpoint: Checkpoint, name: str) -> Array:
    """Return a whole tensor as ``float64``; new memory."""
    array = checkpoint.read(name).astype(np.float64)
    checkpoint.release(name)
    return array


def save(drawn: Sequence[Any], target: Path, title: str) -> None:
    """Write figures as one file: a PNG or SVG of the only one, or a page of all.

    Args:
        drawn: Figures.
        target: Ending with one of ``SUFFIXES``.
        title: Of the page.

    Raises:
        UsageError: If the ending is another, or several figures shall be one picture.
    """
    if target.suffix not in SUFFIXES:
        raise UsageError(f"cannot draw '{target.name}'", facts=[("endings", ", ".join(SUFFIXES))])
    if target.suffix != ".html" and len(drawn) > 1:
        raise UsageError(f"cannot draw {len(drawn)} plots as '{target.name}'", hint="use .html")
    if target.suffix == ".html":
        data = _page(drawn, title).encode()
    else:
        data = _picture(drawn[0], target.suffix[1:])
    write_small(target, data, force=True)


def _picture(figure: Any, kind: str) -> bytes:
    import matplotlib as mpl

    buffer = io.BytesIO()
    # Without a date and with fixed identifiers, so that equal figures are equal files.
    with mpl.rc_context({"svg.hashsalt": "weightferry"}):
        figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{ title }}</title>
<style>body{font:15px system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}
figure{margin:0 0 3rem}svg{max-width:100%;height:auto}</style>
<h1>{{ title }}</h1>
{% for picture in pictures %}<figure>{{ picture | safe }}</figure>
{% endfor %}</html>
"""


def _page(drawn: Sequence[Any], title: str) -> str:
    jinja2 = _optional.require("jinja2", why="cannot write a page", extra="plots")
    pictures = [_picture(figure, "svg").decode() for figure in drawn]
    bodies = [picture[picture.index("<svg") :] for picture in pictures]
    environment = jinja2.Environment(autoescape=True)
    return str(environment.from_string(_PAGE).render(title=title, pictures=bodies))
