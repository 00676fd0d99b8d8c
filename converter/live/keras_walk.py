"""The layers of a live Keras model: which there are, in which order, and what feeds what.

The order is that of ``get_weights()``: a layer's own variables, trainable before the others as
they were created, then its layers depth-first in the order in which Keras tracks them. Freezing
a layer does not move anything.

Source: keras 3.15.1, keras/src/layers/layer.py, ``Layer.weights``; the same since 3.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any


@dataclass(eq=False, slots=True)
class Node:
    """One layer.

    Attributes:
        layer: The object.
        name: Its own name.
        class_name: Its class.
        own: Variables that it holds directly and no layer before it does.
        children: Layers below it, each under the first place that reaches it.
        inbound: Layers and operations (``x + y``) whose outputs it takes, in order.
        is_known_class: Whether the class is one of Keras or KerasHub, not of the same name.
    """

    layer: Any
    name: str
    class_name: str
    own: list[Any] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)
    inbound: list[Any] = field(default_factory=list)
    is_known_class: bool = True

    def below(self) -> Iterator[Node]:
        """Yield every node below this one, parents before children."""
        for child in self.children:
            yield child
            yield from child.below()

    def variables(self) -> Iterator[Any]:
        """Yield the variables of this node and all below it, in ``get_weights()`` order."""
        yield from self.own
        for child in self.children:
            yield from child.variables()


def walk(model: Any) -> Node:
    """Return the tree of a model.

    A bare layer is put below an empty root, so that it has a path like any other.
    """
    walker = _Walker()
    if is_model(model):
        return walker.node(model)
    return Node(None, "", "", children=[walker.node(model)])


def is_model(layer: Any) -> bool:
    """Whether a layer is a model.

    Source: keras 3.6 to 3.15.1, keras/src/models/model.py.
    """
    return any(
        base.__module__ == "keras.src.models.model" and base.__name__ == "Model"
        for base in type(layer).__mro__
    )


def plain_config(layer: Any) -> dict[str, Any]:
    """Return a layer's configuration as ``config.json`` would hold it; empty where it has none.

    Models are left without their layers, which have configurations of their own.
    """
    from keras.saving import serialize_keras_object

    try:
        config = serialize_keras_object(layer).get("config") or {}
        plain: dict[str, Any] = json.loads(json.dumps(config))
    except Exception:  # a user's get_config may raise anything; the weights do not depend on it
        return {}
    if is_model(layer):
        plain.pop("layers", None)
    return plain


class _Walker:
    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._variables: set[int] = set()

    def node(self, layer: Any) -> Node:
        self._seen.add(id(layer))
        kind = type(layer)
        node = Node(layer, str(layer.name), kind.__name__)
        node.is_known_class = kind.__module__.split(".", maxsplit=1)[0] in {"keras", "keras_hub"}
        for variable in own_variables(layer):
            if id(variable) not in self._variables:
                self._variables.add(id(variable))
                node.own.append(variable)
        for child in layer._layers:  # noqa: SLF001 -- the list that Layer.weights follows
            if id(child) not in self._seen:
                node.children.append(self.node(child))
        _set_inbound(layer, node.children)
        return node


def own_variables(layer: Any) -> list[Any]:
    """Return the variables that a layer holds directly, in the order of ``get_weights()``."""
    trainable, other = layer._trainable_variables, layer._non_trainable_variables  # noqa: SLF001 -- no public list
    return [*trainable, *other]


def _set_inbound(model: Any, children: list[Node]) -> None:
    graph = getattr(model, "_functional", None) or model
    by_depth = getattr(graph, "_nodes_by_depth", None)
    if by_depth is None:
        if hasattr(model, "_functional"):  # a Sequential model that has seen no input yet
            for before, after in pairwise(children):
                after.inbound = [before.layer]
        return
    nodes = {id(child.layer): child for child in children}
    # Kept by identity: a layer that is called twice takes from both places.
    for call in sorted(chain(*by_depth.values()), key=_call_index):
        node = nodes.get(id(call.operation))
        if node is not None:
            # The only link from a tensor to the layer that made it.
            made_by = [one._keras_history.operation for one in call.input_tensors]  # noqa: SLF001
            node.inbound = list(dict.fromkeys([*node.inbound, *made_by]))


def _call_index(call: Any) -> int:
    index: int = call.operation._inbound_nodes.index(call)  # noqa: SLF001 -- the order of calls
    return index
