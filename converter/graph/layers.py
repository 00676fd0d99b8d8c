"""One layer of a configuration as a layer of the graph, whatever is in it included.

What a configuration cannot say is named here: a function that is Python code, a class that is not
one of Keras. Such a layer keeps its configuration, and nothing of it is ever looked up or run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from converter.formats.keras_config import is_known, is_layer, is_operation
from converter.graph.connections import MalformedError
from converter.graph.dialects import class_now, config_now, keras_3_defaults
from converter.graph.nodes import OPERATION, Graph, Layer
from converter.graph.paths import Paths

FUNCTIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")

# Classes of Keras 1 and 2 without a class of that name in Keras 3: what they compute is known.
_GONE = frozenset(
    {"Highway", "MaxoutDense", "SReLU", "ParametricSoftplus"}
    | {"LocallyConnected1D", "LocallyConnected2D"}
)
# Of keras.applications, which registers them: x * gamma over the last axis, and x + scale * y.
_REGISTERED = frozenset({"CustomScaleLayer", "LayerScale"})
_HELD = ("layer", "cell", "cells", "backward_layer", "layers")
_MODELS = frozenset({"Functional", "Sequential"})

ReadModel = Callable[[Mapping[str, Any], str], Graph]


@dataclass(frozen=True, slots=True)
class LayerReader:
    """Reads layers of one configuration.

    Attributes:
        generation: Which Keras wrote it.
        data_format: What ``data_format`` means where nothing is written.
        paths: The path of every layer.
        read_model: Reads a nested model, given the path of it.
    """

    generation: int
    data_format: str
    paths: Paths
    read_model: ReadModel

    def read(self, written: Mapping[str, Any], above: str) -> Layer:
        """Return one layer.

        Args:
            written: Its description.
            above: Path of what it is in.

        Raises:
            MalformedError: If it is none.
        """
        class_name, config = str(written["class_name"]), written.get("config")
        name = layer_name(written)
        bare = class_name.rpartition(">")[2]
        path = self.paths.of(above, name, bare)
        if is_model(written):
            return self._model(written, path, class_name)
        if not isinstance(config, dict):
            raise MalformedError(f"layer '{name}': its config is a {type(config).__name__}")
        if is_operation(written):
            own = {key: value for key, value in config.items() if key != "name"}
            return Layer(path, f"{OPERATION}{class_name}", own, class_name)
        if bare in FUNCTIONS:
            why = f"the function {config.get('function', config.get('name'))!r} is not known"
            return Layer(path, bare, config, class_name, untranslatable=why)
        now = class_now(bare)
        why = _untranslatable(written, now)
        if why and now != "Lambda":
            return Layer(path, now, config, class_name, untranslatable=why)
        inside = {key: config[key] for key in _HELD if _describes(config.get(key))}
        own = {key: value for key, value in config.items() if key not in inside}
        own = config_now(bare, own, self.generation, self.data_format)
        inner, parts = self._inside(inside, path)
        return Layer(path, now, own, class_name, inner, parts=parts, untranslatable=why)

    def _model(self, written: Mapping[str, Any], path: str, class_name: str) -> Layer:
        config = written["config"]
        own = {} if isinstance(config, list) else {"name": config.get("name")}
        kind = class_now(class_name)
        kind = kind if kind in _MODELS else "Functional"
        return Layer(path, kind, own, class_name, model=self.read_model(written, path))

    def _inside(
        self, inside: Mapping[str, Any], path: str
    ) -> tuple[Layer | None, dict[str, tuple[Layer, ...]]]:
        parts: dict[str, tuple[Layer, ...]] = {}
        for key, value in inside.items():
            items = value if isinstance(value, list) else [value]
            parts[key] = tuple(self.read(item, path) for item in items)
        inner = parts.pop("layer", None)
        cells = parts.get("cell", ())
        if len(cells) > 1:  # a list of cells is a stack of them
            stacked = Layer(f"{path}/stacked_rnn_cells", "StackedRNNCells", {}, "StackedRNNCells")
            stacked = Layer(
                stacked.path, stacked.class_name, {}, stacked.written_class, parts={"cells": cells}
            )
            parts["cell"] = (stacked,)
        return (inner[0] if inner else None), parts


def layer_name(written: Mapping[str, Any]) -> str:
    """Return the name of a described layer, or what Keras calls an unnamed one."""
    config = written.get("config")
    for holder in (written, config):
        name = holder.get("name") if isinstance(holder, Mapping) else None
        if isinstance(name, str) and name:
            return name
    return str(written.get("class_name", "")).lower()


def is_model(written: Mapping[str, Any]) -> bool:
    """Whether a description is of a model whose graph it holds."""
    config = written.get("config")
    name = class_now(str(written.get("class_name")))
    if isinstance(config, list):
        return name == "Sequential"
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        return False
    return name in _MODELS or "input_layers" in config


def _describes(value: object) -> bool:
    """Whether an entry of a config is a layer or a list of layers."""
    items = value if isinstance(value, list) else [value]
    return bool(items) and all(map(is_layer, items))


def _untranslatable(written: Mapping[str, Any], now: str) -> str:
    if now == "Lambda":
        return "a Lambda is Python code, which is not run"
    if now in _REGISTERED and str(written.get("module", "keras")).startswith("keras"):
        return ""
    known = is_known(written) and (now in keras_3_defaults() or now in _GONE)
    return "" if known else f"the class {now} is not one of Keras"
