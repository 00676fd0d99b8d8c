"""Which layer each group of a Keras 3 weights file is, given an architecture or not.

With an architecture, the groups under ``layers`` are matched to its layers by their names where the
file has them, and otherwise by class and position as Keras does. Where names and architecture
contradict each other nothing is matched: an architecture with one layer more has every later layer
on a wrong group, and loading that is the silent failure of this format. Without an architecture a
class is known from a group named after it, or assumed from an automatic layer name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.formats.keras_config import MODEL_CLASSES, ConfigLayer, store_keys
from converter.formats.keras_groups import Group
from converter.formats.wording import quoted
from converter.mapping.catalogue import Catalogue
from converter.mapping.naming import automatic_number, snake_case

_MODEL_KEYS = {snake_case(name): name for name in MODEL_CLASSES}

# Source: keras 3.15.1, the constructors of these layers.
CELLS = {
    "LSTM": "LSTMCell",
    "GRU": "GRUCell",
    "SimpleRNN": "SimpleRNNCell",
    "ConvLSTM1D": "ConvLSTMCell",
    "ConvLSTM2D": "ConvLSTMCell",
    "ConvLSTM3D": "ConvLSTMCell",
}
ATTENTIONS = frozenset({"MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention"})


class MisfitError(Exception):
    """An architecture that is not that of the weights; the text is the reason."""


@dataclass(eq=False, slots=True)
class Layer:
    """One layer of a model that was found in a file.

    Attributes:
        name: Its name, numbered as in the file.
        key: The last part of its place in the file, which tells layers of one name apart.
        class_name: Its Keras class, or ``None``.
        config: Its configuration; empty where unknown.
        inbound: Names of the layers beside it that feed it.
        group: Its group, or ``None`` where it has none.
        is_known_class: Whether the class is one of Keras, not a stranger of the same name.
        children: The layers below it.
    """

    name: str
    key: str
    class_name: str | None
    config: Mapping[str, Any]
    inbound: tuple[str, ...] = ()
    group: Group | None = None
    is_known_class: bool = True
    children: list[Layer] = field(default_factory=list)

    def below(self) -> Iterator[Layer]:
        """Yield every layer below this one, parents before children."""
        for child in self.children:
            yield child
            yield from child.below()


class LayerFinder:
    """Finds the layers of one weights file.

    Attributes:
        assumed: Name and class of layers whose class their automatic name alone tells.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.assumed: dict[str, str] = {}

    def find(self, root: Group, model: ConfigLayer | None) -> Layer:
        """Return the model as a layer without a name of its own.

        Raises:
            MisfitError: If the architecture is not that of the file.
        """
        class_name = model.class_name if model is not None else None
        config = _own_config(model) if model is not None else {}
        found = Layer("", "", class_name, config, group=root)
        found.children = list(self._children(root, model, class_name))
        return found

    def _layer(
        self, group: Group | None, config: ConfigLayer | None, class_name: str | None, name: str
    ) -> Layer:
        found = Layer(name, group.key if group else "", class_name, {}, group=group)
        if config is not None:
            found.config = _own_config(config)
            found.inbound = config.inbound
            found.is_known_class = config.is_known_class
        if group is not None or config is not None:
            found.children = list(self._children(group, config, class_name))
        return found

    def _children(
        self, group: Group | None, config: ConfigLayer | None, class_name: str | None
    ) -> Iterator[Layer]:
        groups = dict(group.children) if group is not None else {}
        if config is not None and config.is_model:
            listed = groups.pop("layers", None)
            yield from self._listed(listed, config.layers)
        parts = config.parts if config is not None else {}
        for key, child in groups.items():
            if key == "layers" or not _is_single(child):
                if key in parts:
                    yield from self._listed(child, parts[key])
                else:
                    yield from self._contained(child)
            else:
                yield self._attribute(child, config, class_name)

    def _attribute(
        self, group: Group, parent: ConfigLayer | None, parent_class: str | None
    ) -> Layer:
        """Return the layer that is an attribute of another one."""
        part = _part(group.key, parent, parent_class)
        name = group.name or (part.name if part is not None else group.key)
        if part is not None:
            return self._layer(group, part, part.class_name, name)
        class_name = _implied_class(parent_class, group.key)
        if class_name is None and group.name is not None:
            class_name = self._class_of_name(group)
        return self._layer(group, None, class_name, name)

    def _class_of_name(self, group: Group) -> str | None:
        """Return the class that an automatic layer name tells."""
        name = group.name or ""
        class_name = self._class_of_key(name)
        is_model = class_name in MODEL_CLASSES
        if class_name is None or not (
            group.children.get("layers") if is_model else group.variables
        ):
            return None
        self.assumed[name] = class_name
        return class_name

    def _contained(self, container: Group) -> Iterator[Layer]:
        """Yield the layers in a list, tuple or dict: their groups are named after their class."""
        for key, child in container.children.items():
            if re.fullmatch(r"container(_\d+)?", key) and not child.is_layer:
                yield from self._contained(child)
            else:
                yield self._layer(child, None, self._class_of_key(key), child.name or key)

    def _class_of_key(self, key: str) -> str | None:
        base = re.sub(r"_\d+$", "", key)
        return _MODEL_KEYS.get(base) or self._catalogue.class_of_snake(base)

    def _listed(self, container: Group | None, layers: tuple[ConfigLayer, ...]) -> Iterator[Layer]:
        """Yield the layers of a list that the architecture describes."""
        groups = container.children if container is not None else {}
        for layer, group in zip(layers, match(groups, layers), strict=True):
            name = layer.name or (group.name if group else None) or (group.key if group else "")
            yield self._layer(group, layer, layer.class_name, name)


def match(groups: Mapping[str, Group], layers: tuple[ConfigLayer, ...]) -> list[Group | None]:
    """Return the group of each layer, ``None`` for layers that have none.

    Raises:
        MisfitError: If the file holds a layer that the architecture does not have, or calls one
            by another name.
    """
    keys = store_keys(layers)
    names = {group.name: group for group in groups.values() if group.name is not None}
    expected = {layer.name for layer in layers}
    if names and len(names) == len(groups) and expected.issuperset(names):
        found = [names.get(layer.name) for layer in layers]
        wrong = [
            f"{quoted(group.name)} is {quoted(group.key)} in the file, a {layer.class_name} there"
            for layer, group in zip(layers, found, strict=True)
            if group is not None and _base(group.key) != snake_case(layer.class_name)
        ]
        if wrong:
            raise MisfitError("; ".join(wrong[:3]))
        return found
    unexpected = sorted(set(groups) - set(keys))
    if unexpected:
        raise MisfitError(f"the file holds {quoted(unexpected[0])}, which it does not have")
    found = [groups.get(key) for key in keys]
    for layer, group in zip(layers, found, strict=True):
        if group is not None and not _same_name(group.name, layer):
            both = f"{quoted(group.name)} in the file and {quoted(layer.name)} there"
            raise MisfitError(f"{quoted(group.key)} is called {both}")
    return found


def _same_name(name: str | None, layer: ConfigLayer) -> bool:
    if name is None or name == layer.name:
        return True
    numbers = [automatic_number(one, layer.class_name) for one in (name, layer.name)]
    return None not in numbers


def _base(key: str) -> str:
    return re.sub(r"_\d+$", "", key)


def _is_single(group: Group) -> bool:
    """Whether a group is a layer; a list of layers has no variables of its own.

    Some versions left out empty ``vars`` groups, so a group whose parts are attributes (a cell, a
    projection) is taken for a layer too.
    """
    return group.is_layer or (bool(group.children) and _ATTRIBUTES.issuperset(group.children))


_ATTRIBUTES = frozenset(
    {"cell", "cells", "layer", "layers", "forward_layer", "backward_layer"}
    | {f"{mark}{name}_dense" for mark in ("", "_") for name in ("query", "key", "value", "output")}
)


def _part(key: str, parent: ConfigLayer | None, parent_class: str | None) -> ConfigLayer | None:
    """Return the layer in the parent's configuration that an attribute holds."""
    if parent is None:
        return None
    if parent_class == "Bidirectional":
        inner = parent.parts.get("layer")
        if key == "backward_layer":
            inner = parent.parts.get("backward_layer", inner)
        return inner[0] if inner and key in {"forward_layer", "backward_layer"} else None
    if parent_class in CELLS and key == "cell":
        return ConfigLayer("", CELLS[parent_class], parent.config)
    found = parent.parts.get(key)
    return found[0] if found is not None and len(found) == 1 else None


def _implied_class(parent_class: str | None, key: str) -> str | None:
    """Return the class of a layer that another class always makes for itself."""
    if key == "cell":
        return CELLS.get(parent_class or "")
    if parent_class in ATTENTIONS and key.endswith("_dense"):
        return "EinsumDense"
    return None


def _own_config(layer: ConfigLayer) -> Mapping[str, Any]:
    if not layer.is_model:
        return layer.config
    return {key: value for key, value in layer.config.items() if key != "layers"}
