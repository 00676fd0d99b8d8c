"""What a draft pairs: Keras layers that own tensors, and the places where PyTorch tensors lie.

Only names, shapes and the order of definition are looked at. A layer that is made of layers
(MultiHeadAttention, Bidirectional) is one unit with its parts below it: it is paired as a whole
where some kind of the catalogue can do so, and otherwise part by part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from converter.mapping.rules import Kind
from converter.tensors.manifest import Manifest
from converter.tensors.spec import LayerSpec, TensorSpec

PART = "#"


@dataclass(frozen=True, slots=True)
class Unit:
    """One Keras layer that owns tensors.

    Attributes:
        layer: The layer.
        tensors: Slot to spec.
        rank: Position among all units, from 0, in the order of the model.
        parts: Units below it that own its tensors, in order; empty for a plain layer.
        part: Which part of a layer it is that other libraries write as two modules, or ``""``.
    """

    layer: LayerSpec
    tensors: Mapping[str, TensorSpec]
    rank: int
    parts: tuple[Unit, ...] = ()
    part: str = ""

    @property
    def path(self) -> str:
        """Path of the layer; of a part, with ``#`` and its name, as no layer is called."""
        return f"{self.layer.path}{PART}{self.part}" if self.part else self.layer.path

    @property
    def names(self) -> frozenset[str]:
        """Names of its tensors."""
        return frozenset(spec.name for spec in self.tensors.values())

    def leaves(self) -> tuple[Unit, ...]:
        """Return the units that are not made of units; the unit itself where it is one."""
        if not self.parts:
            return (self,)
        return tuple(leaf for part in self.parts for leaf in part.leaves())


@dataclass(frozen=True, slots=True)
class Place:
    """A PyTorch module, or a tensor that lies in none of its own, seen from its name.

    Attributes:
        module: Name of the module; ``""`` for the root.
        tensors: Name below the module to spec, for those names that some kind of layer has.
        rank: Position of its first tensor, from 0, in the order of the state dict.
    """

    module: str
    tensors: Mapping[str, TensorSpec]
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Units:
    """Both sides of a draft.

    Attributes:
        keras: Units of the Keras side, outermost first.
        torch: Places of the PyTorch side.
        manifests: Keras' manifest and PyTorch's.
        is_ordered: Whether the order of the PyTorch tensors is that of their definition. A
            safetensors file has an order of its own, which means nothing.
    """

    keras: tuple[Unit, ...]
    torch: tuple[Place, ...]
    manifests: tuple[Manifest, Manifest] = field(repr=False)
    is_ordered: bool = True


def find_units(
    keras: Manifest, torch: Manifest, kinds: Iterable[Kind], *, is_ordered: bool = True
) -> Units:
    """Return what is to be paired.

    Args:
        keras: The Keras side, with its layers.
        torch: The PyTorch side.
        kinds: Every layer kind that may be used.
        is_ordered: See :class:`Units`.
    """
    known = {name for kind in kinds for slot in kind.slots for name in slot.torch}
    return Units(
        _keras_units(keras), _torch_places(torch, known), (keras, torch), is_ordered=is_ordered
    )


def _keras_units(manifest: Manifest) -> tuple[Unit, ...]:
    owning = [layer for layer in manifest.layers if layer.tensors]
    ranks = {layer.path: rank for rank, layer in enumerate(owning)}
    top: list[LayerSpec] = []
    below: dict[str, list[LayerSpec]] = {}
    for layer in owning:
        parent = _nearest(layer, ranks)
        if parent is None:
            top.append(layer)
        else:
            below.setdefault(parent, []).append(layer)
    return tuple(unit for layer in top for unit in _of_layer(layer, below, ranks, manifest))


def _nearest(layer: LayerSpec, owners: Mapping[str, int]) -> str | None:
    """Return the path of the innermost owner around a layer."""
    path = layer.path.rpartition("/")[0]
    while path:
        if path in owners:
            return path
        path = path.rpartition("/")[0]
    return None


def _of_layer(
    layer: LayerSpec,
    below: Mapping[str, list[LayerSpec]],
    ranks: Mapping[str, int],
    manifest: Manifest,
) -> tuple[Unit, ...]:
    """Return the unit of a layer, and those of the layers below whose tensors it does not own."""
    parts = [
        unit
        for part in below.get(layer.path, ())
        for unit in _of_layer(part, below, ranks, manifest)
    ]
    tensors = {slot: manifest[name] for slot, name in layer.tensors.items()}
    names = frozenset(spec.name for spec in tensors.values())
    own = tuple(part for part in parts if part.names <= names)
    # A cell below an LSTM owns the very tensors of the LSTM: one unit, not two.
    if len(own) == 1 and own[0].names == names:
        own = ()
    others = (part for part in parts if not part.names <= names)
    return (Unit(layer, tensors, ranks[layer.path], own), *others)


def _torch_places(manifest: Manifest, known: set[str]) -> tuple[Place, ...]:
    """Return every module below which a name stands that some kind has."""
    found: dict[str, dict[str, TensorSpec]] = {}
    ranks: dict[str, int] = {}
    for rank, spec in enumerate(manifest):
        for module, below in _splits(spec.name):
            if below in known:
                found.setdefault(module, {})[below] = spec
                ranks.setdefault(module, rank)
    return tuple(Place(module, tensors, ranks[module]) for module, tensors in found.items())


def _splits(name: str) -> list[tuple[str, str]]:
    """Return every way to read a name as a module and what is below it.

    Examples:
        >>> _splits("a.b.weight")
        [('', 'a.b.weight'), ('a', 'b.weight'), ('a.b', 'weight'), ('a.b.weight', '')]
    """
    parts = name.split(".")
    return [(".".join(parts[:cut]), ".".join(parts[cut:])) for cut in range(len(parts) + 1)]
