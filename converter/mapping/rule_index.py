"""All templates of a mapping, read once, and which of them a name can fit at all.

Names are looked up by their skeleton (every run of digits as one mark), so the cost of expanding a
mapping grows with the number of tensors and not with tensors times rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from converter.mapping.rules import Mapping as ArchitectureMapping
from converter.mapping.rules import Rule
from converter.mapping.template import Bindings, Side, Template, skeleton

SEPARATORS: Mapping[Side, str] = {"keras": "/", "torch": "."}


@dataclass(frozen=True, slots=True)
class ReadRule:
    """A rule with its templates.

    Attributes:
        rule: The rule.
        keras: Its Keras column.
        torch: Its PyTorch column.
        beside: The second Keras layer, or ``None``.
    """

    rule: Rule
    keras: Template
    torch: Template
    beside: Template | None = None

    def on(self, side: Side) -> Template:
        """Return the column of one side."""
        return self.keras if side == "keras" else self.torch

    @property
    def open_placeholders(self) -> frozenset[str]:
        """Placeholders that PyTorch names do not show."""
        return self.keras.placeholders - self.torch.placeholders


class RuleIndex:
    """The rules of a mapping, found by name.

    Attributes:
        rules: With their templates, in the order of the file.
    """

    def __init__(self, mapping: ArchitectureMapping, rules: Iterable[Rule] | None = None) -> None:
        self.rules = tuple(
            ReadRule(
                rule,
                Template.parse(rule.keras, mapping.tables, "keras"),
                Template.parse(rule.torch, mapping.tables, "torch"),
                Template.parse(rule.beside, mapping.tables, "keras") if rule.beside else None,
            )
            for rule in (mapping.rules if rules is None else rules)
        )
        self._by_skeleton: dict[Side, dict[str, list[ReadRule]]] = {"keras": {}, "torch": {}}
        self._always: dict[Side, list[ReadRule]] = {"keras": [], "torch": []}
        sides: tuple[Side, Side] = ("keras", "torch")
        for one in self.rules:
            for side in sides:
                self._enter(one, side)

    def _enter(self, one: ReadRule, side: Side) -> None:
        skeletons = one.on(side).skeletons()
        if skeletons is None:
            self._always[side].append(one)
            return
        for text in skeletons:
            self._by_skeleton[side].setdefault(text, []).append(one)

    def find(self, name: str, side: Side) -> Iterator[tuple[ReadRule, Bindings]]:
        """Yield every rule whose column of this side matches a name, with its bindings."""
        candidates = self._by_skeleton[side].get(skeleton(name), ())
        for one in (*candidates, *self._always[side]):
            bindings = one.on(side).match(name)
            if bindings is not None:
                yield one, bindings

    def knows(self, name: str, side: Side) -> bool:
        """Whether a rule could be about this name, judged by its skeleton alone."""
        return bool(self._always[side]) or skeleton(name) in self._by_skeleton[side]

    def count_known(self, names: Iterable[str], side: Side) -> int:
        """Return how many of these tensors a rule could be about, judged by skeletons alone.

        The model itself, whose name is empty, is the owner of all of them, and tells nothing.
        """
        separator = SEPARATORS[side]
        return sum(
            count
            for shape, count in Counter(map(skeleton, names)).items()
            if any(owner and self.knows(owner, side) for owner in owners(shape, separator))
        )


def owners(name: str, separator: str) -> Iterator[str]:
    """Yield everything that contains a tensor of this name, from the outside in.

    Examples:
        >>> list(owners("features.0.weight", "."))
        ['', 'features', 'features.0', 'features.0.weight']
    """
    yield ""
    position = name.find(separator)
    while position >= 0:
        yield name[:position]
        position = name.find(separator, position + 1)
    yield name
