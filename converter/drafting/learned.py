"""What a first assignment teaches about the two ways of naming, to judge the next one by.

Two things repeat in the names of a model: which form of name stands for which (``conv#_block#_bn``
for ``denseblock#.denselayer#.norm``), and how their numbers hang together (block 3 is block 2).
Both are counted over the pairs of an assignment; a pair that most others contradict stands out.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from converter.mapping.template import skeleton

_RUN = re.compile(r"[0-9]+")
_MAX_LENGTH = 9

Relation = tuple[int, int, int]  # position in Keras' numbers, in PyTorch's, their difference


@dataclass(frozen=True, slots=True)
class Form:
    """A name, taken apart.

    Attributes:
        skeleton: The name with every run of digits as ``#``.
        numbers: The runs.
    """

    skeleton: str
    numbers: tuple[int, ...]


def _total(relations: Mapping[Relation, float]) -> float:
    """Return what numbers that follow every best relation add up to."""
    best: dict[int, float] = {}
    for (_, other, _), share in relations.items():
        best[other] = max(best.get(other, 0.0), share)
    return sum(best.values())


@lru_cache(maxsize=65536)
def form_of(name: str) -> Form:
    """Take a name apart.

    Examples:
        >>> form_of("conv2_block11_0_bn")
        Form(skeleton='conv#_block#_#_bn', numbers=(2, 11, 0))
    """
    return Form(skeleton(name), tuple(int(run[:_MAX_LENGTH]) for run in _RUN.findall(name)))


class Learned:
    """What the pairs of an assignment have in common.

    Args:
        pairs: Keras path and PyTorch module of each.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = [(form_of(keras), form_of(torch)) for keras, torch in pairs]
        self._together = Counter((one.skeleton, two.skeleton) for one, two in self._pairs)
        self._first = Counter(one.skeleton for one, _ in self._pairs)
        self._second = Counter(two.skeleton for _, two in self._pairs)
        self._relations = self._learn()
        self._totals = {key: _total(found) for key, found in self._relations.items()}

    def _learn(self) -> Mapping[tuple[str, str], dict[Relation, float]]:
        """Return, for two skeletons, relations of their numbers with the share that has them."""
        counted: dict[tuple[str, str], Counter[Relation]] = defaultdict(Counter)
        for one, two in self._pairs:
            for place, number in enumerate(one.numbers):
                for other, value in enumerate(two.numbers):
                    key = (one.skeleton, two.skeleton)
                    counted[key][place, other, value - number] += 1
        found: dict[tuple[str, str], dict[Relation, float]] = {}
        for key, counter in counted.items():
            total = self._together[key]
            found[key] = {
                relation: count / total for relation, count in counter.items() if count > 1
            }
        return found

    def form_share(self, keras: str, torch: str) -> float:
        """Return how often these two forms of name stand for each other, from 0 to 1.

        The share is that of the rarer form, so that a form paired with several others by kind
        (bias and kernel of one layer) does not lose.
        """
        one, two = skeleton(keras), skeleton(torch)
        together = self._together[one, two]
        if not together:
            return 0.0
        return together / min(self._first[one], self._second[two])

    def number_share(self, keras: str, torch: str) -> float:
        """Return how well the numbers of two names follow what the other pairs show, 0 to 1."""
        one, two = form_of(keras), form_of(torch)
        key = (one.skeleton, two.skeleton)
        relations, total = self._relations.get(key, {}), self._totals.get(key, 0.0)
        if not total:
            return 0.0
        kept = (
            max(
                relations.get((place, other, value - number), 0.0)
                for place, number in enumerate(one.numbers)
            )
            for other, value in enumerate(two.numbers)
        )
        return sum(kept) / total
