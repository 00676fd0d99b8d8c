"""How weights change over a series of checkpoints: the numbers behind a plot of their evolution.

A series comes from files, in the order given, or from the JSON lines of a training callback. Two
checkpoints are read at a time, and of the first one once more for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from converter.errors import CorruptFileError, UsageError
from converter.formats.base import Checkpoint
from converter.formats.registry import open_checkpoint
from converter.inspection.difference import compare_checkpoints
from converter.inspection.inventory import Entry, take_inventory
from converter.inspection.statistics import measure_tensor
from converter.tensors.selection import is_chosen


class Point(msgspec.Struct, frozen=True):
    """One tensor at one moment of a training.

    Attributes:
        name: The tensor.
        norm: Root of the sum of its squares.
        update: Norm of its change since the moment before, divided by its norm then; ``None`` at
            the first.
        distance: Norm of its change since the first moment, divided by its norm then.
    """

    name: str
    norm: float
    update: float | None
    distance: float | None


class Moment(msgspec.Struct, frozen=True):
    """All tensors at one moment.

    Attributes:
        label: The epoch, step or file.
        points: One for each tensor that training changes.
        warnings: What looked broken, in whole sentences.
    """

    label: str
    points: tuple[Point, ...]
    warnings: tuple[str, ...] = ()


def is_record(path: Path) -> bool:
    """Whether a file is the record of a callback, by its ending."""
    return path.suffix == ".jsonl"


def read_record(path: Path) -> tuple[Moment, ...]:
    """Return what a callback wrote, a line for each moment.

    Raises:
        CorruptFileError: If a line is not one that the callback writes.
    """
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            found.append(msgspec.json.decode(line, type=Moment))
        except msgspec.DecodeError as error:
            raise CorruptFileError(
                f"cannot read '{path.name}': line {number} is no record of a training",
                facts=[("found", str(error))],
            ) from error
    return tuple(found)


def chosen(moments: Iterable[Moment], pattern: str) -> tuple[Moment, ...]:
    """Return the moments with only the tensors whose names a pattern chooses."""
    return tuple(
        Moment(
            moment.label,
            tuple(point for point in moment.points if is_chosen(point.name, pattern)),
            moment.warnings,
        )
        for moment in moments
    )


def measure_series(paths: Sequence[Path]) -> tuple[Moment, ...]:
    """Return the norms and changes of all weights in files, in their order.

    Raises:
        UsageError: If two files have no tensor in common.
        CheckpointError: If one cannot be read.
    """
    return tuple(_moments(paths))


def _moments(paths: Sequence[Path]) -> Iterator[Moment]:
    with ExitStack() as stack:
        first = stack.enter_context(open_checkpoint(paths[0]))
        for number, path in enumerate(paths):
            with ExitStack() as two:
                now = two.enter_context(open_checkpoint(path))
                before = two.enter_context(open_checkpoint(paths[max(0, number - 1)]))
                entries = weights_of(take_inventory(now.manifest))
                updates = _changes(before, now) if number else {}
                distances = _changes(first, now) if number else {}
                points = tuple(_points(now, entries, updates, distances))
            if number and not any(point.update is not None for point in points):
                raise UsageError(
                    f"cannot follow the weights from '{paths[number - 1].name}' to '{path.name}': "
                    "they have no tensor in common"
                )
            yield Moment(path.name, points)


def weights_of(entries: Iterable[Entry]) -> list[Entry]:
    """Return the tensors that training changes by gradients, as far as that is known."""
    return [
        entry for entry in entries if entry.trainable is not False and entry.spec.dtype.is_floating
    ]


def _points(
    checkpoint: Checkpoint,
    entries: Sequence[Entry],
    updates: dict[str, float],
    distances: dict[str, float],
) -> Iterator[Point]:
    for entry in entries:
        name = entry.spec.name
        found = measure_tensor(checkpoint, name)
        if found is not None:
            first = 0.0 if not updates and not distances else None
            yield Point(name, found.norm, updates.get(name), distances.get(name, first))


def _changes(first: Checkpoint, second: Checkpoint) -> dict[str, float]:
    found = compare_checkpoints(first, second)
    return {one.name: one.relative_l2 for one in found.tensors if one.status in ("changed", "same")}
