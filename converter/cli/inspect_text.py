"""What ``inspect`` prints for people: a table, a tree, statistics, or arrays as NumPy does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converter.cli import render, schema
from converter.cli.collapse import collapse
from converter.cli.sizes import size_text
from converter.errors import shape_text

if TYPE_CHECKING:
    from converter.formats.base import Checkpoint

_FAMILIES = {"keras": "Keras", "torch": "PyTorch", None: "unknown"}


def show(found: schema.Checkpoint, *, collapsed: bool, tree: bool, stats: bool) -> None:
    """Print a table of the tensors, and what is unusual."""
    _heading(found)
    if tree:
        _tree(found)
    elif stats:
        _statistics(found)
    else:
        _tensors(found, collapsed=collapsed)
    render.sentences("tied", [f"{name} = {of}" for name, of in found.ties.items()])
    render.sentences("note", found.notices)
    render.sentences("warning", found.warnings)


def show_arrays(found: schema.Checkpoint, checkpoint: Checkpoint) -> None:
    """Print the values of tensors, each shortened as NumPy does."""
    import numpy as np

    for number, tensor in enumerate(found.tensors):
        if number:
            render.line()
        axes = f"  axes {' '.join(tensor.axes)}" if tensor.axes else ""
        shape = shape_text(tensor.shape)
        render.line(f"{tensor.name}  {shape} {tensor.dtype}{axes}")
        array = checkpoint.read(tensor.name)
        render.line(np.array2string(array, separator=", ", threshold=200))
        del array
        checkpoint.release(tensor.name)


def _heading(found: schema.Checkpoint) -> None:
    render.line(
        f"{found.path}: format {found.format}, names {_FAMILIES[found.family]}, "
        f"{render.plural(len(found.tensors), 'tensor')}, {size_text(found.nbytes)}"
    )
    render.line(f"written by: {found.writer or 'nothing in the file says it'}")
    render.line(_totals(found))
    render.line()


def _totals(found: schema.Checkpoint) -> str:
    counts = found.parameters
    if counts is None:
        return ""
    text = f"parameters: {counts.total:,}"
    if counts.trainable or counts.not_trainable:
        parts = [
            f"{count:,} {what}"
            for count, what in (
                (counts.trainable, "trainable"),
                (counts.not_trainable, "not trainable"),
                (counts.unknown, "not known which"),
            )
            if count
        ]
        text += f" ({', '.join(parts)})"
    return text


def _tensors(found: schema.Checkpoint, *, collapsed: bool) -> None:
    owners = {name: layer.class_name for layer in found.layers for name in layer.tensors.values()}
    titles = ["tensor", "layer", "shape", "axes", "dtype"]
    rows = [
        (
            tensor.name,
            owners.get(tensor.name) or "-",
            shape_text(tensor.shape),
            " ".join(tensor.axes) or "-",
            tensor.dtype,
        )
        for tensor in found.tensors
    ]
    shown = [
        index for index in range(5) if index not in (1, 3) or {row[index] for row in rows} - {"-"}
    ]
    cut = [tuple(row[index] for index in shown) for row in rows]
    columns = [render.Column(titles[index]) for index in shown]
    if collapsed:
        columns.append(render.Column("count", right=True))
        render.table(columns, [(*group.texts, str(group.count)) for group in collapse(cut)])
    else:
        columns.append(render.Column("bytes", right=True))
        sizes = [f"{tensor.nbytes:,}" for tensor in found.tensors]
        render.table(columns, [(*row, size) for row, size in zip(cut, sizes, strict=True)])


def _statistics(found: schema.Checkpoint) -> None:
    titles = ("mean", "std", "min", "max", "norm", "zeros", "dead")
    columns = [render.Column("tensor"), render.Column("fits in")]
    columns += [render.Column(title, right=True) for title in titles]
    rows = []
    for tensor in found.tensors:
        one = tensor.statistics
        if one is None:
            rows.append((tensor.name, tensor.dtype, *("-" for _ in titles)))
            continue
        numbers = (one.mean, one.std, one.minimum, one.maximum, one.norm)
        share = one.zeros / one.elements if one.elements else 0.0
        dead = f"{len(one.dead):,}/{one.units:,}" if one.units else "-"
        rows.append(
            (tensor.name, one.effective_dtype, *map(_number, numbers), f"{share:.1%}", dead)
        )
    render.table(columns, rows)


def _tree(found: schema.Checkpoint) -> None:
    """Print layers below the layers that hold them, and tensors below their own."""
    classes = {layer.path: layer.class_name for layer in found.layers}
    printed: set[str] = set()
    for tensor in found.tensors:
        separator = "/" if found.family == "keras" else "."
        parts = tensor.name.split(separator)
        for depth in range(1, len(parts)):
            path = separator.join(parts[:depth])
            if path not in printed:
                printed.add(path)
                kind = classes.get(path)
                render.line("  " * (depth - 1) + parts[depth - 1] + (f"  {kind}" if kind else ""))
        named = zip(tensor.axes, tensor.shape, strict=False) if tensor.axes else ()
        shape = " ".join(f"{axis}={size}" for axis, size in named) or shape_text(tensor.shape)
        role = f" ({tensor.role})" if tensor.role != parts[-1] else ""
        frozen = ", not trained" if tensor.trainable is False else ""
        render.line(
            "  " * (len(parts) - 1)
            + f"{parts[-1]}{role}  {shape}  {tensor.dtype}  {size_text(tensor.nbytes)}{frozen}"
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
