"""Which rule of a mapping takes a tensor of this name, and what its counterpart is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from converter.mapping.measured import with_open
from converter.mapping.rules import Kind, Rule
from converter.mapping.rules import Mapping as ArchitectureMapping
from converter.mapping.slots import BESIDE, Slot
from converter.mapping.template import Bindings, Side, Template


@dataclass(frozen=True, slots=True)
class Explanation:
    """One slot of one rule that a tensor's name fits.

    Attributes:
        mapping: Name of the mapping.
        side: Whose name was given.
        rule: The rule.
        kind: Its kind.
        slot: The part of the kind that takes the tensor.
        bindings: What the placeholders stand for.
        layer: Path of the Keras layer.
        module: Name of the PyTorch module; placeholders that only the other side has stay open.
        beside: Path of the second Keras layer, or empty.
    """

    mapping: str
    side: Side
    rule: Rule
    kind: Kind
    slot: Slot
    bindings: Bindings
    layer: str
    module: str
    beside: str = ""

    @property
    def keras_names(self) -> list[str]:
        """The Keras tensors that the slot takes."""
        return [
            f"{self.beside}/{part.removeprefix(BESIDE)}"
            if part.startswith(BESIDE)
            else f"{self.layer}/{part}"
            for part in self.slot.keras
        ]


def explain(
    mapping: ArchitectureMapping, kinds: Mapping[str, Kind], name: str
) -> list[Explanation]:
    """Return every rule that fits a tensor's name; a sound mapping has at most one.

    Args:
        mapping: The mapping to look into.
        kinds: The kinds of the catalogue.
        name: A Keras tensor name (``conv1/kernel``) or a state-dict key (``conv1.weight``),
            without a prefix.
    """
    mapping = with_open(mapping, name)
    found = []
    for rule in mapping.rules:
        kind = kinds[rule.kind]
        for side, text, rest, before in _splits(rule, name):
            bindings = Template.parse(text, mapping.tables, side).match(name[: len(name) - rest])
            if bindings is None:
                continue
            ending = before + name[len(name) - rest :].lstrip("/.")
            for slot in rule.served(kind).slots:
                if _takes(slot, side, ending):
                    layer = _fill(rule.keras, mapping, "keras", bindings)
                    module = _fill(rule.torch, mapping, "torch", bindings)
                    beside = _fill(rule.beside, mapping, "keras", bindings)
                    names = (layer, module, beside)
                    found.append(
                        Explanation(mapping.name, side, rule, kind, slot, bindings, *names)
                    )
    return found


def _splits(rule: Rule, name: str) -> Iterator[tuple[Side, str, int, str]]:
    """Yield side, template of the owner, how many characters of the name are the tensor's.

    And what the kind's slot starts with: that of a second layer with ``beside/``.
    """
    sides: tuple[tuple[Side, str, str, str], ...] = (
        ("keras", rule.keras, "/", ""),
        *((("keras", rule.beside, "/", BESIDE),) if rule.beside else ()),
        ("torch", rule.torch, ".", ""),
    )
    for side, text, mark, before in sides:
        if side == "torch" and not text:
            yield side, text, len(name), before
        positions = [index for index, letter in enumerate(name) if letter == mark]
        yield from ((side, text, len(name) - position, before) for position in positions)


def _takes(slot: Slot, side: Side, ending: str) -> bool:
    """Whether a tensor of this ending is in a slot.

    Keras variables of composite layers have the name of an inner layer in front
    (``lstm_cell/kernel`` in slot ``kernel``).
    """
    if side == "torch":
        return ending in slot.torch
    return any(ending == part or ending.endswith(f"/{part}") for part in slot.keras)


def _fill(text: str, mapping: ArchitectureMapping, side: Side, bindings: Bindings) -> str:
    template = Template.parse(text, mapping.tables, side)
    if template.placeholders <= bindings.keys():
        return template.fill(bindings) or text
    return text
