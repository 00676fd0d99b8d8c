"""Which tensors of a checkpoint a pairing is about.

A Keras layer's tensors are found by slot, through its :class:`LayerSpec`; a layer of a class that
the catalogue does not know may have its variables by position only, which serves when their number
leaves one reading. A PyTorch module's tensors are ``module.slot``.
"""

from __future__ import annotations

from collections.abc import Mapping

from converter.mapping.rules import Kind, Pairing
from converter.tensors.manifest import Family, Manifest
from converter.tensors.spec import LayerSpec

Claims = tuple[tuple[str | None, ...], ...]

# Planning asks for each slot of each pairing in turn; the index of a manifest is made once.
_CACHE_SIZE = 4
_indexes: list[tuple[Manifest, dict[str, LayerSpec]]] = []


def claimed(
    pairing: Pairing, manifest: Manifest, side: Family, names: Mapping[str, str] | None = None
) -> Claims:
    """Return the tensors that a pairing takes on one side.

    Args:
        pairing: A layer, a module and their kind.
        manifest: What the side has.
        side: Which of the two it is.
        names: For PyTorch, canonical name to the name in the manifest.

    Returns:
        For each slot of the kind, for each name that the slot has on this side, the name of the
        tensor in the manifest, or ``None`` where it is not there.
    """
    if side == "torch":
        return _claimed_by_module(pairing, manifest, names or {})
    found = _by_slot(pairing, manifest)
    if not any(name for names in found for name in names):
        return _by_position(pairing, layer_index(manifest)) or found
    return found


def claimed_names(
    pairing: Pairing, manifest: Manifest, side: Family, names: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the tensors that a pairing takes on one side, without regard to slots."""
    found = claimed(pairing, manifest, side, names)
    return tuple(name for slot in found for name in slot if name is not None)


def join(module: str, slot: str, separator: str) -> str:
    """Return the name of a slot of a layer or module; either may be empty.

    Examples:
        >>> join("features.0", "weight", "."), join("", "weight", "."), join("cls_token", "", ".")
        ('features.0.weight', 'weight', 'cls_token')
    """
    return f"{module}{separator}{slot}" if module and slot else module or slot


def layer_index(manifest: Manifest) -> Mapping[str, LayerSpec]:
    """Return the layers of a manifest by path; the same object for the same manifest."""
    for known, index in _indexes:
        if known is manifest:
            return index
    index = {layer.path: layer for layer in manifest.layers}
    _indexes.append((manifest, index))
    del _indexes[:-_CACHE_SIZE]
    return index


def _claimed_by_module(pairing: Pairing, manifest: Manifest, names: Mapping[str, str]) -> Claims:
    found = []
    for slot in pairing.kind.slots:
        wanted = [join(pairing.module, part, ".") for part in slot.torch]
        found.append(tuple(_present(names.get(name, name), manifest) for name in wanted))
    return tuple(found)


def _by_slot(pairing: Pairing, manifest: Manifest) -> Claims:
    layers = layer_index(manifest)
    found = []
    for slot in pairing.kind.slots:
        names = []
        for path, part in map(pairing.place, slot.keras):
            owned: Mapping[str, str] = layers[path].tensors if path in layers else {}
            names.append(owned.get(part) or join(path, part, "/"))
        found.append(tuple(_present(name, manifest) for name in names))
    return tuple(found)


def _present(name: str, manifest: Manifest) -> str | None:
    return name if name in manifest.tensors or name in manifest.ties else None


def _by_position(pairing: Pairing, layers: Mapping[str, LayerSpec]) -> Claims | None:
    """Return the claims on variables that have no telling names, or ``None`` if undecided.

    They are those of the layer, or of the layers inside of it that the slots name: a file says
    that ``self_attention/query`` has two variables, and the kind that it has a kernel and a bias.
    """
    kind = pairing.kind
    owners: dict[str, list[tuple[int, str]]] = {}
    for index, slot in enumerate(kind.slots):
        for part in slot.keras:
            owners.setdefault(_owner(pairing, part, layers), []).append((index, part))
    at: dict[tuple[int, str], str] = {}
    for path, every in owners.items():
        if path not in layers:
            return None
        placed = _placed(kind, layers[path], every, is_inside=path != pairing.layer)
        if placed is None:
            return None
        at |= placed
    return tuple(
        tuple(at.get((index, part)) for part in slot.keras) for index, slot in enumerate(kind.slots)
    )


def _owner(pairing: Pairing, slot: str, layers: Mapping[str, LayerSpec]) -> str:
    """Return the path of the layer whose variable a slot is."""
    path, part = pairing.place(slot)
    inside = join(path, part.rpartition("/")[0], "/")
    return inside if inside in layers else path


def _placed(
    kind: Kind, layer: LayerSpec, every: list[tuple[int, str]], *, is_inside: bool
) -> dict[tuple[int, str], str] | None:
    """Return which variable of a layer each of the slots is, by their order.

    Of a layer inside another one a file may show no class; it is then guessed by its name, and the
    Embedding that CLIP calls ``position_embedding`` is taken for a PositionEmbedding. Its only
    variable is meant all the same.
    """
    is_only = is_inside and len(layer.tensors) == len(every) == 1
    if not layer.tensors or not (is_only or all(map(_is_position, layer.tensors))):
        return None
    owned = list(layer.tensors)
    if all(slot.isdecimal() for slot in owned):
        owned.sort(key=int)
    needed = [(index, part) for index, part in every if not kind.slots[index].may_lack]
    readings = [slots for slots in (every, needed) if len(slots) == len(owned)]
    if not readings:
        return None
    return {place: layer.tensors[slot] for place, slot in zip(readings[0], owned, strict=True)}


def _is_position(slot: str) -> bool:
    """Whether a variable's name says nothing: Keras calls unnamed ones ``variable_7``."""
    return slot.isdecimal() or slot == "variable" or slot.removeprefix("variable_").isdecimal()
