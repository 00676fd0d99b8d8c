"""Layers of Keras that are one module of PyTorch together: query, key and value in one Linear.

The kinds of the catalogue say which layers, by what they are called below the layer around them.
Whether they really are one module is a hypothesis about every place of that form at once; it is
taken where it leaves fewer tensors of both sides without a partner.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from converter.drafting.units import Unit, Units
from converter.mapping.claims import join, layer_index
from converter.mapping.rules import Kind
from converter.mapping.slots import BESIDE
from converter.mapping.template import skeleton
from converter.tensors.manifest import Manifest
from converter.tensors.spec import LayerSpec, TensorSpec


@dataclass(frozen=True, slots=True)
class Fusion:
    """A hypothesis: these layers are one module each, wherever they stand.

    Attributes:
        units: One for each place, made of the tensors of several layers.
    """

    units: tuple[Unit, ...]

    @property
    def names(self) -> frozenset[str]:
        """All tensors that it is about."""
        return frozenset().union(*(unit.names for unit in self.units))


def find_fusions(units: Units, kinds: Iterable[Kind]) -> tuple[Fusion, ...]:
    """Return every fusion that the catalogue knows of and the names of the Keras side allow.

    Args:
        units: Both sides.
        kinds: Every layer kind that may be used.
    """
    keras = units.manifests[0]
    leaves = {name: leaf for unit in units.keras for leaf in unit.leaves() for name in leaf.names}
    known = {unit.names for unit in units.keras}
    found: dict[tuple[str, tuple[str, ...]], dict[frozenset[str], Unit]] = {}
    several = [kind for kind in kinds if _is_of_several(kind)]
    for path in _places(keras):
        for kind in several:
            tensors = _tensors(kind, path, keras)
            names = frozenset(spec.name for spec in tensors.values())
            if names in known or not _is_whole(names, leaves):
                continue
            unit = _unit(path, tensors, leaves, keras)
            found.setdefault((skeleton(path), tuple(tensors)), {}).setdefault(names, unit)
    return tuple(Fusion(tuple(members.values())) for members in found.values())


def without(unit: Unit, names: frozenset[str]) -> Iterator[Unit]:
    """Yield what is left of a unit when some tensors belong to others."""
    if not unit.names & names:
        yield unit
    else:
        for part in unit.parts:
            yield from without(part, names)


def _is_of_several(kind: Kind) -> bool:
    return any("/" in name for slot in kind.slots for name in slot.keras) and not any(
        name.startswith(BESIDE) for slot in kind.slots for name in slot.keras
    )


def _places(manifest: Manifest) -> Iterable[str]:
    """Return the path of everything that contains tensors, the model itself included."""
    paths = {"": None}
    for name in (*manifest.tensors, *(layer.path for layer in manifest.layers)):
        parts = name.split("/")
        paths.update(("/".join(parts[:end]), None) for end in range(1, len(parts)))
        if name not in manifest.tensors:
            paths[name] = None
    return paths


def _tensors(kind: Kind, path: str, manifest: Manifest) -> Mapping[str, TensorSpec]:
    """Return what a kind takes at a path, by slot; nothing where it lacks something."""
    layer = layer_index(manifest).get(path)
    own = layer.tensors if layer is not None else {}
    found: dict[str, TensorSpec] = {}
    for slot in kind.slots:
        names = [own.get(name) or join(path, name, "/") for name in slot.keras]
        present = [name for name in names if name in manifest.tensors]
        if len(present) < len(names) and (present or not slot.may_lack):
            return {}
        if present:
            found |= {part: manifest[name] for part, name in zip(slot.keras, present, strict=True)}
    return found


def _is_whole(names: frozenset[str], leaves: Mapping[str, Unit]) -> bool:
    """Whether tensors are all those of several layers."""
    owners = {leaves[name].path: leaves[name] for name in names if name in leaves}
    whole = frozenset().union(*(one.names for one in owners.values()))
    return len(owners) > 1 and whole == names


def _unit(
    path: str, tensors: Mapping[str, TensorSpec], leaves: Mapping[str, Unit], manifest: Manifest
) -> Unit:
    layer = layer_index(manifest).get(path) or LayerSpec(path, None, {})
    rank = min(leaves[spec.name].rank for spec in tensors.values())
    return Unit(layer, tensors, rank, part="+".join(_names(tensors)))


def _names(slots: Sequence[str] | Mapping[str, TensorSpec]) -> Iterable[str]:
    """Return the layers that slots belong to, each once."""
    return dict.fromkeys(slot.rpartition("/")[0] or slot for slot in slots)
