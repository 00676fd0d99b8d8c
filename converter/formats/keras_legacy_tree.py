"""From the weight names of a legacy HDF5 file to a manifest.

Every weight goes to a layer by its name (see ``keras_legacy_names``), the variables of a layer of
the catalogue get the catalogue's names and order, and layers of other classes keep the names in
the file. Automatic layer names are numbered afresh, as from every other file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from converter.formats.keras_config import ConfigLayer
from converter.formats.keras_evidence import class_of_name, class_of_variables
from converter.formats.keras_layers import MisfitError
from converter.formats.keras_legacy_names import (
    LegacyLayer,
    from_config,
    hand_down,
    relative_name,
)
from converter.formats.keras_legacy_store import store_of
from converter.formats.keras_sub_layers import sub_layers
from converter.formats.wording import quoted
from converter.mapping.catalogue import Catalogue, Variable, load_catalogue
from converter.mapping.naming import renumber
from converter.tensors.dtype import Shape
from converter.tensors.spec import LayerSpec
from converter.tensors.structure import KerasStructure

TOP_LEVEL = "top_level_model_weights"

Weights = Mapping[str, list[tuple[str, str]]]


@dataclass(slots=True)
class LegacyTree:
    """The names of everything in one legacy file.

    Attributes:
        datasets: Tensor name to path of its dataset, in the order of the model.
        names: Path of every dataset to its tensor name.
        layers: Every layer, parents before children.
        notices: What was assumed or not understood.
        keras_3: Store, copies and groups of a Keras 3 file; empty where they are not known.
    """

    datasets: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    layers: list[LayerSpec] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    keras_3: KerasStructure = field(default_factory=KerasStructure)


def name_legacy(
    weights: Weights,
    model: ConfigLayer | None,
    shapes: Mapping[str, Shape],
    same: Callable[[str, str], bool],
    classes: Mapping[str, str] | None = None,
) -> LegacyTree:
    """Name every tensor and layer of a legacy file.

    Args:
        weights: Layer name to its weights: name as written and path of the dataset.
        model: The architecture, or ``None``.
        shapes: Path of a dataset to its shape.
        same: Whether two datasets hold the same values; asked for layers that may be one.
        classes: Layer name to its class, where the caller knows it and the architecture does not.

    Raises:
        MisfitError: If the architecture is not that of the weights.
    """
    catalogue = load_catalogue()
    root = LegacyLayer("", is_model=True)
    if model is not None and model.is_model:
        root.class_name = model.class_name
        root.children = [from_config(layer) for layer in model.layers]
        in_file = _in_file(catalogue, root.children, weights)
    else:
        root.children = [LegacyLayer(name) for name in weights if name != TOP_LEVEL]
        in_file = {name: name for name in weights}
    notices: list[str] = []
    for layer in root.children:
        name = in_file.get(layer.name, layer.name)
        _take(layer, weights.get(name, ()), name)
        if layer.is_model and (left := hand_down(layer)):
            shown = ", ".join(map(quoted, left[:3]))
            notices.append(f"weights of {quoted(name)} that fit no one layer in it: {shown}")
    for name, dataset in weights.get(TOP_LEVEL, ()):
        root.weights[name.split(":")[0].split("/", 1)[-1]] = dataset
    namer = _Namer(root, catalogue, shapes, same, classes or {})
    namer.run()
    namer.tree.notices = [*notices, *namer.tree.notices]
    if model is not None and model.is_model:
        namer.tree.keras_3 = store_of(root, model.name, namer.variables, namer.twins)
    return namer.tree


def _in_file(catalogue: Catalogue, layers: list[LegacyLayer], weights: Weights) -> dict[str, str]:
    """Return the file's names of an architecture's layers, which must be all that it holds.

    Where the names are not the same, automatic ones may be after numbering both sides afresh: the
    architecture of a model built later in the same process.
    """
    held = [name for name, values in weights.items() if values and name != TOP_LEVEL]
    known = {layer.name for layer in layers}
    if known.issuperset(held):
        found = {name: name for name in held}
    else:
        fresh = renumber([(layer.name, layer.class_name) for layer in layers])
        ours = dict(zip(fresh, (layer.name for layer in layers), strict=True))
        theirs = renumber([(name, class_of_name(catalogue, name)) for name in held])
        if not ours.keys() >= set(theirs):
            strangers = sorted(set(held) - known)
            raise MisfitError(f"the file holds {quoted(strangers[0])}, which it does not have")
        found = {ours[one]: name for one, name in zip(theirs, held, strict=True)}
    for layer in layers:
        needs = catalogue.needs_weights(layer.class_name or "", layer.config)
        if needs and layer.is_known_class and layer.name not in found:
            expected = catalogue.named_variables(layer.class_name or "", layer.config, ())
            if expected is None:
                what = f"{quoted(layer.name)}, a {layer.class_name}"
                raise MisfitError(f"the file holds no weights of {what}")
    return found


def _take(layer: LegacyLayer, values: list[tuple[str, str]] | tuple[()], name: str) -> None:
    for weight, dataset in values:
        relative = relative_name(weight, name)
        layer.weights[weight if relative in layer.weights else relative] = dataset


class _Namer:
    def __init__(
        self,
        root: LegacyLayer,
        catalogue: Catalogue,
        shapes: Mapping[str, Shape],
        same: Callable[[str, str], bool],
        classes: Mapping[str, str],
    ) -> None:
        self._classes = classes
        self.tree = LegacyTree()
        self._root = root
        self._catalogue = catalogue
        self._shapes = shapes
        self._same = same
        self._assumed: dict[str, str] = {}
        self._slots: dict[int, dict[str, str]] = {}
        self._paths: dict[int, str] = {}
        self.twins: dict[int, LegacyLayer] = {}
        self.variables: dict[int, dict[str, Variable]] = {}

    def run(self) -> None:
        for layer in list(self._root.below()):
            self._understand(layer)
        layers = list(self._root.below())
        self._find_twins(layers)
        everything = [(layer.name, layer.class_name) for layer in layers]
        everything += [pair for layer in layers for pair in layer.wrapped]
        fresh = renumber(everything)[: len(layers)]
        self._fresh = {id(layer): name for layer, name in zip(layers, fresh, strict=True)}
        self._visit(self._root, "")
        self._specify(self._root)
        if self._assumed:
            pairs = [f"{name} ({what})" for name, what in self._assumed.items()]
            self.tree.notices.append(f"assumed from names and shapes: {', '.join(pairs)}")

    def _understand(self, layer: LegacyLayer) -> None:
        """Find the class of a layer that nothing describes, or the layers in it."""
        if not layer.weights or self._variables(layer) is not None:
            return
        if layer.class_name is None:
            shapes = {name: self._shapes[dataset] for name, dataset in layer.weights.items()}
            for class_name in (
                self._classes.get(layer.name),
                class_of_name(self._catalogue, layer.name),
                class_of_variables(shapes),
            ):
                layer.class_name = class_name
                if class_name is not None and self._variables(layer) is not None:
                    self._assumed[layer.name] = class_name
                    return
            layer.class_name = None
        children: dict[str, LegacyLayer] = {}
        for name, dataset in list(layer.weights.items()):
            first, _, rest = name.partition("/")
            if rest:
                child = children.setdefault(first, LegacyLayer(first))
                child.weights[rest] = dataset
                del layer.weights[name]
        for child in children.values():
            self._understand(child)
        layer.children.extend(children.values())

    def _variables(self, layer: LegacyLayer) -> dict[str, Variable] | None:
        """Return the variable that each weight of a layer of the catalogue is, in its order."""
        if layer.class_name is None or not layer.is_known_class or layer.is_model:
            return None
        names = list(layer.weights)
        found = self._catalogue.named_variables(layer.class_name, layer.config, names)
        if found is None:
            return None
        places = [place for one in found.values() for place in (one.store, *one.also)]
        ordered = self._catalogue.variables(layer.class_name, layer.config, places) or ()
        order = {one.store: position for position, one in enumerate(ordered)}
        ranked = sorted(names, key=lambda name: order.get(found[name].store, len(order)))
        return {name: found[name] for name in ranked}

    def _find_twins(self, layers: list[LegacyLayer]) -> None:
        """Find layers that are saved twice because two models share them."""
        seen: dict[tuple[str, str | None, str], LegacyLayer] = {}
        for layer in layers:
            if not layer.weights or layer.class_name is None or not layer.config:
                continue
            key = (layer.name, layer.class_name, json.dumps(layer.config, sort_keys=True))
            first = seen.setdefault(key, layer)
            if first is not layer and self._is_twin(first, layer):
                self.twins[id(layer)] = first

    def _is_twin(self, first: LegacyLayer, second: LegacyLayer) -> bool:
        pairs = [(dataset, second.weights.get(name)) for name, dataset in first.weights.items()]
        return len(first.weights) == len(second.weights) and all(
            other is not None
            and self._shapes[dataset] == self._shapes[other]
            and self._same(dataset, other)
            for dataset, other in pairs
        )

    def _visit(self, layer: LegacyLayer, path: str) -> None:
        twin = self.twins.get(id(layer))
        if twin is not None:
            self._paths[id(layer)] = self._paths[id(twin)]
            for name, dataset in layer.weights.items():
                self.tree.names[dataset] = self.tree.names[twin.weights[name]]
            return
        self._paths[id(layer)] = path
        slots = self._slots.setdefault(id(layer), {})
        known = self._variables(layer) or {}
        own = self.variables.setdefault(id(layer), {})
        for name, variable in known.items():
            slots[variable.slot] = self._add(f"{path}/{variable.path}", layer.weights[name])
            own[slots[variable.slot]] = variable
        for name in () if known else layer.weights:
            slots[name] = self._add(f"{path}/{name}" if path else name, layer.weights[name])
        for child in layer.children:
            name = self._fresh[id(child)]
            self._visit(child, f"{path}/{name}" if path else name)

    def _add(self, name: str, dataset: str) -> str:
        unique, count = name, 1
        while unique in self.tree.datasets:
            count += 1
            unique = f"{name}_{count}"
        self.tree.datasets[unique] = dataset
        self.tree.names[dataset] = unique
        return unique

    def _specify(self, layer: LegacyLayer) -> None:
        if id(layer) in self.twins:
            return
        slots = self._slots.get(id(layer), {})
        if slots or layer is not self._root:
            made = LayerSpec(
                path=self._paths[id(layer)],
                class_name=layer.class_name,
                tensors=slots,
                config=layer.config,
                inbound=layer.inbound,
            )
            self.tree.layers.append(made)
            own = self.variables.get(id(layer), {})
            below = {variable.path: tensor for tensor, variable in own.items()}
            self.tree.layers.extend(sub_layers(self._catalogue, made, below))
        beside = {child.name: self._paths[id(child)] for child in layer.children}
        above = self._paths[id(layer)]
        for child in layer.children:
            child.inbound = tuple(
                beside.get(name, f"{above}/{name}" if above else name)
                for name in child.inbound
                if name != child.name
            )
            self._specify(child)
