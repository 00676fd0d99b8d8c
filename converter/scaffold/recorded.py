"""Compare a written module with outputs that somebody recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import UsageError
from converter.scaffold.scope import Order, channels_first, channels_last
from converter.tensors.dtype import Array
from converter.validation.judging import judge_output
from converter.validation.noise import TYPICAL_FLOOR, noise_floor
from converter.validation.report import Report
from converter.validation.running import run_torch


def compare_recorded(
    module: Any, inputs: Path, outputs: Path, orders: tuple[Sequence[Order], Sequence[Order]]
) -> dict[str, Any]:
    """Return the comparison as ``validate --json`` prints it.

    Args:
        module: The filled module.
        inputs: A ``.npz`` file of inputs in Keras' order of axes, in the order of the model.
        outputs: A ``.npz`` file of the outputs that Keras gave, likewise.
        orders: In which order the module takes and gives the axes of each.

    Raises:
        UsageError: If the numbers of arrays do not fit the module.
    """
    given, wanted = _arrays(inputs), _arrays(outputs)
    for what, arrays, order in (("inputs", given, orders[0]), ("outputs", wanted, orders[1])):
        if len(arrays) != len(order):
            raise UsageError(
                f"cannot compare recorded {what}: the file has {len(arrays)} arrays, the model "
                f"{len(order)}"
            )
    taken = [
        _moved(array, order, to_torch=True)
        for array, order in zip(given.values(), orders[0], strict=True)
    ]
    found = run_torch(module, taken, {})
    floors = noise_floor(module, taken, {}, found)
    rows = [
        judge_output(
            name,
            other,
            array,
            _moved(made, order, to_torch=False),
            floors.get(other, TYPICAL_FLOOR) if isinstance(floors, dict) else TYPICAL_FLOOR,
        )
        for (name, array), (other, made), order in zip(
            wanted.items(), found.items(), orders[1], strict=True
        )
    ]
    return Report("outputs", tuple(rows), len(rows)).to_json()


def _arrays(path: Path) -> Mapping[str, Array]:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _moved(array: Array, order: Order, *, to_torch: bool) -> Array:
    if order != "first" or array.ndim < 3:
        return array
    axes = channels_first(array.ndim) if to_torch else channels_last(array.ndim)
    return np.ascontiguousarray(array.transpose(axes))
