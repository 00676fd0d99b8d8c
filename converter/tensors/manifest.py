"""The ordered specs of one checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from converter.tensors.spec import LayerSpec, TensorSpec

Family = Literal["keras", "torch"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a checkpoint says about its tensors before any value is read.

    Attributes:
        tensors: Name to spec, in the order of the model where it is known.
        family: Whose names and layouts these are; ``None`` where nothing says so.
        layers: Keras layers in the order of the model, parents before children; empty for
            PyTorch.
        ties: Further name to the name in ``tensors`` that holds the same value.
        metadata: Texts that the checkpoint carries.
        notices: What is unusual about the checkpoint, as whole sentences.
        writer: Which program wrote it, with its version, as far as that can be told.
    """

    tensors: Mapping[str, TensorSpec]
    family: Family | None = None
    layers: tuple[LayerSpec, ...] = ()
    ties: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    writer: str | None = None

    @classmethod
    def of(
        cls,
        specs: Iterable[TensorSpec],
        *,
        family: Family | None = None,
        layers: Iterable[LayerSpec] = (),
        ties: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        notices: Iterable[str] = (),
        writer: str | None = None,
    ) -> Manifest:
        """Build a manifest from specs.

        Raises:
            ValueError: If two specs have one name, or a layer owns a tensor that is not there.
        """
        tensors: dict[str, TensorSpec] = {}
        for spec in specs:
            if spec.name in tensors:
                raise ValueError(f"two tensors are named {spec.name!r}")
            tensors[spec.name] = spec
        layers = tuple(layers)
        for layer in layers:
            for name in layer.tensors.values():
                if name not in tensors:
                    raise ValueError(f"layer {layer.path!r} owns {name!r}, which is not there")
        return cls(
            MappingProxyType(tensors),
            family,
            layers,
            MappingProxyType(dict(ties or {})),
            MappingProxyType(dict(metadata or {})),
            tuple(notices),
            writer,
        )

    def of_family(self, family: Family) -> Manifest:
        """Return the same manifest, said to be of this family."""
        return replace(self, family=family)

    @property
    def nbytes(self) -> int:
        """Size of all values, in bytes."""
        return sum(spec.nbytes for spec in self.tensors.values())

    def __iter__(self) -> Iterator[TensorSpec]:
        return iter(self.tensors.values())

    def __len__(self) -> int:
        return len(self.tensors)

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __getitem__(self, name: str) -> TensorSpec:
        return self.tensors[name]
