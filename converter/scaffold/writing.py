"""From a Keras checkpoint to the source of a PyTorch module; nothing is written to disk here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.formats.base import Checkpoint
from converter.graph.nodes import Graph
from converter.graph.reading import read_graph
from converter.mapping.by_kind import pair_by_kind
from converter.mapping.catalogue import load_catalogue
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
    """
    graph = read_graph(checkpoint)
    pairings = pair_by_kind(checkpoint.manifest, load_catalogue(), {}).pairings
    shared = Shared({one.layer: one.kind for one in pairings}, custom=custom or {})
    name = class_name(graph.name, shared.class_names)
    translate(graph, name, shared)
    doc = [f"The Keras model '{graph.name}' in PyTorch, written by Weightferry."]
    text = print_file(doc, shared.programs, list(shared.snippets))
    return Source(text, name, graph, shared.stubs, tuple(shared.notes))
