"""The verbs that look at weights and change them: measure, compare, load, edit, average.

A *source* is what :mod:`converter.api` takes: a path, an open checkpoint, a live model or module, a
state dict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from converter import api
from converter.errors import UsageError
from converter.execution.converted import ConvertedCheckpoint
from converter.formats.base import Checkpoint
from converter.inspection.difference import Comparison, compare_checkpoints
from converter.inspection.inventory import take_inventory
from converter.inspection.statistics import Statistics, measure_tensor
from converter.tensors.selection import is_chosen

if TYPE_CHECKING:
    from converter.mapping.rules import Mapping


def statistics(source: object, *, only: str = "**") -> dict[str, Statistics]:
    """Return the statistics of each tensor that holds plain numbers.

    Args:
        source: What to read, see the module.
        only: A pattern of names, such as ``"encoder/**"``.

    Raises:
        CheckpointError: If the source cannot be read.
    """
    found = {}
    with _opened(source) as checkpoint:
        for entry in take_inventory(checkpoint.manifest):
            name = entry.spec.name
            if is_chosen(name, only):
                one = measure_tensor(checkpoint, name, entry.unit_axis)
                if one is not None:
                    found[name] = one
    return found


def diff(
    first: object,
    second: object,
    *,
    mapping: Mapping | str | None = None,
    only: str | None = None,
    ignore: str | None = None,
) -> Comparison:
    """Say which tensors of two checkpoints are the same, and how far apart the others are.

    Where one is a Keras and the other a PyTorch checkpoint, the first is converted in memory,
    tensor by tensor, and names are those of the second.

    Args:
        first: The reference; see the module.
        second: The other.
        mapping: Between families: as in :func:`converter.plan`.
        only: A pattern of the names that count; all by default.
        ignore: A pattern of names that do not count.

    Raises:
        PlanError: If the checkpoints are of different families and do not fit together.
        UsageError: If ``only`` chooses no tensor.
    """

    def chosen(name: str) -> bool:
        wanted = only is None or is_chosen(name, only)
        return wanted and not (ignore is not None and is_chosen(name, ignore))

    with ExitStack() as stack:
        one = stack.enter_context(_opened(first))
        two = stack.enter_context(_opened(second))
        families = {one.manifest.family, two.manifest.family} - {None}
        if len(families) == 2:
            one = ConvertedCheckpoint(api.plan(one, like=two, mapping=mapping))
        found = compare_checkpoints(one, two, chosen)
    if not found.tensors:
        raise UsageError(f"cannot compare: no tensor is chosen by '{only or ignore}'")
    return found


def load(model: Any, source: object, *, mapping: Mapping | str | None = None) -> None:
    """Put the weights of a checkpoint into a live model, whichever framework wrote them.

    Args:
        model: A built Keras model or a ``torch.nn.Module``; changed in place, and only when
            everything fits.
        source: What to read, see the module.
        mapping: As in :func:`converter.plan`.

    Raises:
        UsageError: If ``model`` is nothing that can be filled.
        PlanError: If the weights are not those of the model.
    """
    target = api.open(model)
    fill: Callable[[Any], None] | None = getattr(target, "load", None)
    if fill is None:
        raise UsageError(f"cannot load into a {type(model).__name__}: it is no model or module")
    with _opened(source) as checkpoint:
        conversion = api.plan(checkpoint, like=target, mapping=mapping)
        fill(conversion.arrays())


@contextmanager
def _opened(source: object) -> Iterator[Checkpoint]:
    """Open a source for a while; one that the caller opened is left open at the end."""
    checkpoint = api.open(source)
    try:
        yield checkpoint
    finally:
        if checkpoint is not source:
            checkpoint.close()
