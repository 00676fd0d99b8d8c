"""How many tensors of one module are the entries of one Keras tensor: the experts of a layer.

A slot whose PyTorch names have ``{x}`` stands for one tensor, or several, for each expert. How many
there are is seen from the names, or from the first axis of the Keras tensor; the kind of a pairing
then names each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from converter.mapping.claims import join
from converter.mapping.rules import Kind
from converter.mapping.slots import Slot
from converter.tensors.manifest import Manifest

_MARK = "{x}"


def counted(
    kind: Kind, layer: str, module: str, *, keras: Manifest | None, torch: Mapping[str, str]
) -> Kind:
    """Return a kind in which every tensor of a stack has its own name.

    Args:
        kind: The kind as the catalogue has it; one without stacks is returned as it is.
        layer: Path of the Keras layer in its manifest.
        module: Name of the PyTorch module.
        keras: The Keras side, where it is known.
        torch: Canonical names of the PyTorch side; empty where it is not known.
    """
    if not any(_is_stack(slot) for slot in kind.slots):
        return kind
    slots = tuple(
        _with_names(slot, _count(slot, layer, module, keras, torch)) if _is_stack(slot) else slot
        for slot in kind.slots
    )
    return replace(kind, slots=slots)


def _is_stack(slot: Slot) -> bool:
    return any(_MARK in name for name in slot.torch)


def _with_names(slot: Slot, count: int) -> Slot:
    names = (part.replace(_MARK, str(x)) for x in range(count) for part in slot.torch)
    return replace(slot, torch=tuple(names))


def _count(
    slot: Slot, layer: str, module: str, keras: Manifest | None, torch: Mapping[str, str]
) -> int:
    """Return the number of entries; 0 where neither side shows one."""
    count = 0
    while join(module, slot.torch[0].replace(_MARK, str(count)), ".") in torch:
        count += 1
    name = join(layer, slot.keras[0], "/")
    if count == 0 and keras is not None and name in keras:
        shape = keras[name].shape
        count = shape[0] if shape else 0
    return count
