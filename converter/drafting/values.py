"""The strongest evidence: both sides hold the same values, so who is who is a matter of fact.

A tensor is recognised by a sum over its values that no layout changes; several
tensors that are one on the other side are put together before that. Tensors whose values are all
alike (zeros, ones) prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from converter.drafting.candidates import Candidate
from converter.drafting.flow import mixed
from converter.formats.base import Checkpoint
from converter.tensors.dtype import Array

_FEW = 4  # as many different values as a tensor must have to be told apart by them
_SAMPLE = 1024


@dataclass(slots=True)
class Fingerprints:
    """Recognises tensors of a checkpoint by their values.

    Attributes:
        checkpoint: Where the values are read.
    """

    checkpoint: Checkpoint
    _known: dict[tuple[str, ...], str | None] = field(default_factory=dict)

    def of(self, names: Iterable[str]) -> str | None:
        """Return what tells the values of some tensors together; ``None`` where nothing does."""
        key = tuple(sorted(names))
        if key not in self._known:
            arrays = [self.checkpoint.read(name) for name in key]
            self._known[key] = fingerprint(arrays)
            for name in key:
                self.checkpoint.release(name)
        return self._known[key]


def fingerprint(arrays: Iterable[Array]) -> str | None:
    """Return a text that is equal for equal values in any order; ``None`` where they say nothing.

    Examples:
        >>> one = np.arange(6.0, dtype="float32").reshape(2, 3)
        >>> fingerprint([one]) == fingerprint([one.T]), fingerprint([np.zeros(5)])
        (True, None)
    """
    # Adding zero makes one zero of the two; a sum of mixed bits does not see the order.
    flat = [np.asarray(array).reshape(-1).astype(np.float64) + 0.0 for array in arrays]
    values = np.concatenate(flat) if flat else np.zeros(0)
    if not _are_different(values[:_SAMPLE]) and not _are_different(values):
        return None
    with np.errstate(over="ignore"):
        total = int(np.sum(mixed(values.view(np.uint64)), dtype=np.uint64))
    return f"{values.size}:{total}"


def _are_different(values: Array) -> bool:
    return np.unique(values).size >= _FEW


def share_values(
    candidates: Iterable[Candidate], keras: Fingerprints, torch: Fingerprints
) -> Mapping[int, bool]:
    """Return, for each candidate by its position, whether its values agree slot by slot.

    Candidates whose values say nothing are left out; where no values agree at all, the sides hold
    different weights, and there is nothing to say.
    """
    found: dict[int, bool] = {}
    for position, one in enumerate(candidates):
        agree = _agree(one, keras, torch)
        if agree is not None:
            found[position] = agree
    return found if any(found.values()) else {}


def _agree(one: Candidate, keras: Fingerprints, torch: Fingerprints) -> bool | None:
    told: bool | None = None
    for slot in one.kind.slots:
        if slot.operation is not None:
            continue  # arithmetic changes values
        first = [one.unit.tensors[name].name for name in slot.keras if name in one.unit.tensors]
        second = [one.place.tensors[name].name for name in slot.torch if name in one.place.tensors]
        if not first or not second:
            continue
        ours, theirs = keras.of(first), torch.of(second)
        if ours is None or theirs is None:
            continue
        if ours != theirs:
            return False
        told = True
    return told
