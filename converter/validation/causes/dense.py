"""Why a Dense or an Embedding differs: a transpose, the order of features, rows of a table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from converter.validation.causes.trial import Suspect, Trial

_AXES = "hwdc"


def dense(suspect: Suspect, module: Any) -> Iterator[Trial]:
    """Yield what may be wrong with a Linear."""
    rows, columns = module.weight.shape
    if rows == columns:

        def transposed(copy: Any) -> Any:
            copy.weight.data = copy.weight.data.T.contiguous()
            return copy.forward(*suspect.args)

        yield Trial("square_transpose", transposed)
    shape = suspect.flattened
    if len(shape) < 2:
        return
    names = _AXES[: len(shape) - 1] + "c"
    for order in itertools.permutations(range(len(shape))):
        had = " ".join(names[axis] for axis in order)
        for needs in dict.fromkeys([" ".join(names), " ".join(["c", *names[:-1]])]):
            if had != needs:
                run = _permuted(suspect, shape, order, needs, names)
                yield Trial("flatten_order", run, f"({had}) -> ({needs})")


def _permuted(
    suspect: Suspect, shape: tuple[int, ...], order: tuple[int, ...], needs: str, names: str
) -> Any:
    wanted = [names.index(one) for one in needs.split()]

    def run(copy: Any) -> Any:
        sizes = [shape[axis] for axis in order]
        weight = copy.weight.data.reshape(-1, *sizes)
        moved = weight.permute(0, *(order.index(axis) + 1 for axis in wanted))
        copy.weight.data = moved.reshape(copy.weight.shape).contiguous()
        return copy.forward(*suspect.args)

    return run


def embedding(suspect: Suspect, module: Any) -> Iterator[Trial]:
    """Yield what may be wrong with an Embedding."""
    for by in (1, -1):

        def rolled(copy: Any, by: int = by) -> Any:
            copy.weight.data = copy.weight.data.roll(by, 0)
            return copy.forward(*suspect.args)

        yield Trial("embedding_offset", rolled, f"the table stands {by:+d} rows off")
    row = module.padding_idx
    if row is not None and "weight" in suspect.planned:

        def filled(copy: Any) -> Any:
            import torch

            copy.weight.data[row] = torch.from_numpy(suspect.planned["weight"][row].copy())
            return copy.forward(*suspect.args)

        yield Trial("padding_row", filled)
