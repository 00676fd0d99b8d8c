"""The layers inside a layer of the catalogue, told from the canonical paths of its variables.

A legacy file has no group for an LSTM's cell or an attention's projections, but mappings may name
them, as they may from every other file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from converter.formats.keras_evidence import class_of_name
from converter.formats.keras_layers import ATTENTIONS, CELLS
from converter.mapping.catalogue import Catalogue
from converter.tensors.spec import LayerSpec


def sub_layers(
    catalogue: Catalogue, layer: LayerSpec, tensors: Mapping[str, str]
) -> Iterator[LayerSpec]:
    """Yield the layers below one, parents before children.

    Args:
        catalogue: The layer kinds.
        layer: The layer.
        tensors: Path of each variable below the layer to its tensor name.
    """
    below: dict[str, dict[str, str]] = {}
    for path, tensor in tensors.items():
        first, _, rest = path.partition("/")
        if rest:
            below.setdefault(first, {})[rest] = tensor
    for position, (name, inner) in enumerate(below.items()):
        class_name, config = _class_below(catalogue, layer, name, position)
        found = (
            catalogue.named_variables(class_name, _as_named(config, inner), list(inner))
            if class_name is not None
            else None
        )
        slots = {path: found[path].slot if found is not None else path for path in inner}
        made = LayerSpec(
            path=f"{layer.path}/{name}",
            class_name=class_name,
            tensors={slots[path]: tensor for path, tensor in inner.items()},
            config=config,
        )
        yield made
        yield from sub_layers(catalogue, made, inner)


def _class_below(
    catalogue: Catalogue, layer: LayerSpec, name: str, position: int
) -> tuple[str | None, Mapping[str, Any]]:
    class_name = layer.class_name or ""
    cells = layer.config.get("cells")
    if isinstance(cells, list) and position < len(cells) and isinstance(cells[position], dict):
        return cells[position].get("class_name"), cells[position].get("config") or {}
    if class_name in CELLS:
        return CELLS[class_name], layer.config
    if class_name in ATTENTIONS:
        return "EinsumDense", {}
    inner = catalogue.inner(class_name, layer.config)
    if inner is not None:
        return inner
    return class_of_name(catalogue, name), {}


def _as_named(config: Mapping[str, Any], paths: Iterable[str]) -> Mapping[str, Any]:
    """Return a config whose stacked cells have the canonical names that these paths have."""
    cells = config.get("cells")
    names = list(dict.fromkeys(path.partition("/")[0] for path in paths))
    if not isinstance(cells, list) or len(cells) != len(names):
        return config
    named = [
        {**cell, "config": {**(cell.get("config") or {}), "name": name}}
        for cell, name in zip(cells, names, strict=True)
        if isinstance(cell, dict)
    ]
    return {**config, "cells": named}
