"""The architecture of a Keras 1 model in the words of Keras 3: classes, settings, automatic names.

The text is changed and then parsed like any other. A model that is the first layer of a Sequential
one is dissolved into it, as Keras 1 did when it saved weights.

Source: keras 1.2.2 ``models.py``, ``Sequential.flattened_layers`` and ``get_config``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from converter.formats.keras_1_facts import (
    CLASSES,
    DATA_FORMATS,
    MERGES,
    RECIPES,
    SETTINGS,
    SIZES,
    WEIGHTLESS,
    WITH_UNITS,
    WRAPPERS,
)
from converter.formats.strict_json import strict_json
from converter.mapping.naming import snake_case

_REFERENCES = ("inbound_nodes", "input_layers", "output_layers")


def class_now(class_name: str) -> str:
    """Return what a class of Keras 1 is called now.

    Examples:
        >>> class_now("AtrousConvolution2D"), class_now("Dense")
        ('Conv2D', 'Dense')
    """
    return CLASSES.get(class_name, class_name)


def class_of_automatic(name: str) -> str | None:
    """Return the class whose unnamed layers Keras 1 called so.

    Examples:
        >>> class_of_automatic("batchnormalization_3"), class_of_automatic("stem_1")
        ('BatchNormalization', None)
    """
    found = re.fullmatch(r"([a-z0-9]+)_\d+", name)
    return _automatic().get(found[1]) if found else None


@cache
def _automatic() -> dict[str, str]:
    old = (*CLASSES, *RECIPES, *WEIGHTLESS, *WRAPPERS)
    return {one.lower(): class_now(one) for one in old}


def names_now(names: Iterable[str]) -> dict[str, str]:
    """Return automatic names of Keras 1 that Keras 3 writes otherwise, and how.

    Examples:
        >>> names_now(["convolution2d_2", "dense_1", "head"])
        {'convolution2d_2': 'conv2d_2'}
    """
    names = list(names)
    found: dict[str, str] = {}
    for name in names:
        class_name = class_of_automatic(name)
        if class_name is None:
            continue
        fresh = f"{snake_case(class_name)}_{name.rpartition('_')[2]}"
        if fresh != name and fresh not in names and fresh not in found.values():
            found[name] = fresh
    return found


def upgrade(text: str, path: Path) -> str:
    """Return the text of an architecture as Keras 3 would say it, as far as weights need it.

    Args:
        text: The JSON.
        path: The file, for messages.

    Raises:
        CorruptFileError: If it is not JSON.
    """
    value = strict_json(text.encode(), what="the architecture", path=path)
    if isinstance(value, dict) and isinstance(value.get("model_config"), dict):
        value = value["model_config"]
    fresh = names_now(dict.fromkeys(_layer_names(value)))
    text = json.dumps(_layer(value, fresh))
    made = json.loads(text)
    if '"dim_ordering": "th"' in text:
        _say_order(made)
    return json.dumps(made)


def _say_order(value: Any) -> None:
    """Let every Flatten say that channels come first, as each said in Keras 1 by being there."""
    if isinstance(value, list):
        for item in value:
            _say_order(item)
    elif isinstance(value, dict):
        if value.get("class_name") == "Flatten" and isinstance(value.get("config"), dict):
            value["config"].setdefault("data_format", DATA_FORMATS["th"])
        for item in value.values():
            _say_order(item)


def _layer_names(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _layer_names(item)
    elif isinstance(value, dict):
        if "class_name" in value and isinstance(value.get("config"), dict):
            name = value["config"].get("name")
            if isinstance(name, str):
                yield name
        for item in value.values():
            yield from _layer_names(item)


def _layer(value: Any, fresh: Mapping[str, str]) -> Any:
    """Return one described layer, or whatever else stands in its place, with all that is in it."""
    if not isinstance(value, dict) or not isinstance(value.get("class_name"), str):
        return value
    class_name, config = value["class_name"], value.get("config")
    if isinstance(config, list):
        config = _dissolved([_layer(item, fresh) for item in config])
    elif isinstance(config, dict):
        config = _config(class_name, config, fresh)
    made = {**value, "class_name": class_now(class_name), "config": config}
    if class_name == "Merge" and isinstance(config, dict):
        made["class_name"] = MERGES.get(str(config.get("mode")), class_name)
    for key in ("name", *_REFERENCES):
        if key in made:
            made[key] = _referred(made[key], fresh)
    return made


def _config(class_name: str, config: Mapping[str, Any], fresh: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in config.items():
        if key in _REFERENCES or key == "name":
            made[key] = _referred(value, fresh)
        elif isinstance(value, list):
            made[key] = [_layer(item, fresh) for item in value]
        else:
            made[key] = _layer(value, fresh)
    for old, new in SETTINGS.items():
        if old in made and new not in made:
            made[new] = made[old]
    for sizes in SIZES:
        if set(sizes) <= made.keys():
            made.setdefault("kernel_size", [made[size] for size in sizes])
    if class_now(class_name) in WITH_UNITS and "output_dim" in made:
        made.setdefault("units", made["output_dim"])
    order = made.get("dim_ordering")
    if isinstance(order, str) and order in DATA_FORMATS:
        made.setdefault("data_format", DATA_FORMATS[order])
    return made


def _dissolved(layers: list[Any]) -> list[Any]:
    """Return the layers of a Sequential model with those of a model that comes first."""
    if not layers or not isinstance(layers[0], dict):
        return layers
    config = layers[0].get("config")
    if layers[0].get("class_name") == "Sequential" and isinstance(config, list):
        return [*config, *layers[1:]]
    return layers


def _referred(value: Any, fresh: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return fresh.get(value, value)
    if isinstance(value, list):
        return [_referred(item, fresh) for item in value]
    return value
