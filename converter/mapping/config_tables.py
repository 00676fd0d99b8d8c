"""The part of a mapping that says which configuration entries of both sides mean the same.

A table is about one Keras class and one class of transformers. Each of its rows pairs an entry of
the Keras config with one of ``config.json``, and is read in both directions; what only one side can
say is held to the one value that the other side computes with. A row is no formula: a value is the
same on both sides, or a whole number that differs by a fixed factor or summand, or the table does
not serve that model.
"""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """One value that both sides have. Entries inside others are written with dots.

    Attributes:
        keras: Entry of the Keras config.
        torch: Entry of ``config.json``.
        other: Where else ``config.json`` may have it, in the order of looking.
        copies: Further entries of ``config.json`` that are written with the same value.
        absent: What transformers takes where it is nowhere, or ``None``.
        like: The entry whose value it takes then, or empty.
        axis: PyTorch tensor and axis that show it then, or ``None``.
        holds: Condition of the mapping that decides it where it is nowhere, or ``not`` and one; the
            Keras config need not have it either.
        null: Whether null is a value of both, and what is nowhere is null.
        equal: Further entries of ``config.json`` that are written with the same value, and refused
            with another one.
        times: Keras counts so many times what transformers counts.
        plus: And so many more.
    """

    keras: str
    torch: str
    other: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    absent: bool | int | float | str | None = None
    like: str = ""
    axis: tuple[str, int] | None = None
    holds: str = ""
    null: bool = False
    equal: tuple[str, ...] = ()
    times: int = 1
    plus: int = 0

    @property
    def is_counted_alike(self) -> bool:
        """Whether a number is the same on both sides."""
        return (self.times, self.plus) == (1, 0)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Values that one side may have although the other computes with another one.

    Attributes:
        values: The values.
        why: What that does to the outputs, one sentence.
    """

    values: tuple[Any, ...]
    why: str


@dataclass(frozen=True, slots=True)
class ConfigTable:
    """The configurations of one Keras class and one class of transformers.

    Attributes:
        keras: What builds the Keras model from its entries: ``keras_hub.models:BertBackbone``.
        architecture: The class of transformers that the files are of.
        tasks: Keras classes around it that add no weights, such as ``BertCausalLM``: their config
            has that of the class under ``backbone``.
        model_type: What ``config.json`` calls the family.
        prefix: What the names in its files have before those of the mapping.
        apart: Modules whose names do not have it, such as a head.
        rows: What both sides have.
        keras_only: Entries that Keras alone has, to the value that transformers computes with.
        torch_only: Entries of ``config.json`` that have no counterpart, to the value that Keras
            computes with; they are written.
        expected: The same, but not written.
        cycles: Entries of ``config.json`` that list something for each layer, to what is repeated;
            they are not written, as transformers makes the same list.
        keras_unset: Entries of Keras that must be null or absent; the model is built with null.
        torch_unset: Entries of ``config.json`` that must be.
        accepted: Entries of ``torch_only`` and ``expected`` to values that are read all the same.
        ignored: Entries of Keras that no output depends on.
        unfilled: Modules of the class of transformers that Keras has not, to why that may be; a
            folder is without them, and transformers begins them at random.
    """

    keras: str
    architecture: str
    model_type: str
    tasks: tuple[str, ...] = ()
    prefix: str = ""
    apart: tuple[str, ...] = ()
    rows: tuple[ConfigRow, ...] = ()
    keras_only: Dict[str, Any] = field(default_factory=dict)
    torch_only: Dict[str, Any] = field(default_factory=dict)
    expected: Dict[str, Any] = field(default_factory=dict)
    cycles: Dict[str, tuple[Any, ...]] = field(default_factory=dict)
    keras_unset: tuple[str, ...] = ()
    torch_unset: tuple[str, ...] = ()
    accepted: Dict[str, Accepted] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    unfilled: Dict[str, str] = field(default_factory=dict)

    @property
    def keras_class(self) -> str:
        """The Keras class alone."""
        return self.keras.rpartition(":")[2]

    def name_in_file(self, name: str) -> str:
        """Return what a tensor of the mapping is called in a file of this class.

        Examples:
            >>> table = ConfigTable("a:B", "C", "c", prefix="model.", apart=("lm_head",))
            >>> table.name_in_file("norm.weight"), table.name_in_file("lm_head.weight")
            ('model.norm.weight', 'lm_head.weight')
        """
        is_apart = any(name == one or name.startswith(f"{one}.") for one in self.apart)
        return name if is_apart else self.prefix + name
