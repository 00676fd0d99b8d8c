"""Which Keras layer is which PyTorch module: those whose tensors a plan's steps pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converter.live.keras_model import KerasModelCheckpoint
from converter.live.keras_walk import Node, walk
from converter.planning.plan import Plan


@dataclass(eq=False, frozen=True, slots=True)
class Pair:
    """One layer and its module.

    Attributes:
        path: Path of the layer, as the plan has it.
        name: Name of the module.
        layer: The layer.
        module: The module.
        tensors: Names of the module's tensors in the state dict.
    """

    path: str
    name: str
    layer: Any
    module: Any
    tensors: tuple[str, ...]


def sources_of(plan: Plan) -> dict[str, list[str]]:
    """Return path of a layer, as the plan has it, to the names of its tensors."""
    sources: dict[str, list[str]] = {}
    for step in plan.steps:
        if step.layer and step.targets:
            sources.setdefault(step.layer, []).extend(step.sources)
    return sources


def find_layers(model: Any, sources: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return path to layer, of the innermost layers that hold some tensors; the model is none."""
    view = KerasModelCheckpoint(model)
    root = walk(model)
    found = {}
    for path, names in sources.items():
        wanted = {id(view.variable(name)) for name in names if name in view.manifest}
        layer = _smallest(root, wanted) if wanted else None
        if layer is not None and layer is not model:
            found[path] = layer
    return found


def pair_layers(plan: Plan, layers: Mapping[str, Any], module: Any) -> list[Pair]:
    """Return every layer and module that the steps of a plan pair, in the order of the plan.

    A module that holds those of other layers is left out.

    Args:
        plan: Keras to PyTorch.
        layers: Path to layer, see :func:`find_layers`.
        module: The PyTorch module.
    """
    modules = dict(module.named_modules())
    targets: dict[str, list[str]] = {}
    for step in plan.steps:
        if step.layer and step.targets:
            targets.setdefault(step.layer, []).extend(step.targets)
    pairs = []
    for path, names in targets.items():
        name = _common([one.rpartition(".")[0] for one in names])
        while name not in modules and name:
            name = name.rpartition(".")[0]
        if path in layers and name:
            pairs.append(Pair(path, name, layers[path], modules[name], tuple(names)))
    return [one for one in pairs if not _holds_others(one, pairs)]


def _holds_others(pair: Pair, pairs: list[Pair]) -> bool:
    """Whether a module is a block that only owns the parameter of its layer (ConvNeXt's scales).

    What such a block takes and gives is not what the layer takes and gives.
    """
    return any(one.name.startswith(f"{pair.name}.") for one in pairs)


def _smallest(node: Node, wanted: set[int]) -> Any | None:
    """Return the innermost layer that holds all of some variables."""
    if not wanted <= {id(one) for one in node.variables()}:
        return None
    if hasattr(node.layer, "cell"):  # a recurrent layer: its cell has the weights
        return node.layer
    for child in node.children:
        found = _smallest(child, wanted)
        if found is not None:
            return found
    return node.layer


def _common(names: list[str]) -> str:
    parts = [name.split(".") for name in names]
    shared = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return ".".join(shared)
