"""CuDNNLSTM and CuDNNGRU of Keras 2, which are an LSTM and a GRU with weights in another layout.

CuDNN takes each gate's matrix with the outputs first, and Keras 2 kept its numbers in that order
under the shape of its own. The bias tells: it has a part for the inputs and one for the state.

Source: keras 2.2.4 ``engine/saving.py``, ``_convert_rnn_weights``; ``layers/cudnn_recurrent.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from converter.formats.hdf5_assembly import Assembly, Combine
from converter.formats.hdf5_types import Hdf5Dataset
from converter.tensors.dtype import Array, Shape

Weights = Mapping[str, list[tuple[str, str]]]

# What CuDNN computes, in the settings of the layer of today.
_FIXED = {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}
_CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "CuDNNLSTM": ("LSTM", _FIXED),
    "CuDNNGRU": ("GRU", {**_FIXED, "reset_after": True}),
}
_PARTS = ("kernel", "recurrent_kernel", "bias")


def translate_config(text: str) -> str:
    """Return the text of an architecture with the classes of today in place of CuDNN's."""
    if not any(name in text for name in _CLASSES):
        return text
    return json.dumps(_translated(json.loads(text)))


def translate_weights(
    weights: Weights, datasets: Mapping[str, Hdf5Dataset]
) -> tuple[dict[str, list[tuple[str, str]]], dict[str, Assembly], list[str]]:
    """Return the weights with those of CuDNN made into the others' layout.

    Args:
        weights: Layer name to its weights: name as written and path of the dataset.
        datasets: Path to dataset.

    Returns:
        The weights, what they are made of by path, and the names of the layers.
    """
    made: dict[str, Assembly] = {}
    found: list[str] = []
    translated = {}
    for layer, values in weights.items():
        moved: dict[str, str] = {}
        for parts in _triples(values):
            shapes = [datasets[path].shape for path in parts]
            gates = _gates(*shapes)
            if gates is None:
                continue
            found.append(layer)
            moved.update({path: f"{path} of CuDNN" for path in parts})
            for path, combine in zip(parts, _combines(gates), strict=True):
                shape = datasets[path].shape
                if path == parts[2]:
                    shape = (shape[0] // 2,) if gates == 4 else (2, shape[0] // 2)
                made[moved[path]] = Assembly((path,), shape, combine)
        translated[layer] = [(name, moved.get(path, path)) for name, path in values]
    return translated, made, list(dict.fromkeys(found))


def _triples(values: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the paths of kernel, recurrent kernel and bias of each recurrent layer."""
    groups: dict[str, dict[str, str]] = {}
    for name, path in values:
        above, _, own = re.sub(r":\d+$", "", name).rpartition("/")
        groups.setdefault(above, {})[re.sub(r"_\d+$", "", own)] = path
    return [[one[part] for part in _PARTS] for one in groups.values() if set(_PARTS) <= one.keys()]


def _gates(kernel: Shape, recurrent: Shape, bias: Shape) -> int | None:
    """Return the number of gates of a layer of CuDNN; ``None`` for any other."""
    if len(kernel) != 2 or len(recurrent) != 2 or kernel[1] != recurrent[1]:
        return None
    units = recurrent[0]
    gates = next((gates for gates in (3, 4) if recurrent[1] == gates * units), None)
    return gates if units and gates is not None and bias == (2 * gates * units,) else None


def _combines(gates: int) -> tuple[Combine, Combine, Combine]:
    def each(change: Callable[[Array], Array]) -> Combine:
        return lambda arrays: np.hstack([change(one) for one in np.hsplit(arrays[0], gates)])

    def bias(arrays: Sequence[Array]) -> Array:
        halves = arrays[0].reshape(2, -1)
        return halves if gates == 3 else halves[0] + halves[1]

    return each(lambda one: one.reshape(one.shape[::-1]).T), each(lambda one: one.T), bias


def _translated(value: Any) -> Any:
    if isinstance(value, list):
        return [_translated(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: _translated(item) for key, item in value.items()}
    known = _CLASSES.get(str(made.get("class_name")))
    if known is not None and isinstance(made.get("config"), dict):
        made["class_name"], settings = known
        made["config"] = {**made["config"], **settings}
    return made
