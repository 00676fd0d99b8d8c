"""What each tensor of a checkpoint is for, as far as its manifest and the catalogue tell.

No value is read and nothing is guessed from a shape: the axes of a Keras tensor have the names that
the catalogue gives them, and those of a PyTorch tensor have none, since a state dict does not say
which module it belongs to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from converter.errors import MappingError
from converter.mapping.catalogue import load_catalogue
from converter.tensors.manifest import Manifest
from converter.tensors.spec import LayerSpec, TensorSpec

_STATE = frozenset(
    {"moving_mean", "moving_variance", "seed_generator_state", "count", "running_mean",
     "running_var", "num_batches_tracked"}
)  # fmt: skip
_NORMALISATION = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_AXIS = re.compile(r"\([^)]*\)|\[[^\]]*\]|\S+")
_EMBEDDINGS = ("embeddings", "position_embeddings")  # their units are rows


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a checkpoint and what it is for.

    Attributes:
        spec: Name, shape and dtype.
        layer: Path of its Keras layer, or name of its PyTorch module; empty where it has none.
        class_name: Class of the Keras layer, or ``None`` where it is not known.
        role: What it is in its layer (``"kernel"``, ``"gamma"``, ``"moving_mean"``), or its own
            last name.
        axes: Name of each axis, outermost first (``("kh", "kw", "in", "out")``); empty where the
            catalogue does not say.
        trainable: Whether training changes it by gradients; ``None`` where nothing says so.
        unit_axis: Axis whose slices are channels, neurons or rows, or ``None`` where unknown.
    """

    spec: TensorSpec
    layer: str
    class_name: str | None
    role: str
    axes: tuple[str, ...] = ()
    trainable: bool | None = None
    unit_axis: int | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.spec.shape)


@dataclass(frozen=True, slots=True)
class Totals:
    """Numbers of parameters, of all tensors or of those of one kind.

    Attributes:
        parameters: Elements of all tensors.
        trainable: Of those that training changes by gradients.
        not_trainable: Of those that it does not: statistics, counters, frozen layers.
        unknown: Of those of which nothing says it.
    """

    parameters: int
    trainable: int
    not_trainable: int
    unknown: int


def take_inventory(manifest: Manifest) -> tuple[Entry, ...]:
    """Return every tensor of a checkpoint with what it is for, in the order of the manifest."""
    found: dict[str, Entry] = {}
    for layer in manifest.layers:
        for entry in _of_layer(layer, manifest):
            found.setdefault(entry.spec.name, entry)
    return tuple(found.get(spec.name) or _by_name(spec, manifest) for spec in manifest)


def count_parameters(entries: tuple[Entry, ...]) -> Totals:
    """Return how many parameters there are, and how many of them are trained."""
    counts: dict[bool | None, int] = {True: 0, False: 0, None: 0}
    for entry in entries:
        counts[entry.trainable] += entry.elements
    return Totals(sum(counts.values()), counts[True], counts[False], counts[None])


def _of_layer(layer: LayerSpec, manifest: Manifest) -> Iterator[Entry]:
    axes = _axes(layer)
    frozen = layer.config.get("trainable") is False
    for slot, name in layer.tensors.items():
        role = slot.rpartition("/")[2]
        if role.isdigit():  # a layer of an unknown class
            role = name.rpartition("/")[2]
        spec = manifest[name]
        named = axes.get(slot, ())
        if len(named) != len(spec.shape):
            named = ()
        trainable = None if layer.class_name is None else not frozen and role not in _STATE
        unit = "v" if role in _EMBEDDINGS else "out"
        axis = named.index(unit) if unit in named and len(named) > 1 else None
        yield Entry(spec, layer.path, layer.class_name, role, named, trainable, axis)


def _axes(layer: LayerSpec) -> Mapping[str, tuple[str, ...]]:
    """Return slot to the names of its axes, from the axis pattern of the layer's kind."""
    try:
        kind = load_catalogue().kind_of(layer)
    except MappingError:  # no module of PyTorch is equal, or it is quantised
        return {}
    if kind is None:
        return {}
    return {
        slot.keras[0]: tuple(_AXIS.findall(slot.pattern.partition("->")[0]))
        for slot in kind.slots
        if slot.pattern is not None and len(slot.keras) == 1
    }


def _by_name(spec: TensorSpec, manifest: Manifest) -> Entry:
    """Return what the name of a tensor says: a PyTorch one, or a Keras one of no layer."""
    if manifest.family == "keras":
        layer, _, role = spec.name.rpartition("/")
        return Entry(spec, layer, None, role)
    module, _, role = spec.name.rpartition(".")
    prefix = f"{module}." if module else ""
    if f"{prefix}running_var" in manifest:
        role = _NORMALISATION.get(role, role)
    trainable = False if role in _STATE else None
    bias = manifest.tensors.get(f"{prefix}bias")
    units = _units(spec, bias) if role == "weight" and len(spec.shape) > 1 else None
    return Entry(spec, module, None, role, (), trainable, units)


def _units(spec: TensorSpec, bias: TensorSpec | None) -> int | None:
    """Return the axis of a PyTorch weight whose slices are units: the first one.

    A transposed convolution has ``(in, out, ...)``, and nothing in a state dict says so. The bias
    has one element for each unit: where that is not the size of the first axis, it tells.

    Source: PyTorch 2.13 ``nn/modules/conv.py``, ``_ConvNd.__init__``.
    """
    if bias is None or bias.shape == spec.shape[:1]:
        return 0
    return 1 if bias.shape == spec.shape[1:2] else None
