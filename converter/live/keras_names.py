"""The names of a live Keras model's tensors and layers: the same that its files would give.

A tensor is the path of its layer and of the variable below it. Inside a layer of the catalogue
(an LSTM with its cell, a MultiHeadAttention with its projections) the catalogue names everything,
since Keras' own names there depend on what was built before; everywhere else layer and variable
names do, numbered afresh.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from converter.live.keras_structure import Recording
from converter.live.keras_walk import Node, plain_config
from converter.mapping.catalogue import Catalogue
from converter.mapping.naming import renumber
from converter.tensors.spec import LayerSpec


@dataclass(slots=True)
class Names:
    """The outcome.

    Attributes:
        tensors: Identity of a variable to its tensor name.
        layers: Every layer, those without tensors included, parents before children.
        objects: Path of a layer to the layer itself.
    """

    tensors: dict[int, str] = field(default_factory=dict)
    layers: list[LayerSpec] = field(default_factory=list)
    objects: dict[str, Any] = field(default_factory=dict)


def name_all(root: Node, recording: Recording, catalogue: Catalogue) -> Names:
    """Name every tensor and layer of a model.

    Args:
        root: The model.
        recording: Where Keras would write each variable.
        catalogue: The layer kinds.
    """
    return _Namer(root, recording, catalogue).run()


class _Namer:
    def __init__(self, root: Node, recording: Recording, catalogue: Catalogue) -> None:
        self._root = root
        self._recording = recording
        self._catalogue = catalogue
        self._names = Names()
        self._sorted = sorted(recording.values)
        self._paths: dict[int, str] = {}
        self._slots: dict[int, dict[str, str]] = {}
        self._path_of: dict[int, str] = {}
        self._configs: dict[int, dict[str, Any]] = {}
        nodes = list(root.below())
        fresh = renumber([(node.name, node.class_name) for node in nodes])
        self._fresh = {id(node): name for node, name in zip(nodes, fresh, strict=True)}

    def run(self) -> Names:
        self._visit(self._root, "")
        every = (self._root, *self._root.below())
        self._path_of = {id(node.layer): self._paths[id(node)] for node in every}
        for node in every:
            self._names.objects.setdefault(self._paths[id(node)], node.layer)
            if node is self._root and not node.own:
                continue
            self._names.layers.append(
                LayerSpec(
                    path=self._paths[id(node)],
                    class_name=node.class_name,
                    tensors=self._slots.get(id(node), {}),
                    config=self._config(node),
                    inbound=tuple(self._inbound(node)),
                )
            )
        return self._names

    def _visit(self, node: Node, path: str) -> None:
        self._paths[id(node)] = path
        if node is self._root or not self._name_known(node, path):
            self._name_own(node, path)
        taken = Counter(self._fresh[id(child)] for child in node.children)
        for child in node.children:
            name = self._fresh[id(child)]
            if taken[name] > 1:
                place = self._place(child)
                # A place in a list is named after the class, as an unnamed layer is.
                name = f"{name}_{place}" if place in taken else place or name
            settled = self._paths.get(id(child))
            self._visit(child, settled or (f"{path}/{name}" if path else name))

    def _place(self, node: Node) -> str:
        """Return the attribute or position that tells a layer from another of its name."""
        return self._recording.places.get(id(node.layer), "").rpartition("/")[2]

    def _name_own(self, node: Node, path: str) -> None:
        """Name the variables that a layer holds itself after themselves."""
        counts = Counter(str(variable.name) for variable in node.own)
        slots = self._slots.setdefault(id(node), {})
        for index, variable in enumerate(node.own):
            slot = str(variable.name)
            if counts[slot] > 1:
                slot = f"{slot}_{index}"
            name = f"{path}/{slot}" if path else slot
            slots[slot] = self._names.tensors.setdefault(id(variable), name)

    def _name_known(self, node: Node, path: str) -> bool:
        """Name everything below a layer of the catalogue; whether it is one."""
        if not node.is_known_class:
            return False
        below = dict(self._relative_stores(node))
        found = self._catalogue.variables(
            node.class_name, self._config(node), below, self._names_below(node)
        )
        if found is None:
            return False
        slots = self._slots.setdefault(id(node), {})
        for one in found:
            variable = below[one.store]
            slots[one.slot] = self._names.tensors.setdefault(id(variable), f"{path}/{one.path}")
        self._place_below(node, path, ())
        return True

    def _place_below(self, node: Node, path: str, above: tuple[Node, ...]) -> None:
        """Give the layers below a known one the paths that their variables' names imply."""
        for child in node.children:
            chain = (*above, child)
            for variable in child.own:
                name = self._names.tensors.get(id(variable), "")
                parts = name.removeprefix(f"{path}/").split("/")
                if name.startswith(f"{path}/") and len(parts) == len(chain) + 1:
                    for depth, one in enumerate(chain, start=1):
                        place = "/".join([path, *parts[:depth]])
                        self._paths.setdefault(id(one), place)
            self._place_below(child, path, chain)

    def _relative_stores(self, node: Node) -> Iterator[tuple[str, Any]]:
        place = self._recording.places.get(id(node.layer))
        if place is None:
            return
        prefix = f"{place}/" if place else ""
        # Sorted, so that what lies below a layer is one run and the whole stays linear.
        start = bisect_left(self._sorted, prefix)
        for path in islice(self._sorted, start, None):
            if not path.startswith(prefix):
                return
            yield path.removeprefix(prefix), self._recording.values[path]

    def _names_below(self, node: Node) -> dict[str, str]:
        """Return the names of the layers below, by group relative to that of the node."""
        places = self._recording.places
        prefix = f"{places[id(node.layer)]}/" if places.get(id(node.layer)) else ""
        found = ((places.get(id(one.layer), ""), one.name) for one in node.below())
        return {
            place.removeprefix(prefix): name
            for place, name in found
            if place and place.startswith(prefix)
        }

    def _config(self, node: Node) -> Mapping[str, Any]:
        if id(node) not in self._configs:
            self._configs[id(node)] = plain_config(node.layer)
        return self._configs[id(node)]

    def _inbound(self, node: Node) -> Iterator[str]:
        above = self._paths[id(node)].rpartition("/")[0]
        for layer in node.inbound:
            if layer is node.layer:  # called on its own output
                continue
            path = self._path_of.get(id(layer))
            if path is None:  # an operation of the graph, such as x + y, which is no layer
                path = f"{above}/{layer.name}" if above else str(layer.name)
            yield path
