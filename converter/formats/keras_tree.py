"""From the layers of a Keras 3 weights file to a manifest: names, slots, order, structure.

Inside a layer of the catalogue the catalogue names the variables and orders them as
``get_weights()`` does. The variables of any other layer are called after their position
(``block/vars/0``), because the file says no more. Automatic layer names are numbered afresh, so the
model has the same manifest from every file and from memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.formats.keras_config import ConfigLayer
from converter.formats.keras_groups import VARS, Group, split_state
from converter.formats.keras_layers import Layer, LayerFinder, MisfitError
from converter.mapping.catalogue import Catalogue, load_catalogue
from converter.mapping.naming import renumber
from converter.tensors.spec import LayerSpec


@dataclass(slots=True)
class NamedTree:
    """The names of everything in one weights file.

    Attributes:
        datasets: Tensor name to path of its dataset as in the file, in the order of the model.
        store: Tensor name to path of its dataset as Keras writes it.
        copies: Path of a further dataset, as Keras writes it, to the tensor name it repeats.
        groups: Path of every ``vars`` group to its ``name`` attribute.
        layers: Every layer, parents before children.
        notices: What was left out or assumed.
    """

    datasets: dict[str, str] = field(default_factory=dict)
    store: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str | None] = field(default_factory=dict)
    layers: list[LayerSpec] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def name_tree(root: Group, model: ConfigLayer | None) -> NamedTree:
    """Name every tensor and layer of a weights file.

    Args:
        root: Its groups. The state of optimizers and metrics is taken out of them.
        model: The architecture, or ``None``.

    Raises:
        MisfitError: If the architecture is not that of the weights.
    """
    catalogue = load_catalogue()
    groups = {_vars_path(group): group.name for group in root.below() if group.is_layer}
    left_out = split_state(root)
    finder = LayerFinder(catalogue)
    found = finder.find(root, model)
    tree = _Namer(found, catalogue, require_all=model is not None).run()
    kept = {_vars_path(group) for group in root.below()}
    tree.groups = {path: name for path, name in groups.items() if path in kept}
    tree.notices.extend(_notices(root, finder, left_out, model))
    return tree


def _notices(
    root: Group, finder: LayerFinder, left_out: int, model: ConfigLayer | None
) -> Iterator[str]:
    if left_out:
        yield f"{left_out} variables of the optimizer and of metrics are no weights and left out"
    if model is None and all(group.name is None for group in root.below()):
        yield "the file holds no layer names: layers are called after their place in it"
    if finder.assumed:
        pairs = [f"{name} ({class_name})" for name, class_name in sorted(finder.assumed.items())]
        yield f"assumed from automatic layer names: {', '.join(pairs)}"


def _vars_path(group: Group) -> str:
    return f"{group.path}/{VARS}" if group.path else VARS


def _names_below(layer: Layer) -> dict[str, str]:
    """Return the names that the file gives to the layers below, by group relative to the layer."""
    if layer.group is None:
        return {}
    skip = len(layer.group.path) + 1 if layer.group.path else 0
    return {
        group.path[skip:]: group.name
        for group in layer.group.below()
        if group is not layer.group and group.name is not None
    }


class _Namer:
    def __init__(self, root: Layer, catalogue: Catalogue, *, require_all: bool) -> None:
        self._root = root
        self._catalogue = catalogue
        self._require_all = require_all
        self._weighted = frozenset(catalogue.classes)
        self._tree = NamedTree()
        self._names: dict[str, str] = {}
        self._slots: dict[int, dict[str, str]] = {}
        self._paths: dict[int, str] = {}
        layers = list(root.below())
        fresh = renumber([(layer.name, layer.class_name) for layer in layers])
        self._fresh = {id(layer): name for layer, name in zip(layers, fresh, strict=True)}
        self._beside: dict[int, dict[str, Layer]] = {}
        for parent in (root, *layers):
            named = {child.name: child for child in parent.children}
            self._beside.update((id(child), named) for child in parent.children)
        self._with_group = {
            (layer.name, layer.class_name): layer for layer in layers if layer.group is not None
        }

    def run(self) -> NamedTree:
        self._visit(self._root, "")
        for layer in (self._root, *self._root.below()):
            if self._is_worth_a_spec(layer):
                self._tree.layers.append(self._spec(layer))
        return self._tree

    def _visit(self, layer: Layer, path: str) -> None:
        self._paths[id(layer)] = path
        if layer is self._root or not self._name_known(layer, path):
            self._name_own(layer, path)
        taken = Counter(self._fresh[id(child)] for child in layer.children)
        for child in layer.children:
            name = self._fresh[id(child)]
            if taken[name] > 1:
                name = child.key or name
            settled = self._paths.get(id(child))
            self._visit(child, settled or (f"{path}/{name}" if path else name))

    def _name_own(self, layer: Layer, path: str) -> None:
        """Call the variables of a layer of an unknown class after their positions."""
        if layer.group is None:
            return
        slots = self._slots.setdefault(id(layer), {})
        for key, dataset in layer.group.variables:
            store = f"{_vars_path(layer.group)}/{key}"
            name = f"{path}/{VARS}/{key}" if path else f"{VARS}/{key}"
            slots[key] = self._add(name, dataset, store)

    def _name_known(self, layer: Layer, path: str) -> bool:
        """Name everything below a layer of the catalogue; whether it is one."""
        if layer.class_name is None or not layer.is_known_class:
            return False
        stores = layer.group.stores() if layer.group is not None else {}
        found = self._catalogue.variables(
            layer.class_name, layer.config, stores, _names_below(layer)
        )
        if found is None:
            self._refuse_missing(layer, stores)
            return False
        slots = self._slots.setdefault(id(layer), {})
        prefix = layer.group.path if layer.group is not None else ""
        for one in found:
            store = f"{prefix}/{one.store}" if prefix else one.store
            slots[one.slot] = self._add(f"{path}/{one.path}", stores[one.store], store)
            for place in one.also:
                self._names[stores[place]] = slots[one.slot]
                self._tree.copies[f"{prefix}/{place}" if prefix else place] = slots[one.slot]
        self._place_below(layer, path, ())
        return True

    def _add(self, name: str, dataset: str, store: str) -> str:
        """Give a dataset a name, unless it has one, and return the name that it has."""
        if dataset in self._names:
            return self._names[dataset]
        self._names[dataset] = name
        self._tree.datasets[name] = dataset
        self._tree.store[name] = store
        return name

    def _place_below(self, layer: Layer, path: str, above: tuple[Layer, ...]) -> None:
        """Give the layers below a known one the paths that their variables' names imply."""
        for child in layer.children:
            chain = (*above, child)
            variables = child.group.variables if child.group is not None else []
            for _, dataset in variables:
                name = self._names.get(dataset, "")
                parts = name.removeprefix(f"{path}/").split("/")
                if name.startswith(f"{path}/") and len(parts) == len(chain) + 1:
                    for depth, one in enumerate(chain, start=1):
                        self._paths.setdefault(id(one), "/".join([path, *parts[:depth]]))
            self._place_below(child, path, chain)

    def _refuse_missing(self, layer: Layer, stores: Mapping[str, Any]) -> None:
        """Refuse an architecture with a layer whose weights the file does not hold."""
        shared = self._with_group.get((layer.name, layer.class_name))
        class_name = layer.class_name or ""
        if stores or not self._require_all or class_name not in self._weighted:
            return
        if not self._catalogue.needs_weights(class_name, layer.config):
            return
        if shared is not None and shared is not layer:
            return
        raise MisfitError(f"the file holds no weights of {layer.name!r}, a {layer.class_name}")

    def _is_worth_a_spec(self, layer: Layer) -> bool:
        if layer is self._root:
            return bool(self._slots.get(id(layer)))
        if layer.group is None:
            return (layer.name, layer.class_name) not in self._with_group
        return bool(layer.config) or any(one.variables for one in layer.group.below())

    def _spec(self, layer: Layer) -> LayerSpec:
        path = self._paths[id(layer)]
        return LayerSpec(
            path=path,
            class_name=layer.class_name,
            tensors=self._slots.get(id(layer), {}),
            config=layer.config,
            inbound=tuple(self._inbound(layer, path)),
        )

    def _inbound(self, layer: Layer, path: str) -> Iterator[str]:
        above = path.rpartition("/")[0]
        beside = self._beside.get(id(layer), {})
        for name in layer.inbound:
            found = beside.get(name)
            if found is not None and found.group is None:
                found = self._with_group.get((found.name, found.class_name), found)
            if found is not None and found is not layer:
                yield self._paths[id(found)]
            elif found is None:  # an operation of the graph, which is no layer
                yield f"{above}/{name}" if above else name
