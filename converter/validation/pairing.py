"""Which Keras layer is which PyTorch module: those whose tensors a plan's steps pair."""

from __future__ import annotations

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


def pair_layers(plan: Plan, model: Any, module: Any) -> list[Pair]:
    """Return every layer and module that the steps of a plan pair, in the order of the plan.

    A module that holds those of other layers is left out.
    """
    view = KerasModelCheckpoint(model)
    root = walk(model)
    modules = dict(module.named_modules())
    sources: dict[str, list[str]] = {}
    targets: dict[str, list[str]] = {}
    for step in plan.steps:
        if step.layer and step.targets:
            sources.setdefault(step.layer, []).extend(step.sources)
            targets.setdefault(step.layer, []).extend(step.targets)
    pairs = []
    for path, names in sources.items():
        wanted = {id(view.variable(name)) for name in names if name in view.manifest}
        layer = _smallest(root, wanted) if wanted else None
        name = _common([one.rpartition(".")[0] for one in targets[path]])
        while name not in modules and name:
            name = name.rpartition(".")[0]
        if layer is not None and name and layer is not model:
            pairs.append(Pair(path, name, layer, modules[name], tuple(targets[path])))
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
