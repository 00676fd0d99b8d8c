"""The hard_sigmoid of Keras 1 and 2, which Keras 3 calls by the same name and computes otherwise.

Both are clipped lines: ``0.2 x + 0.5`` before, ``x / 6 + 0.5`` now, so the old one of ``x`` is the
new one of ``1.2 x``. Where ``x`` is linear in weights of the layer, those are scaled by 1.2; the
rest is written as the two layers that compute the old line.

Source: keras 2.2.4 ``backend/tensorflow_backend.py`` and keras 3.15.1
``backend/torch/nn.py``, ``hard_sigmoid``; keras 3.15.1 ``layers/rnn`` for the order of gates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from converter.algebra.base import Operation
from converter.algebra.parts import ScaleParts
from converter.graph.nodes import HARD_SIGMOID_2, Call, Graph, Layer, ValueRef
from converter.tensors.manifest import Manifest
from converter.upgrading.layer_text import name_of

FACTOR = 1.2
NOW = "hard_sigmoid"

# Gates in the order of the last axis: what each is an argument of. "both" is an activation whose
# argument is a state too, which no weights scale.
_CELLS: Mapping[str, tuple[str, ...]] = {
    "LSTM": ("recurrent_activation", "recurrent_activation", "both", "recurrent_activation"),
    "GRU": ("recurrent_activation", "recurrent_activation", "activation"),
    "SimpleRNN": ("activation",),
}
_GATES: Mapping[str, tuple[str, ...]] = {
    **_CELLS,
    **{f"{name}Cell": gates for name, gates in _CELLS.items()},
    **{f"ConvLSTM{axes}D": _CELLS["LSTM"] for axes in (1, 2, 3)},
}
# Layers whose activation is one of a sum of products with these variables.
_LINEAR: Mapping[str, tuple[str, ...]] = {
    "Dense": ("kernel", "bias"),
    "EinsumDense": ("kernel", "bias"),
    **{f"Conv{axes}D": ("kernel", "bias") for axes in (1, 2, 3)},
    **{f"Conv{axes}DTranspose": ("kernel", "bias") for axes in (1, 2, 3)},
    **{f"DepthwiseConv{axes}D": ("kernel", "depthwise_kernel", "bias") for axes in (1, 2)},
    **{f"SeparableConv{axes}D": ("pointwise_kernel", "bias") for axes in (1, 2)},
}
_RECURRENT = ("kernel", "recurrent_kernel", "bias")


@dataclass(slots=True)
class Kept:
    """What keeps the old function.

    Attributes:
        scaled: Tensor name to the operation on it.
        layers: Paths of layers whose weights are scaled.
        spelled: Paths of layers that became two, or whose activation did.
    """

    scaled: dict[str, Operation] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    spelled: list[str] = field(default_factory=list)


def keep_hard_sigmoid(graph: Graph, manifest: Manifest) -> tuple[Graph, Kept]:
    """Return a model whose hard_sigmoid is that of Keras 3 and whose outputs are as before.

    An activation that weights cannot keep stays as it is, to be written as two layers.

    Args:
        graph: The model.
        manifest: Its tensors.
    """
    keeping = _Keeping(manifest)
    return keeping.model(graph), keeping.kept


class _Keeping:
    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self.kept = Kept()

    def model(self, graph: Graph) -> Graph:
        """Return a model, those in it included."""
        graph = replace(graph, layers=tuple(self._layer(one) for one in graph.layers))
        for layer in graph.layers:
            if _is_old(layer.inner if layer.class_name == "TimeDistributed" else layer):
                graph = _spelled(graph, layer)
                self.kept.spelled.append(layer.path)
        return graph

    def _layer(self, layer: Layer) -> Layer:
        if layer.model is not None:
            return replace(layer, model=self.model(layer.model))
        if layer.inner is not None and layer.inner.model is not None:
            return replace(layer, inner=self._layer(layer.inner))
        found = list(_computing(layer))
        if not any(HARD_SIGMOID_2 in one.config.values() for one in found):
            return layer
        scalings = {_scaling(one) for one in found}
        scaling = scalings.pop()
        if scaling is None or scalings:  # of two halves that differ, no name tells which is which
            if not _is_old(found[0]):
                self.kept.spelled.append(layer.path)
            return layer
        factors, variables = scaling
        for name in self._manifest.tensors:
            if name.startswith(f"{layer.path}/") and name.rpartition("/")[2] in variables:
                self.kept.scaled[name] = ScaleParts(factors)
        self.kept.layers.append(layer.path)
        return _renamed(layer)


def _is_old(layer: Layer | None) -> bool:
    """Whether a layer is an activation and nothing else, and the old one."""
    if layer is None or layer.class_name != "Activation":
        return False
    return bool(layer.config.get("activation") == HARD_SIGMOID_2)


def _computing(layer: Layer) -> Iterator[Layer]:
    """Yield the layers that have the weights of a layer: its own, or those inside a wrapper."""
    below = [] if layer.inner is None else [layer.inner]
    below += [part for parts in layer.parts.values() for part in parts]
    if not below:
        yield layer
    for one in below:
        yield from _computing(one)


def _scaling(layer: Layer) -> tuple[tuple[float, ...], tuple[str, ...]] | None:
    """Return the factor of each gate and the variables that have them, where that is enough."""
    old = {key for key, value in layer.config.items() if value == HARD_SIGMOID_2}
    gates = _GATES.get(layer.class_name)
    if gates is None:
        variables = _LINEAR.get(layer.class_name)
        return None if variables is None else ((FACTOR,), variables)
    if "both" in gates and "activation" in old:
        return None
    return tuple(FACTOR if gate in old else 1.0 for gate in gates), _RECURRENT


def _renamed(layer: Layer) -> Layer:
    """Return a layer, and those inside it, with the new activation in place of the old."""
    config = {key: NOW if one == HARD_SIGMOID_2 else one for key, one in layer.config.items()}
    inner = None if layer.inner is None else _renamed(layer.inner)
    parts = {key: tuple(map(_renamed, some)) for key, some in layer.parts.items()}
    return replace(layer, config=config, inner=inner, parts=parts)


def _spelled(graph: Graph, layer: Layer) -> Graph:
    """Return a model in which an activation is the line and then the clipping."""
    taken = {name_of(one) for one in graph.layers}
    name, count = f"{name_of(layer)}_line", 0
    while name in taken:
        count += 1
        name = f"{name_of(layer)}_line_{count}"
    basics = {key: layer.config[key] for key in ("dtype", "trainable") if key in layer.config}
    path = f"{layer.path.rpartition('/')[0]}/{name}".lstrip("/")
    line = Layer(path, "Rescaling", {**basics, "name": name, "scale": 0.2, "offset": 0.5})
    clipped: dict[str, Any] = {"max_value": 1.0, "negative_slope": 0.0, "threshold": 0.0}
    clip = Layer(layer.path, "ReLU", {**basics, "name": name_of(layer), **clipped})
    layers: list[Layer] = []
    for one in graph.layers:
        layers += [line, clip] if one.path == layer.path else [one]
    calls: list[Call] = []
    for call in graph.calls:
        if call.layer == layer.path:
            before = replace(call, name=f"{path}{call.name[len(layer.path) :]}", layer=path)
            calls += [before, replace(call, arguments=(ValueRef(before.name),), keywords={})]
        else:
            calls.append(call)
    return replace(graph, layers=tuple(layers), calls=tuple(calls))
