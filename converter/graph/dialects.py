"""One layer of any Keras in the words of Keras 3.15: its class and a complete configuration.

Names and defaults are data: ``dialects.toml`` for what earlier versions wrote otherwise,
``keras_3_defaults.json`` for what Keras 3.15 means by an entry that is not there.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from converter.formats.keras_1_facts import DATA_FORMATS, SIZES
from converter.graph.nodes import HARD_SIGMOID_2

REQUIRED = "<required>"

_ACTIVATIONS = ("activation", "recurrent_activation")
_PER_AXIS = ("kernel_size", "strides", "dilation_rate", "pool_size", "size", "output_padding")
_POOLED = re.compile(r"(Max|Average)Pooling[123]D")


@cache
def dialects() -> Mapping[str, Any]:
    """Return what earlier versions wrote otherwise."""
    text = resources.files("converter.graph").joinpath("dialects.toml").read_text("utf-8")
    return tomllib.loads(text)


@cache
def keras_3_defaults() -> Mapping[str, Mapping[str, Any]]:
    """Return the arguments of every class of Keras 3.15 and their defaults."""
    place = resources.files("converter.graph").joinpath("keras_3_defaults.json")
    found: dict[str, dict[str, Any]] = json.loads(place.read_text("utf-8"))
    return found


def class_now(class_name: str) -> str:
    """Return what Keras 3 calls a class.

    Examples:
        >>> class_now("CuDNNLSTM"), class_now("MyPackage>Stem")
        ('LSTM', 'Stem')
    """
    name = class_name.rpartition(">")[2]
    return str(dialects()["classes"].get(name, name))


def config_now(
    class_name: str, config: Mapping[str, Any], generation: int, data_format: str
) -> dict[str, Any]:
    """Return the complete configuration of a layer of Keras' own under today's names.

    Args:
        class_name: The class as written, without its package.
        config: The configuration as written.
        generation: Which Keras wrote it: 1, 2 or 3.
        data_format: What ``data_format`` means where nothing is written.

    Examples:
        >>> now = config_now("LeakyReLU", {"alpha": 0.2}, 2, "channels_last")
        >>> now["negative_slope"]
        0.2
    """
    table, now = dialects(), class_now(class_name)
    made = _renamed(now, config, table)
    made.update(table["implied"].get(class_name, {}))
    own = keras_3_defaults().get(now, {})
    for key in table["settings"]["dropped"] if generation < 3 else ():
        if key not in own:
            made.pop(key, None)
    defaults = {key: value for key, value in own.items() if value != REQUIRED}
    for older in range(2, generation - 1, -1):
        defaults.update(table["missing"].get(str(older), {}).get(now, {}))
    made = {**defaults, **made}
    if "data_format" in made and made["data_format"] not in ("channels_last", "channels_first"):
        made["data_format"] = data_format
    for key in _ACTIVATIONS:
        if key in made:
            made[key] = activation_now(made[key], generation)
    made["dtype"] = policy_name(made.get("dtype"))
    _spread(now, made)
    return made


def activation_now(value: Any, generation: int) -> Any:
    """Return an activation under today's name; a configuration of a layer stays as it is.

    Examples:
        >>> activation_now("swish", 2), activation_now("hard_sigmoid", 2), activation_now(None, 3)
        ('silu', 'hard_sigmoid_keras_2', 'linear')
    """
    if value is None:
        return "linear"
    if isinstance(value, dict) and value.get("class_name") == "function":
        named = value.get("config")
        module = value.get("module")
        if isinstance(named, str) and (module is None or str(module).startswith("keras")):
            value = named
    if not isinstance(value, str):
        return value
    if value == "hard_sigmoid" and generation < 3:
        return HARD_SIGMOID_2
    return dialects()["activations"].get(value, value)


def policy_name(value: Any) -> str:
    """Return the name of a dtype policy, which is the dtype unless precision is mixed.

    Examples:
        >>> policy_name({"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}})
        'mixed_float16'
    """
    if isinstance(value, dict):
        config = value.get("config")
        value = config.get("name", config.get("source_name")) if isinstance(config, dict) else None
    return value if isinstance(value, str) else "float32"


def _renamed(now: str, config: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    names = {**table["entries"], **table["entries_of"].get(now, {})}
    own = keras_3_defaults().get(now, {})
    made: dict[str, Any] = {}
    for key, value in config.items():
        fresh = key if key in own else names.get(key, key)
        if fresh == key or fresh not in config:
            made[fresh] = value
    for sizes in SIZES:
        if set(sizes) <= config.keys():
            made.setdefault("kernel_size", [config[size] for size in sizes])
    order = config.get("dim_ordering")
    if isinstance(order, str) and order in DATA_FORMATS:
        made.setdefault("data_format", DATA_FORMATS[order])
    return made


def _spread(now: str, made: dict[str, Any]) -> None:
    """Write sizes per axis as lists of one entry an axis, and settings in their one form."""
    axes = re.search(r"([123])D", now)
    if axes is not None and now != "Cropping1D":
        count = int(axes[1])
        if _POOLED.fullmatch(now) and made.get("strides") is None:
            made["strides"] = made.get("pool_size")
        for key in _PER_AXIS:
            if type(made.get(key)) is int:
                made[key] = [made[key]] * count
    if now.startswith(("Cropping", "ZeroPadding")):
        key = "cropping" if now.startswith("Cropping") else "padding"
        made[key] = _pairs(made.get(key), int(axes[1]) if axes is not None else 1)
    axis = made.get("axis")
    if now == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        made["axis"] = axis[0]
    if now == "ReLU" and made.get("negative_slope") is None:
        made["negative_slope"] = 0.0
    if "unit_forget_bias" in made:
        made["unit_forget_bias"] = made["unit_forget_bias"] not in (False, "zero")


def _pairs(value: Any, axes: int) -> Any:
    """Return padding as a pair before and after, for each axis."""
    if type(value) is int:
        return [[value, value]] * axes
    if not isinstance(value, list):
        return value
    if axes == 1 and len(value) == 2 and all(type(one) is int for one in value):
        return [value]
    return [[one, one] if type(one) is int else one for one in value]
