"""The data model of a slot: how some tensors of a layer correspond to some of a module."""

from __future__ import annotations

from dataclasses import dataclass

Scalar = bool | int | float | str
BESIDE = "beside/"  # what the slots of a second Keras layer start with
# What one side has and the other computes: made there from nothing, and recognised here.
COMPUTED = frozenset({"count", "frequencies"})


@dataclass(frozen=True, slots=True)
class Slot:
    """How some tensors of a Keras layer correspond to some tensors of a PyTorch module.

    Attributes:
        keras: Slots of the Keras layer, ``()`` where PyTorch alone has the tensor; those of the
            layer beside it start with ``beside/``.
        torch: State-dict names below the module, ``()`` where Keras alone has the tensor.
        pattern: Axis pattern, Keras to PyTorch; ``None`` keeps the axes.
        operation: Name of an operation applied after the pattern, or ``None``: ``sum`` (several
            PyTorch tensors add up to the Keras one), ``difference`` (PyTorch = the first Keras
            tensor less the others), ``constant`` (the side that lacks the tensor
            behaves as if it were ``value``), ``derived`` (made at the target from ``value``),
            ``offset`` (PyTorch = Keras + ``value``), ``scale`` (PyTorch = Keras * ``value``),
            ``rows`` (PyTorch has ``value`` further rows in front), ``shared_row`` (the same, and
            PyTorch adds the one row of its second tensor to every row of the first), ``stack``
            (the PyTorch tensors are the entries of the first axis of what the pattern gives;
            ``{x}`` in their names counts 0, 1, 2, ...: the experts of a layer), ``join_rows`` (the
            pattern moves each Keras tensor, and the results are one below the other; the first
            axis on its right may have another size in each, called ``h1``, ``h2``, ...),
            ``copies`` (the Keras tensors are the same one, and PyTorch has it once), and for a
            tensor of one side that the other computes: ``count`` (0, 1, 2, ... along its last
            axis), ``frequencies`` (of a rotary embedding of base ``value``).
        value: The number that the operation needs, or the name of a size that is this number.
        optional: Whether both sides may lack the tensors together (a bias).
        why: Why one side has no such tensor, one sentence, or ``None``.
    """

    keras: tuple[str, ...]
    torch: tuple[str, ...]
    pattern: str | None = None
    operation: str | None = None
    value: Scalar | None = None
    optional: bool = False
    why: str | None = None

    @property
    def is_computed(self) -> bool:
        """Whether one side computes the tensor; the pattern then has that tensor's axes alone."""
        return self.operation in COMPUTED

    @property
    def may_lack(self) -> bool:
        """Whether a side may lack the tensors and the slot still holds."""
        return self.optional or self.is_computed or self.operation in {"constant", "derived"}

    @property
    def full_pattern(self) -> str | None:
        """The pattern with both of its sides."""
        if self.pattern is None or not self.is_computed:
            return self.pattern
        return f"{self.pattern} -> {self.pattern}"

    @property
    def pattern_targets(self) -> int:
        """How many tensors the right side of the pattern stands for: a stack is one."""
        return 1 if self.operation == "stack" or self.is_computed else len(self.torch)

    @property
    def pattern_sources(self) -> int:
        """How many tensors the left side of the pattern stands for: one where each is moved."""
        return 1 if self.operation == "join_rows" or self.is_computed else len(self.keras)

    @property
    def uneven_axis(self) -> str:
        """The axis of the pattern whose size differs from tensor to tensor; empty without one."""
        if self.operation != "join_rows" or self.pattern is None:
            return ""
        return self.pattern.partition("->")[2].replace("(", " ").split()[0]

    @property
    def uneven_sizes(self) -> tuple[str, ...]:
        """What the sizes of that axis are called, one for each Keras tensor."""
        axis = self.uneven_axis
        return tuple(f"{axis}{number}" for number in range(1, len(self.keras) + 1)) if axis else ()
