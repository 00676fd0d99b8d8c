"""A graph as the text of ``config.json`` of Keras 3.15, with the place of every layer.

Layers are written in the order in which Keras 3 itself has them, names as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.formats.keras_config import numbered_keys
from converter.graph.nodes import OPERATION, Graph, Layer
from converter.upgrading.call_text import Nodes
from converter.upgrading.layer_text import LayerText, Left, RefusedError, name_of
from converter.upgrading.order import in_keras_order, unused
from converter.upgrading.words import described, policy

SEQUENTIAL = "Sequential"
FUNCTIONAL = "Functional"
_PYTHON_NAMES = {"GroupQueryAttention": "GroupedQueryAttention"}


@dataclass(frozen=True, slots=True)
class Placed:
    """One layer of the new file.

    Attributes:
        path: Its path in the graph.
        class_name: Its class.
        config: Its configuration as written.
        place: Its group in the weights file.
        name: Its name as written.
        is_model: Whether its weights are those of the layers in it.
    """

    path: str
    class_name: str
    config: Mapping[str, Any]
    place: str
    name: str
    is_model: bool = False


@dataclass(slots=True)
class ModelText:
    """What became of a graph.

    Attributes:
        described: The model as Keras 3 describes it; only complete where nothing is refused.
        placed: Every layer, in the order of the weights file.
        refused: Path of a layer to the reason why Keras 3 cannot be told of it.
        renamed: Name of a layer to the name that Keras 3 allows.
        unused: Layers that no output needs.
        left: What only training needs and was left out.
    """

    described: dict[str, Any] = field(default_factory=dict)
    placed: list[Placed] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    unused: list[Layer] = field(default_factory=list)
    left: Left = field(default_factory=Left)


def write_model(graph: Graph) -> ModelText:
    """Return a model as Keras 3 describes it."""
    text = ModelText()
    writer = _Writer(text, graph.generation)
    text.described = writer.model(graph, graph.name, "")
    return text


class _Writer:
    """Describes one model and those in it."""

    def __init__(self, text: ModelText, generation: int) -> None:
        self._text = text
        self._layers = LayerText(generation, self._nested, text.left)

    def model(self, graph: Graph, name: str, place: str) -> dict[str, Any]:
        """Return a model and note the places of its layers.

        Args:
            graph: The model.
            name: What it is called.
            place: Its group in the weights file; empty for the outermost.
        """
        ordered = graph if graph.class_name == SEQUENTIAL else in_keras_order(graph)
        self._text.unused.extend(unused(graph, ordered))
        names = self._names(ordered)
        kept = [layer for layer in ordered.layers if _has_group(layer, graph)]
        keys = numbered_keys(_PYTHON_NAMES.get(one.class_name, one.class_name) for one in kept)
        above = f"{place}/layers" if place else "layers"
        places = {layer.path: f"{above}/{key}" for layer, key in zip(kept, keys, strict=True)}
        layers = [
            self._layer(one, names[one.path], places.get(one.path, "")) for one in ordered.layers
        ]
        config = {"name": name, "trainable": True}
        if graph.class_name == SEQUENTIAL:
            config |= {"dtype": policy("float32"), "layers": layers}
            return described("keras", SEQUENTIAL, config)
        nodes = Nodes(ordered, names)
        for layer, entry in zip(ordered.layers, layers, strict=True):
            entry["name"] = names[layer.path]
            try:
                entry["inbound_nodes"] = nodes.of(layer)
            except RefusedError as error:
                self._text.refused.setdefault(layer.path, str(error))
        config |= {"layers": layers, **nodes.ends()}
        made = described("keras.src.models.functional", FUNCTIONAL, config)
        return {**made, "registered_name": FUNCTIONAL}

    def _layer(self, layer: Layer, name: str, place: str) -> dict[str, Any]:
        mark = len(self._text.placed)
        try:
            made = self._layers.describe(layer, name, place)
        except RefusedError as error:
            self._text.refused[layer.path] = str(error)
            return {}
        if place:
            holds = layer.model is not None or len(self._text.placed) > mark
            one = Placed(layer.path, layer.class_name, made["config"], place, name, is_model=holds)
            self._text.placed.insert(mark, one)
        return made

    def _nested(self, layer: Layer, name: str, place: str) -> dict[str, Any]:
        if layer.model is None:
            raise RefusedError("it is no model")
        return self.model(layer.model, name, place)

    def _names(self, graph: Graph) -> dict[str, str]:
        """Return the name of each layer; Keras 3 allows no slash in one."""
        names: dict[str, str] = {}
        taken = {name_of(layer) for layer in graph.layers}
        for layer in graph.layers:
            name = fresh = name_of(layer)
            if "/" in name:
                fresh, count = name.replace("/", "_"), 0
                while fresh in taken:
                    count += 1
                    fresh = f"{name.replace('/', '_')}_{count}"
                taken.add(fresh)
                self._text.renamed[name] = fresh
            names[layer.path] = fresh
        return names


def _has_group(layer: Layer, graph: Graph) -> bool:
    if layer.class_name.startswith(OPERATION):
        return False
    return graph.class_name != SEQUENTIAL or layer.class_name != "InputLayer"
