"""From an old Keras file to one of Keras 3.15: written whole or not at all, then proved."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from converter.algebra.base import Operation
from converter.algebra.rearrange import identity
from converter.errors import UsageError
from converter.execution.executor import Written, execute
from converter.execution.progress import Progress
from converter.formats.base import Checkpoint
from converter.graph.nodes import Graph
from converter.graph.reading import read_graph
from converter.planning.plan import Dropped, Plan, Step
from converter.tensors.manifest import Manifest
from converter.tensors.structure import KerasStructure
from converter.upgrading.hard_sigmoid import FACTOR, Kept, keep_hard_sigmoid
from converter.upgrading.model_text import ModelText, write_model
from converter.upgrading.places import KERAS_VERSION, UnplacedError, structure_of
from converter.upgrading.proof import Proof, prove

NAME = "upgrade to Keras 3"
SUFFIX = ".keras"


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What came of it.

    Attributes:
        path: The file, or ``None`` where nothing was written.
        generation: Which Keras wrote the source: 1, 2 or 3.
        refused: Path of a layer to the reason why Keras 3 cannot be told of it.
        changes: What is said in other words or kept by other weights, whole sentences.
        written: The file's size and tensors, or ``None``.
        store: Where each tensor of the source is in the new file.
        scaled: Tensors whose values were changed.
        proof: What came of opening it, ``None`` where that was not asked for.
    """

    path: Path | None
    generation: int
    refused: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    written: Written | None = None
    store: Mapping[str, str] = field(default_factory=dict)
    scaled: tuple[str, ...] = ()
    proof: Proof | None = None

    @property
    def is_complete(self) -> bool:
        """Whether a file was written, and nothing that was checked failed."""
        return not self.refused and (self.proof is None or self.proof.verdict != "fail")


def upgrade_file(
    checkpoint: Checkpoint,
    target: Path,
    *,
    force: bool = False,
    check: bool = True,
    progress: Progress | None = None,
) -> Upgraded:
    """Write the model of a Keras file of any generation as a ``.keras`` file of Keras 3.15.

    Args:
        checkpoint: The Keras file, open.
        target: The file to write; its name ends with ``.keras``.
        force: Whether a file of this name may be replaced.
        check: Whether the new file is opened with Keras and compared.
        progress: Called with each event of writing.

    Raises:
        UsageError: If the target has another name.
        UnsupportedFileError: If the source holds no graph.
        CorruptFileError: If its architecture contradicts itself.
        TargetExistsError: If the target is there and ``force`` is false.
        WriteError: If it cannot be written.
    """
    if target.suffix != SUFFIX:
        raise UsageError(
            f"cannot write '{target.name}': a model of Keras 3 is a {SUFFIX} file",
            hint=f"give a name such as '{target.stem}{SUFFIX}'",
        )
    manifest = checkpoint.manifest
    graph, kept = keep_hard_sigmoid(read_graph(checkpoint), manifest)
    text = write_model(graph)
    refused = dict(text.refused)
    if refused:
        return Upgraded(None, graph.generation, refused)
    try:
        structure = structure_of(
            text.placed, manifest, name=graph.name, config=json.dumps(text.described)
        )
    except UnplacedError as error:
        return Upgraded(None, graph.generation, {error.layer: str(error)})
    plan = _plan(manifest, structure, kept.scaled)
    written = execute(
        plan,
        checkpoint,
        target,
        format="keras",
        structure=structure,
        force=force,
        progress=progress,
    )
    proof = prove(checkpoint, target, structure.store, kept.scaled) if check else None
    changes = (*_kept(kept), *_changes(graph, text, plan))
    return Upgraded(
        target, graph.generation, {}, changes, written, structure.store, tuple(kept.scaled), proof
    )


def _plan(manifest: Manifest, structure: KerasStructure, changed: Mapping[str, Operation]) -> Plan:
    steps = tuple(
        Step((name,), (name,), changed.get(name) or identity(manifest[name].shape), NAME, "", "")
        for name in structure.store
    )
    target = Manifest.of(
        (manifest[name] for name in structure.store),
        family="keras",
        layers=manifest.layers,
        metadata={"keras_version": KERAS_VERSION},
    )
    dropped = tuple(
        Dropped(name, "no layer of the model has it")
        for name in manifest.tensors
        if name not in structure.store
    )
    return Plan(manifest, target, "keras", NAME, steps, dropped)


def _kept(kept: Kept) -> Iterator[str]:
    """Yield what keeps the hard_sigmoid of Keras 1 and 2."""
    old = "hard_sigmoid was clip(0.2 x + 0.5) and is clip(x / 6 + 0.5) in Keras 3"
    if kept.layers:
        yield f"{_listed(iter(kept.layers))}: {old}; what goes into it was multiplied by {FACTOR}."
    if kept.spelled:
        yield f"{_listed(iter(kept.spelled))}: {old}; it is a Rescaling and a ReLU now."


def _changes(graph: Graph, text: ModelText, plan: Plan) -> Iterator[str]:
    """Yield what is different in the new file, whole sentences."""
    for old, new in text.renamed.items():
        yield f"'{old}' is '{new}' now: Keras 3 allows no slash in a name."
    if text.unused:
        yield f"{_listed(one.path for one in text.unused)}: left out, no output needs them."
    if plan.dropped:
        yield f"{_listed(one.name for one in plan.dropped)}: left out, no layer has them."
    for layer, entries in text.left.training.items():
        yield f"'{layer}': {', '.join(entries)} left out, a class of somebody's own."
    if graph.data_format == "channels_first":
        yield "The model takes channels first, as before: not every backend runs it on a CPU."


def _listed(names: Iterator[str]) -> str:
    found = [f"'{name}'" for name in names]
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return ", ".join(found[:5]) + more
