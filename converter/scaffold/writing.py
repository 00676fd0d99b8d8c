"""From a Keras checkpoint to the source of a PyTorch module; nothing is written to disk here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from converter.formats.base import Checkpoint
from converter.graph.nodes import Graph
from converter.graph.reading import read_graph
from converter.mapping.by_kind import pair_by_kind
from converter.mapping.catalogue import load_catalogue
from converter.planning.matching import BY_KIND, make_request
from converter.planning.plan import Plan
from converter.planning.planner import make_plan
from converter.planning.sides import Side
from converter.scaffold.printing import print_file
from converter.scaffold.scope import Shared
from converter.scaffold.translation import class_name, translate


@dataclass(frozen=True, slots=True)
class Source:
    """A written module.

    Attributes:
        text: The Python file.
        class_name: The class of the whole model.
        stubs: Path of a layer that has no translation, to the reason.
        notes: What a person should know, whole sentences.
        graph: The model it was made from.
    """

    text: str
    class_name: str
    graph: Graph = field(repr=False)
    stubs: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def write_source(checkpoint: Checkpoint, custom: Mapping[str, Any] | None = None) -> Source:
    """Return the source of a module for the model that a checkpoint holds.

    Args:
        checkpoint: A Keras checkpoint with its architecture, or a live model.
        custom: Class name to a translator, for classes that are not Keras' own.

    Raises:
        UnsupportedFileError: If it holds no graph.
        CorruptFileError: If its architecture contradicts itself.
        PlanError: If a layer has no translation, and its weights cannot be converted either.
    """
    graph = read_graph(checkpoint)
    pairings = pair_by_kind(checkpoint.manifest, load_catalogue(), {}).pairings
    shared = Shared(
        {one.layer: one.kind for one in pairings},
        custom=custom or {},
        state=cache(lambda: _shapes(checkpoint)),
    )
    name = class_name(graph.name, shared.class_names)
    translate(graph, name, shared)
    doc = [f"The Keras model '{graph.name}' in PyTorch, written by Weightferry."]
    text = print_file(doc, shared.programs, list(shared.snippets))
    return Source(text, name, graph, shared.stubs, tuple(shared.notes))


def plan_by_kind(checkpoint: Checkpoint) -> Plan:
    """Return how the weights of a checkpoint become those of the module.

    Raises:
        PlanError: If they cannot be converted by kind.
    """
    keras = Side("keras", checkpoint.manifest, label=checkpoint.label)
    return make_plan(make_request(keras, Side("torch", None), mapping=BY_KIND))


def _shapes(checkpoint: Checkpoint) -> Mapping[str, tuple[int, ...]]:
    target = plan_by_kind(checkpoint).target
    return {name: spec.shape for name, spec in target.tensors.items()}
