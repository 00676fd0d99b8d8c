"""What nothing is paired with, and whether both models show that nothing has to be.

A tensor whose values change no output may be dropped, and so may a buffer that training leaves as
the module made it: the frequencies of an embedding are no weights. Everything else is left over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from converter.drafting.random_values import random_values
from converter.live.torch_module import TorchModuleCheckpoint, from_array
from converter.tensors.dtype import Array

UNUSED = "no output depends on it: those of both models agree whatever its values"
CONSTANT = (
    "made by the module itself, and training does not change it: outputs agree with its value"
)


def constants(
    module: Any, names: Iterable[str], given: tuple[Sequence[Array], Mapping[str, Array]]
) -> frozenset[str]:
    """Return those of some tensors that are buffers which a run in training leaves alone.

    Args:
        module: A live ``torch.nn.Module``; running statistics of it change.
        names: Tensors of its manifest.
        given: What it takes, positional and named.
    """
    import torch

    view = TorchModuleCheckpoint(module)
    trained = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    before = {name: view.read(name).copy() for name in names if view.keys[name] not in trained}
    if not before:
        return frozenset()
    modes = [(one, one.training) for one in module.modules()]
    try:
        module.train()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):  # dropout draws from the user's
            module(
                *(_tensor(one) for one in given[0]),
                **{name: _tensor(one) for name, one in given[1].items()},
            )
    except Exception:  # foreign code: what cannot be run in training tells nothing
        return frozenset()
    finally:
        for one, mode in modes:
            one.training = mode
    return frozenset(
        name for name, value in before.items() if np.array_equal(view.read(name), value)
    )


def values_of_others(module: Any, names: Iterable[str], kept: Iterable[str], seed: int) -> Any:
    """Return random values for tensors that are left over, but for those whose own are kept."""
    view = TorchModuleCheckpoint(module)
    kept = set(kept)
    own = {name: view.read(name).copy() for name in names if name in kept}
    others = [view.manifest[name] for name in names if name not in kept]
    return random_values(others, seed) | own


def _tensor(array: Array) -> Any:
    import torch

    tensor = from_array(array).clone()
    return tensor if tensor.is_floating_point() or tensor.dtype == torch.bool else tensor.long()
