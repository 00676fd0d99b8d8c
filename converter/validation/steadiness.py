"""Whether a side computes as at inference: the same answer again, whatever is beside a sample.

A module that stays in training mode passes ``eval()`` unnoticed when its code asks for batch
statistics. Two runs of one batch agree all the same; a run in which one sample was exchanged does
not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from converter.tensors.dtype import Array
from converter.validation.compare import compare

Outputs = Mapping[str, Array]
# Relative L2. Batch statistics change outputs by 4e-2 and more; another blocking by 1e-6.
_SAME = 1e-5
_SAME_HALF = 1e-2


def unsteadiness(
    run: Callable[[Mapping[str, Array]], Outputs],
    inputs: Mapping[str, Array],
    outputs: Outputs,
    *,
    side: str,
    is_half: bool = False,
) -> tuple[str, bool]:
    """Return what is wrong, a whole sentence or empty, and whether answers are random.

    Args:
        run: Runs the side on inputs.
        inputs: Inputs by name, the batch first.
        outputs: What it gave for them.
        side: What messages call it.
        is_half: Whether it computes with 16 bits.
    """
    others = other_mates(inputs)
    again = run(others if others is not None else inputs)
    kept = _batch(inputs) - 1 if others is not None else None
    limit = _SAME_HALF if is_half else _SAME
    differing = [name for name in outputs if _differs(outputs[name], again.get(name), kept, limit)]
    if not differing:
        return "", False
    repeated = run(inputs)
    if any(_differs(outputs[name], repeated.get(name), None, limit) for name in differing):
        return f"{side} gives another answer each time: something random is left in it.", True
    sentence = (
        f"{side} gives another answer for a sample when another one is beside it "
        f"(output '{differing[0]}'): it computes with statistics of the batch, as in training."
    )
    return sentence, False


def other_mates(inputs: Mapping[str, Array]) -> dict[str, Array] | None:
    """Return the inputs with the first sample in the place of the last; ``None`` for one sample."""
    batch = _batch(inputs)
    if batch < 2:
        return None
    return {name: np.concatenate([array[: batch - 1], array[:1]]) for name, array in inputs.items()}


def _batch(inputs: Mapping[str, Array]) -> int:
    sizes = {array.shape[0] for array in inputs.values() if array.ndim}
    return sizes.pop() if len(sizes) == 1 else 0


def _differs(one: Array, other: Array | None, kept: int | None, limit: float) -> bool:
    if other is None or one.shape != other.shape:
        return True
    if kept is not None:
        if not one.ndim or one.shape[0] != kept + 1:
            return False  # not one row for each sample
        # CLIP gives a number for each pair of samples: those of the exchanged one differ.
        place = tuple(slice(kept) if size == kept + 1 else slice(None) for size in one.shape)
        one, other = one[place], other[place]
    gap = compare(other, one)
    return bool(gap.mismatched) or gap.relative_l2 > limit
