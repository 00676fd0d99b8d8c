"""The two sides of a plan, asked for the tensors of one slot.

A side is a manifest, or nothing: without ``--like`` the target is whatever the source becomes, so
every tensor that a kind can have is possible there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from converter.mapping.claims import claimed, join
from converter.mapping.rules import Pairing
from converter.tensors.dtype import Shape
from converter.tensors.manifest import Family, Manifest
from converter.tensors.spec import TensorSpec


@dataclass(frozen=True, slots=True)
class SlotTensors:
    """The tensors of one slot on one side.

    Attributes:
        names: What they are called there.
        specs: Their specs, or ``None`` where the side is open or one of them is absent.
        absent: Names that the side does not have; empty for an open side.
        is_open: Whether the side has no manifest, so that presence is for the other to decide.
    """

    names: tuple[str, ...]
    specs: tuple[TensorSpec, ...] | None
    absent: tuple[str, ...]
    is_open: bool

    @property
    def shapes(self) -> list[Shape] | None:
        """Their shapes, or ``None`` where they are not known."""
        return None if self.specs is None else [spec.shape for spec in self.specs]

    @property
    def is_present(self) -> bool:
        """Whether all tensors of the slot are there."""
        return bool(self.names) and self.specs is not None

    @property
    def is_absent(self) -> bool:
        """Whether none of them is there."""
        return not self.is_open and len(self.absent) == len(self.names)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a plan.

    Attributes:
        family: Whose names these are.
        manifest: What is there; ``None`` for an open side.
        names: Canonical name to the name in the manifest (prefixes of PyTorch checkpoints).
        label: What messages call this side.
    """

    family: Family
    manifest: Manifest | None
    names: Mapping[str, str] = field(default_factory=dict)
    label: str = ""

    def tensors(self, pairing: Pairing) -> tuple[SlotTensors, ...]:
        """Return the tensors of every slot of a pairing."""
        slots = pairing.kind.slots
        wanted = [slot.keras if self.family == "keras" else slot.torch for slot in slots]
        if self.manifest is None:
            return tuple(
                SlotTensors(
                    tuple(self._open_name(pairing, part) for part in parts), None, (), is_open=True
                )
                for parts in wanted
            )
        claims = claimed(pairing, self.manifest, self.family, self.names)
        return tuple(
            self._found(pairing, parts, found) for parts, found in zip(wanted, claims, strict=True)
        )

    def _found(
        self, pairing: Pairing, parts: tuple[str, ...], found: tuple[str | None, ...]
    ) -> SlotTensors:
        names = tuple(
            self._own(name) if name is not None else self._open_name(pairing, part)
            for name, part in zip(found, parts, strict=True)
        )
        absent = tuple(name for name, one in zip(names, found, strict=True) if one is None)
        specs = None if absent else tuple(self.spec(name) for name in names)
        return SlotTensors(names, specs, absent, is_open=False)

    def spec(self, name: str) -> TensorSpec:
        """Return the spec of a tensor that the manifest has."""
        if self.manifest is None:
            raise KeyError(name)
        return self.manifest[name]

    def _own(self, name: str) -> str:
        """Return the name under which the manifest holds a tensor of several names."""
        return self.manifest.ties.get(name, name) if self.manifest is not None else name

    def _open_name(self, pairing: Pairing, part: str) -> str:
        if self.family == "keras":
            return join(*pairing.place(part), "/")
        canonical = join(pairing.module, part, ".")
        return self.names.get(canonical, canonical)
