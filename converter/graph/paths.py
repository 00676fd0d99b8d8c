"""Which path each layer of a graph has: that under which its checkpoint's manifest names it.

A configuration has names as written, and a manifest has them numbered afresh. Layers of both are
paired by where they are and what they were called; without a manifest the names of the
configuration alone are numbered in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from converter.formats.keras_config import is_layer
from converter.graph.dialects import class_now
from converter.mapping.naming import renumber
from converter.tensors.spec import LayerSpec


class Paths:
    """The path of every layer of one model.

    Args:
        architecture: The architecture.
        layers: Layers of the manifest that belongs to it; empty where there is none.
    """

    def __init__(self, architecture: Mapping[str, Any], layers: Iterable[LayerSpec] = ()) -> None:
        named = dict.fromkeys(_named_layers(architecture))
        self._fresh = dict(zip(named, renumber(named), strict=True))
        self._below: dict[tuple[str, str], str] = {}
        self._anywhere: dict[str, set[str]] = {}
        known: set[str] = set()
        for layer in layers:
            known.add(layer.path)
            above = _above(layer.path, known)
            last = layer.path[len(above) + 1 :] if above else layer.path
            name = layer.config.get("name")
            name = name if isinstance(name, str) else last
            self._below.setdefault((above, name), layer.path)
            self._anywhere.setdefault(name, set()).add(layer.path)

    def of(self, above: str, name: str, class_name: str) -> str:
        """Return the path of a layer.

        Args:
            above: Path of the model or wrapper around it.
            name: Its name, as written.
            class_name: Its class, as written.
        """
        found = self._below.get((above, name))
        if found is not None:
            return found
        shared = self._anywhere.get(name, set())
        if len(shared) == 1 and above:  # a layer of two models, which has one path
            return next(iter(shared))
        fresh = name if self._below else self._fresh.get((name, class_now(class_name)), name)
        return f"{above}/{fresh}" if above else fresh


def _above(path: str, known: set[str]) -> str:
    """Return the longest known path that a path lies below; names may hold slashes themselves."""
    above = path.rpartition("/")[0]
    while above and above not in known:
        above = above.rpartition("/")[0]
    return above


def _named_layers(architecture: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and class of everything in an architecture that has both."""
    waiting: list[Any] = [architecture.get("config")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(reversed(value))
        elif isinstance(value, dict):
            config = value.get("config")
            if is_layer(value) and isinstance(config, dict) and isinstance(config.get("name"), str):
                yield config["name"], class_now(value["class_name"])
            waiting.extend(reversed(value.values()))
