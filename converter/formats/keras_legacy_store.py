"""Where Keras 3 would keep the tensors of a legacy file, worked out from its architecture.

So a legacy file can be the model after which a ``.weights.h5`` is written. It is all or nothing:
where one layer is of an unknown class, whose order of variables nothing says, there is no answer.

Source: keras 3.15.1 ``saving_lib._save_state`` and ``_save_container_state``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from converter.formats.keras_config import numbered_keys
from converter.formats.keras_groups import VARS
from converter.formats.keras_legacy_names import LegacyLayer
from converter.mapping.catalogue import Variable
from converter.tensors.structure import KerasStructure

Variables = Mapping[int, Mapping[str, Variable]]


def store_of(
    root: LegacyLayer, name: str, variables: Variables, twins: Mapping[int, LegacyLayer]
) -> KerasStructure:
    """Return store, groups and copies; all empty where a layer is not understood.

    Args:
        root: The layers of the model.
        name: Name of the model.
        variables: Identity of a layer of the catalogue to its variables by tensor name.
        twins: Identity of a layer that is stored elsewhere, as two models share it.
    """
    store: dict[str, str] = {}
    copies: dict[str, str] = {}
    groups: dict[str, str | None] = {VARS: name or None}
    if root.weights:
        return KerasStructure()
    for layer, place in _places(root, ""):
        known = variables.get(id(layer), {})
        if id(layer) in twins:
            continue
        if (layer.weights and not known) or (layer.children and not layer.is_plain_model):
            return KerasStructure()
        groups[f"{place}/{VARS}"] = layer.name
        for tensor, variable in known.items():
            store[tensor] = f"{place}/{variable.store}"
            copies.update({f"{place}/{also}": tensor for also in variable.also})
            for group, below in groups_below(variable):
                groups.setdefault(f"{place}/{group}/{VARS}", below)
    return KerasStructure(store=store, copies=copies, groups=groups)


def _places(model: LegacyLayer, above: str) -> Iterator[tuple[LegacyLayer, str]]:
    """Yield every layer with its group."""
    keys = numbered_keys(child.class_name or "" for child in model.children)
    for child, key in zip(model.children, keys, strict=True):
        place = f"{above}/layers/{key}" if above else f"layers/{key}"
        yield child, place
        if child.is_plain_model:
            yield from _places(child, place)


def groups_below(variable: Variable) -> Iterator[tuple[str, str | None]]:
    """Yield the groups between a layer and one of its variables, with the names of their layers."""
    groups = variable.store.split("/")[:-2]
    names = variable.path.split("/")[:-1]
    for depth in range(1, len(groups) + 1):
        name = names[depth - 1] if len(names) == len(groups) else None
        yield "/".join(groups[:depth]), name
