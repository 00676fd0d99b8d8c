"""Measure drafts against the truth: names as they are, and names that mean nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from support.drafting_pairs import Pair
from torch import nn

import converter

_LETTERS = list("bcdfghjklmnpqrstvwxz")


def scrambled(module: nn.Module, seed: int = 0) -> tuple[nn.Module, dict[str, str]]:
    """Give every submodule a name that means nothing; return also old names to new ones.

    The order of definition stays, and so do the numbers of lists, which mean nothing already. The
    module finds its parts under their old names, as attributes that are no submodules.
    """
    draw = np.random.default_rng(seed)
    new = {"": ""}
    for path, parent in list(module.named_modules()):
        is_list = isinstance(parent, nn.ModuleList | nn.Sequential)
        is_bare = type(parent) is nn.Module  # what torch.fx puts modules into
        # Parts of PyTorch's own layers (out_proj of attention) are no names that anybody chose.
        if type(parent).__module__.startswith("torch.nn.") and not (is_list or is_bare):
            continue
        renamed: dict[str, nn.Module | None] = {}
        for name, child in parent._modules.items():  # also those that are None
            word = name if is_list else "".join(draw.choice(_LETTERS, 5, replace=False))
            parent.__dict__[name] = child
            renamed[word] = child
            new[f"{path}.{name}" if path else name] = f"{new[path]}.{word}" if path else word
        parent._modules = renamed
    return module, new


@dataclass(frozen=True)
class Measured:
    """One draft of a pair.

    Attributes:
        right: Layers that have the module they should have.
        layers: All layers.
        is_proved: Whether the draft says so.
    """

    right: int
    layers: int
    is_proved: bool

    @property
    def is_right(self) -> bool:
        return self.right == self.layers


def measure(pair: Pair, *, named: bool, run: bool) -> Measured:
    """Draft a pair anew, and count what is right."""
    import keras

    keras.backend.clear_session()
    torch.manual_seed(0)
    module: Any = pair.torch()
    names = {name: name for name, _ in module.named_modules()}
    if not named:
        module, names = scrambled(module)
    proposal = converter.draft(pair.keras(), module, prove=run)
    found = {one.candidate.unit.path: one.candidate.place.module for one in proposal.draft.pairs}
    truth = {layer: names[name] for layer, name in pair.truth.items()}
    right = sum(found.get(layer) == name for layer, name in truth.items())
    return Measured(right, len(truth), proposal.is_proved)
