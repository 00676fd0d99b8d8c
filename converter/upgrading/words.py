"""Which words Keras 3.15 understands in a configuration, and the objects made of them.

The words are data, recorded from Keras itself (``keras_3_words.json``). What only starts or
restrains training is translated where Keras 3 has it and left out where it does not: no output
depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

_STARTS = {
    "initializer": "initializers",
    "regularizer": "regularizers",
    "constraint": "constraints",
}

# What marks an object in a configuration of any Keras 3.
_OBJECT = frozenset({"class_name", "module", "registered_name"})


@cache
def words() -> Mapping[str, Any]:
    """Return the words, by kind."""
    place = resources.files("converter.upgrading").joinpath("keras_3_words.json")
    found: dict[str, Any] = json.loads(place.read_text("utf-8"))
    return found


def described(module: str, class_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object as Keras 3 describes it.

    Examples:
        >>> described("keras.initializers", "Zeros", {})["registered_name"] is None
        True
    """
    return {
        "module": module,
        "class_name": class_name,
        "config": dict(config),
        "registered_name": None,
    }


def is_object(value: Mapping[str, Any]) -> bool:
    """Whether a dict names a class: Keras would make an object of it."""
    return not _OBJECT.isdisjoint(value)


def is_data(value: Any) -> bool:
    """Whether a value is numbers, texts, truth values, nothing, or lists and dicts of them.

    A dict that names a class is an object, which Keras makes when it opens the file: by calling
    what the source says. Those that this package writes are made of its own words.

    Examples:
        >>> is_data([1, {"a": None}]), is_data({"module": "os", "class_name": "system"})
        (True, False)
    """
    if isinstance(value, Mapping):
        return not is_object(value) and all(map(is_data, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_data, value))
    return value is None or isinstance(value, bool | int | float | str)


def policy(name: str) -> dict[str, Any]:
    """Return a dtype policy as Keras 3 describes it."""
    return described("keras", "DTypePolicy", {"name": name})


def training_entry(key: str, value: Any) -> dict[str, Any] | None:
    """Return an initializer, regularizer or constraint as Keras 3 describes it.

    Args:
        key: The entry of the layer's configuration (``kernel_initializer``).
        value: What it holds, in the words of whichever Keras.

    Returns:
        ``None`` where Keras 3 has none such: a class of somebody's own.

    Examples:
        >>> training_entry("bias_initializer", "zeros")["class_name"]
        'Zeros'
        >>> training_entry("bias_initializer", "my_own") is None
        True
    """
    kind = _STARTS[key.rpartition("_")[2]]
    config: Any = {}
    if isinstance(value, Mapping):
        value, config = value.get("class_name"), value.get("config")
    if not isinstance(value, str) or not isinstance(config, Mapping):
        return None
    # Keras 3.6 wrote OrthogonalInitializer, Keras 2 orthogonal.
    wanted = value.rpartition(">")[2].replace("_", "").lower().removesuffix("initializer")
    known = words()[kind]
    class_name = next((name for name in known if name.lower() == wanted), None)
    if class_name is None:
        return None
    own = {
        name: one
        for name, one in config.items()
        if name in known[class_name] and one is not None and is_data(one)
    }
    return described(f"keras.{kind}", class_name, own)
