"""The architecture in a Keras configuration, as data: layers, classes, what feeds what.

``config.json``, the attribute ``model_config`` and the JSON that ``to_json`` writes have one shape
with small differences between Keras 1, 2 and 3. They are parsed and never deserialised: no module,
function or code that they name is looked up. A layer of a class that nobody knows is a leaf with
its configuration.

Source: keras 3.15.1 ``models/functional.py`` and ``models/sequential.py``, ``get_config``;
tf_keras 2.21 ``engine/functional.py``, ``get_network_config``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from converter.errors import UnsupportedFileError
from converter.formats.strict_json import strict_json
from converter.formats.wording import cannot_read, quoted
from converter.mapping.naming import snake_case

MODEL_CLASSES = frozenset({"Functional", "Model", "Sequential"})
_OPERATION_MODULES = ("keras.src.ops", "keras.ops")
_KNOWN_PACKAGES = frozenset({"keras", "keras_hub", "keras_nlp", "keras_cv", "tf_keras"})

# Classes whose public name, which the configuration has, is not the one in Python, which groups
# and automatic names are made of. Source: keras 3.15.1, all of keras.layers looked at.
_PYTHON_NAMES = {"GroupQueryAttention": "GroupedQueryAttention"}

_MAX_NESTING = 32


@dataclass(frozen=True, slots=True)
class ConfigLayer:
    """One layer of an architecture.

    Attributes:
        name: Its name; empty where the configuration has none.
        class_name: Its Keras class.
        config: Its configuration, as written.
        inbound: Names of the layers beside it whose outputs it takes, in order.
        layers: The layers of a model, in its order.
        parts: Layers in the configuration of a layer (``layer`` of a wrapper, ``cell`` of an RNN,
            ``cells`` of stacked cells), by key.
        is_model: Whether it is a Functional or Sequential model, also a subclassed one.
        is_known_class: Whether the class is one of Keras, not a stranger of the same name.
    """

    name: str
    class_name: str
    config: Mapping[str, Any]
    inbound: tuple[str, ...] = ()
    layers: tuple[ConfigLayer, ...] = ()
    parts: Mapping[str, tuple[ConfigLayer, ...]] = field(default_factory=dict)
    is_model: bool = False
    is_known_class: bool = True


def parse_architecture(data: bytes, *, what: str, path: Path) -> ConfigLayer:
    """Parse the text of a Keras configuration.

    Args:
        data: The text, UTF-8.
        what: What it is, for messages (``"config.json"``).
        path: The file that it comes from, for messages.

    Raises:
        CorruptFileError: If it is not JSON.
        UnsupportedFileError: If it is JSON but no Keras architecture.
    """
    return _layer(read_architecture(data, what=what, path=path), 0)


def read_architecture(data: bytes, *, what: str, path: Path) -> dict[str, Any]:
    """Return the text of a Keras configuration as what JSON means by it.

    Args:
        data: The text, UTF-8.
        what: What it is, for messages.
        path: The file that it comes from, for messages.

    Raises:
        CorruptFileError: If it is not JSON.
        UnsupportedFileError: If it is JSON but no Keras architecture.
    """
    value = strict_json(data, what=what, path=path)
    if isinstance(value, dict) and isinstance(value.get("model_config"), dict):
        value = value["model_config"]
    if not isinstance(value, dict) or not is_layer(value):
        raise UnsupportedFileError(
            cannot_read(path, f"{what} is not a Keras architecture"),
            facts=[("expected", "an object with class_name and config")],
        )
    return value


def store_keys(layers: tuple[ConfigLayer, ...]) -> list[str]:
    """Return the groups of a weights file that hold these layers, which are beside each other.

    Source: keras 3.15.1 ``saving_lib._save_container_state``: snake case of the class, and a
    counter per container; layers that are stored elsewhere count as well.

    Examples:
        >>> dense = ConfigLayer("a", "Dense", {})
        >>> store_keys((dense, ConfigLayer("b", "ReLU", {}), dense))
        ['dense', 're_lu', 'dense_1']
    """
    return numbered_keys(layer.class_name for layer in layers)


def numbered_keys(class_names: Iterable[str]) -> list[str]:
    """Return the groups of a list of layers of these classes."""
    used: dict[str, int] = {}
    keys = []
    for class_name in class_names:
        base = snake_case(class_name)
        count = used.get(base, -1) + 1
        used[base] = count
        keys.append(f"{base}_{count}" if count else base)
    return keys


def is_layer(value: object) -> bool:
    """Whether it describes a layer: an object with a class and a config."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("class_name"), str)
        and isinstance(value.get("config"), dict | list)
    )


def _is_named_layer(value: object) -> bool:
    if not isinstance(value, dict) or not is_layer(value):
        return False
    config = value["config"]
    return isinstance(config, dict) and isinstance(config.get("name"), str)


def _layer(value: dict[str, Any], depth: int) -> ConfigLayer:
    class_name = value["class_name"].rpartition(">")[2]  # "Package>Class" of registered classes
    class_name = _PYTHON_NAMES.get(class_name, class_name)
    raw = value["config"]
    config: dict[str, Any] = {"layers": raw} if isinstance(raw, list) else raw
    name = config.get("name", value.get("name"))
    listed = config.get("layers")
    is_model = isinstance(listed, list) and all(map(is_layer, listed))
    is_model = is_model and (class_name in MODEL_CLASSES or "input_layers" in config)
    layers: tuple[ConfigLayer, ...] = ()
    parts: dict[str, tuple[ConfigLayer, ...]] = {}
    if depth < _MAX_NESTING:
        if is_model and isinstance(listed, list):
            layers = _model_layers(class_name, config, listed, depth + 1)
        else:
            parts = _parts(config, depth + 1)
    return ConfigLayer(
        name if isinstance(name, str) else "",
        class_name,
        config,
        _inbound(value.get("inbound_nodes")),
        layers,
        parts,
        is_model,
        is_known(value),
    )


def _model_layers(
    class_name: str, config: Mapping[str, Any], listed: list[dict[str, Any]], depth: int
) -> tuple[ConfigLayer, ...]:
    layers = tuple(_layer(item, depth) for item in listed if not is_operation(item))
    if class_name != "Sequential" and "input_layers" in config:
        return layers
    return tuple(_in_sequence(layers))


def _in_sequence(layers: tuple[ConfigLayer, ...]) -> Iterator[ConfigLayer]:
    """Yield the layers of a Sequential, each fed by the one before it."""
    before = ""
    for layer in layers:
        shape = layer.config.get("batch_input_shape")
        if not before and shape is not None and layer.class_name != "InputLayer":
            before = f"{layer.name}_input"
            yield ConfigLayer(before, "InputLayer", {"name": before, "batch_input_shape": shape})
        yield replace(layer, inbound=(before,) if before else ())
        before = layer.name


def is_known(value: Mapping[str, Any]) -> bool:
    """Whether the class comes from Keras; Keras 1 and 2 do not say."""
    module = value.get("module")
    registered = value.get("registered_name")
    if isinstance(registered, str) and registered not in ("", value["class_name"]):
        return registered.startswith("keras")
    return not isinstance(module, str) or module.split(".")[0] in _KNOWN_PACKAGES


def is_operation(item: Mapping[str, Any]) -> bool:
    """Whether it is a function call in the graph: part of ``operations``, not of ``layers``."""
    module = item.get("module")
    return isinstance(module, str) and module.startswith(_OPERATION_MODULES)


def _parts(config: Mapping[str, Any], depth: int) -> dict[str, tuple[ConfigLayer, ...]]:
    parts = {}
    for key, value in config.items():
        items = value if isinstance(value, list) else [value]
        if key != "dtype" and items and all(map(_is_named_layer, items)):
            parts[key] = tuple(_layer(item, depth) for item in items)
    return parts


def _inbound(nodes: object) -> tuple[str, ...]:
    """Return the names of the layers in ``inbound_nodes``, of whichever Keras."""
    found: dict[str, None] = {}
    waiting = [nodes]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            if _is_reference(value):
                found[value[0]] = None
                waiting.extend(reversed(value[3:]))
            else:
                waiting.extend(reversed(value))
        elif isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                history = value.get("config", {})
                history = history.get("keras_history") if isinstance(history, dict) else None
                if isinstance(history, list) and history and isinstance(history[0], str):
                    found[history[0]] = None
            else:
                waiting.extend(reversed(value.values()))
    return tuple(found)


def _is_reference(value: list[Any]) -> bool:
    """Whether it is ``[layer name, node index, tensor index, ...]`` of Keras 1 and 2."""
    return (
        len(value) >= 3
        and isinstance(value[0], str)
        and type(value[1]) is int
        and type(value[2]) is int
    )


def missing_architecture(path: Path, why: str) -> str:
    """Return the notice about a configuration that was left out."""
    return f"the architecture in {quoted(path.name)} was left out: {why}"
