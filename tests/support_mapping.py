"""Small manifests and mappings, written as a person would sketch them."""

from __future__ import annotations

from collections.abc import Mapping as Dict

from converter.mapping.document import parse_mapping
from converter.mapping.rules import Mapping
from converter.tensors.dtype import get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import LayerSpec, TensorSpec

_FLOAT = get_dtype("float32")

# Variables of the classes that the sketches use, with a rank each.
_VARIABLES = {
    "Conv2D": {"kernel": 4, "bias": 1},
    "Dense": {"kernel": 2, "bias": 1},
    "LayerNormalization": {"gamma": 1, "beta": 1},
    "Embedding": {"embeddings": 2},
}


def keras(layers: Dict[str, str], sizes: Dict[str, tuple[int, ...]] | None = None) -> Manifest:
    """Return a Keras manifest from layer path to class."""
    specs, found = [], []
    for path, class_name in layers.items():
        slots = {}
        for slot, rank in _VARIABLES[class_name].items():
            name = f"{path}/{slot}"
            shape = (sizes or {}).get(name, tuple(range(3, 3 + rank)))
            specs.append(TensorSpec(name, shape, _FLOAT))
            slots[slot] = name
        found.append(LayerSpec(path, class_name, slots))
    return Manifest.of(specs, family="keras", layers=found)


def torch(*names: str, sizes: Dict[str, tuple[int, ...]] | None = None) -> Manifest:
    """Return a PyTorch manifest."""
    return Manifest.of(
        (TensorSpec(name, (sizes or {}).get(name, (3,)), _FLOAT) for name in names), family="torch"
    )


def mapping(rules: str, rest: str = "", name: str = "toy") -> Mapping:
    """Return a mapping with these rows."""
    head = f'schema = 1\nname = "{name}"\nkeras = "k"\ntorch = "t"\n'
    return parse_mapping(f"{head}rules = [{rules}]\n{rest}")
