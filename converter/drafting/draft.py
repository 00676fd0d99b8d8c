"""A proposed mapping: its rows, what speaks for each of them, and everything that is left over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from converter.drafting.assignment import Pair
from converter.drafting.certainty import Certainty
from converter.drafting.leftovers import CONSTANT, UNUSED
from converter.drafting.numbering import Row
from converter.drafting.writing import Heading, compose, spell
from converter.mapping.document import parse_mapping
from converter.mapping.rules import Mapping, ModelValue


@dataclass(frozen=True, slots=True)
class DraftedRule:
    """One row of a draft and what speaks for it.

    Attributes:
        kind: Layer kind.
        keras: Left column.
        torch: Right column.
        count: Number of pairs that it stands for.
        certainty: How sure it is, by its least certain pair.
        why: What speaks for it, a few words.
        rivals: Modules that the least certain pair could have instead.
    """

    kind: str
    keras: str
    torch: str
    count: int
    certainty: Certainty
    why: str
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leftover:
    """A layer without a module, or a tensor that no layer takes.

    Attributes:
        name: The layer's path, or the tensor's name.
        shapes: What it holds.
        tensors: Names of its tensors.
        nearest: Layers, or modules, that are left over on the other side, the likest name first.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    tensors: tuple[str, ...]
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A proposed mapping.

    Attributes:
        rows: The rows of the mapping.
        heading: What stands around them in the file.
        rules: The rows as written, with their evidence.
        pairs: What is paired.
        layers: Keras layers without a module.
        tensors: PyTorch tensors that nothing takes.
        candidates: How many pairings kinds and shapes allow.
    """

    rows: tuple[Row, ...] = field(repr=False)
    heading: Heading = field(repr=False)
    rules: tuple[DraftedRule, ...]
    pairs: tuple[Pair, ...] = field(repr=False)
    layers: tuple[Leftover, ...] = ()
    tensors: tuple[Leftover, ...] = ()
    candidates: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether every tensor of both sides is accounted for."""
        return not self.layers and not self.tensors

    @property
    def left_over(self) -> int:
        """How many layers and tensors are not accounted for."""
        return len(self.layers) + len(self.tensors)

    def dropping(self, kept: Collection[str]) -> Draft:
        """Return the draft that drops everything left over.

        Args:
            kept: Buffers that training does not change.
        """
        drops = [("keras", name) for one in self.layers for name in one.tensors]
        drops += [("torch", name) for one in self.tensors for name in one.tensors]
        said = [(side, name, CONSTANT if name in kept else UNUSED) for side, name in drops]
        heading = replace(self.heading, drops=said, leftovers=())
        return replace(self, heading=heading, layers=(), tensors=())

    @property
    def text(self) -> str:
        """The mapping file."""
        notes = [_note(rule) for rule in self.rules]
        return compose(self.rows, spell(self.rows), self.heading, notes)

    @property
    def mapping(self) -> Mapping:
        """The mapping file, read."""
        return parse_mapping(self.text)

    def named(self, name: str) -> Draft:
        """Return the draft under another name."""
        return replace(self, heading=replace(self.heading, name=name))

    def commented(self, lines: Sequence[str]) -> Draft:
        """Return the draft with other comments at the top of its file."""
        return replace(self, heading=replace(self.heading, comments=tuple(lines)))

    def running(self, inputs: Sequence[ModelValue], outputs: Sequence[ModelValue]) -> Draft:
        """Return the draft whose file says what both sides take and give."""
        heading = replace(self.heading, inputs=tuple(inputs), outputs=tuple(outputs))
        return replace(self, heading=heading)

    def certain(self, certainty: Certainty, why: str) -> Draft:
        """Return the draft with one certainty for all rules."""
        rules = tuple(replace(rule, certainty=certainty, why=why, rivals=()) for rule in self.rules)
        return replace(self, rules=rules)


def _note(rule: DraftedRule) -> str:
    text = f"{rule.certainty.label}: {rule.why}"
    if rule.rivals:
        shown = ", ".join(rule.rivals[:3])
        text += f"; or {shown}" + (
            f" and {len(rule.rivals) - 3} more" if len(rule.rivals) > 3 else ""
        )
    return text
