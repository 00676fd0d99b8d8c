"""A plan: what a conversion will do, decided from names, shapes and dtypes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from converter.algebra.base import Law, Operation
from converter.tensors.manifest import Family, Manifest


@dataclass(frozen=True, slots=True)
class Step:
    """One read, apply, write.

    Attributes:
        sources: Tensors of the source, in the order the operation takes them; ``()`` for a value
            made at the target.
        targets: Tensors of the target, in the order the operation gives them; ``()`` for a value
            that is only checked.
        operation: From sources to targets.
        rule: The rule it comes from, as written.
        layer: Path of the Keras layer.
        module: Name of the PyTorch module.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    operation: Operation
    rule: str
    layer: str
    module: str

    @property
    def law(self) -> Law:
        """What survives this step and its inverse."""
        return self.operation.law


@dataclass(frozen=True, slots=True)
class Dropped:
    """A source tensor that is not transferred, with the reason."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Every step from one manifest to another.

    Attributes:
        source: Manifest of the source.
        target: Manifest of the target, complete, in the order of the target.
        to: The family of the target.
        mapping: Name of the mapping.
        steps: In the order of the target. Every target tensor is written by exactly one of them.
        dropped: Source tensors that no step takes.
        assumptions: What equal weights need and files cannot show, as whole sentences.
        ties: Further target name to target name that is written with the same value.
        kept: Target tensors that keep the value of what the target is like.
        notes: What else was decided, as whole sentences.
    """

    source: Manifest
    target: Manifest
    to: Family
    mapping: str
    steps: tuple[Step, ...]
    dropped: tuple[Dropped, ...] = ()
    assumptions: tuple[str, ...] = ()
    ties: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def law(self) -> Law:
        """The weakest law of all steps."""
        return Law.weakest([step.law for step in self.steps])
