"""Draft a mapping for two models, and prove it where both of them can run.

A side is a live model, a factory to build one, or a file; what can be run is run. A proposal is
not a mapping yet: only one whose outputs agreed, or that a person has reviewed, converts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from converter._version import __version__
from converter.drafting.certainty import Certainty
from converter.drafting.draft import Draft
from converter.drafting.drafter import Drafter, Wishes
from converter.drafting.hints import read_hints
from converter.drafting.proof import BUDGET, Bench, Proof
from converter.drafting.tracing import Traces, traced, traced_keras
from converter.drafting.writing import Heading
from converter.errors import ConverterError, UsageError
from converter.execution.small_files import write_small
from converter.formats.base import Checkpoint
from converter.formats.registry import open_checkpoint
from converter.graph.nodes import Graph
from converter.graph.reading import read_graph
from converter.live.factory import build, is_factory
from converter.live.opening import open_live
from converter.live.torch_module import is_on_meta, module_classes
from converter.tensors.manifest import Family
from converter.validation.report import Row

_NAME = "drafted"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A drafted mapping, and what running both models showed.

    Attributes:
        draft: The rules, their evidence, and what is left over.
        proof: The comparison of outputs; its report is ``None`` where nothing was compared.
    """

    draft: Draft
    proof: Proof

    @property
    def is_proved(self) -> bool:
        """Whether both models gave equal outputs from weights that went through the draft."""
        return self.draft.is_complete and self.proof.is_proved

    @property
    def text(self) -> str:
        """The mapping file."""
        return self.draft.text

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the mapping file; its stem becomes the name of the mapping.

        Args:
            path: The file to write.
            force: Whether a file of this name may be replaced.

        Raises:
            TargetExistsError: If the file is there and ``force`` is false.
            WriteError: If it cannot be written.
        """
        target = Path(path)
        text = self.draft.named(target.stem).text
        write_small(target, text.encode(), force=force)


def draft(
    keras: object,
    torch: object,
    *,
    name: str = _NAME,
    hints: Sequence[str] = (),
    prove: bool = True,
    seed: int = 0,
    budget: int = BUDGET,
) -> Proposal:
    """Propose a mapping for a Keras model and a PyTorch module.

    Args:
        keras: A live Keras model, a factory (``keras.applications:VGG16``), or a file.
        torch: A live ``torch.nn.Module``, a factory, or a file.
        name: Name of the mapping.
        hints: What belongs together, such as ``encoder/block_0=layers.0``.
        prove: Whether both models are run, where they can be: what names leave open is settled so.
        seed: Of the random weights and inputs of the proof.
        budget: Largest number of runs of the PyTorch side to find out who is who.

    Raises:
        UsageError: If a side is no model and no file, or a hint cannot be followed.
        CheckpointError: If a file cannot be read.
        MissingDependencyError: If SciPy, or a framework that is needed, is not installed.
    """
    first = _side(keras, "keras", runs=prove)
    second = _side(torch, "torch", runs=prove)
    heading = Heading(
        name,
        first.said,
        second.said,
        factories={
            side.family: side.factory for side in (first, second) if side.factory is not None
        },
    )
    if len(heading.factories) < 2:
        heading = replace(heading, factories={})
    wishes = Wishes(
        heading,
        read_hints(hints),
        compare_values=first.has_values and second.has_values,
        classes=module_classes(second.checkpoint),
        graph=first.graph(),
    )
    module, traces = getattr(second.checkpoint, "module", None), Traces()
    if module is not None:
        model = getattr(first.checkpoint, "model", None)
        traces = traced(model, wishes.graph, module)
        wishes = replace(wishes, trace=traces.torch)
        if model is not None:
            wishes = replace(
                wishes, trace_keras=lambda: traces.keras or traced_keras(model, traces.inputs)
            )
    drafter = Drafter(first.checkpoint, second.checkpoint, wishes)
    made = drafter.draft()
    if not prove:
        return _told(made, Proof(None, why_not="the proof was not asked for"))
    if first.model is None or second.model is None:
        why = first.why_not or second.why_not
        return _told(made, Proof(None, why_not=why))
    bench = Bench(first.model, second.model, seed=seed, budget=budget, inputs=traces.inputs)
    return _told(*bench.prove(made, drafter.evidence, drafter.redraft))


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a draft.

    Attributes:
        checkpoint: Names and shapes.
        family: Which side it is.
        said: What the file says of it.
        model: The live model, or ``None``.
        factory: What builds it, or ``None``.
        has_values: Whether its values may be the trained ones.
        why_not: Why it cannot be run.
    """

    checkpoint: Checkpoint
    family: Family
    said: str
    model: Any = None
    factory: str | None = None
    has_values: bool = True
    why_not: str = field(default="")

    def graph(self) -> Graph | None:
        """Return the graph that the configuration of a Keras model says, if it says one."""
        try:
            return read_graph(self.checkpoint)
        except ConverterError:
            return None


def _side(value: object, family: Family, *, runs: bool) -> _Side:
    if isinstance(value, str) and is_factory(value):
        model = build(value, family=family, meta=not runs)
        found = _opened(model, family)
        return _Side(found, family, value, model if runs else None, value, has_values=False)
    if isinstance(value, str | os.PathLike):
        return _of_file(Path(value), family, runs=runs)
    found, said = _opened(value, family), type(value).__name__
    if is_on_meta(found):
        why = f"the {said} is on the 'meta' device and has no values"
        return _Side(found, family, said, has_values=False, why_not=why)
    return _Side(found, family, said, value)


def _opened(value: object, family: Family) -> Checkpoint:
    found = open_live(value)
    if found is None or found.manifest.family not in (None, family):
        wanted = "Keras model" if family == "keras" else "PyTorch module"
        raise UsageError(f"cannot draft: a {type(value).__name__} is no {wanted}")
    return found


def _of_file(path: Path, family: Family, *, runs: bool) -> _Side:
    checkpoint = open_checkpoint(path)
    if checkpoint.manifest.family not in (None, family):
        raise UsageError(
            f"cannot draft: {checkpoint.label} holds tensors of {checkpoint.manifest.family}, and "
            f"is given as the side of {family}"
        )
    said = checkpoint.label
    if family == "torch":
        why = f"{said} is a file: nothing says how to build its module (name a factory)"
        return _Side(checkpoint, family, said, why_not=why)
    if not runs:
        return _Side(checkpoint, family, said)
    from converter.validation.models import live_model

    try:
        model = live_model(checkpoint, "keras")
    except ConverterError as error:
        return _Side(checkpoint, family, said, why_not=error.summary)
    return _Side(checkpoint, family, said, model)


def _told(made: Draft, proof: Proof) -> Proposal:
    """Return the proposal, whose file says at its top how far it can be trusted."""
    proved = proof.is_proved
    made = made.running(proof.inputs, proof.outputs)
    if proved:
        made = made.dropping(proof.kept) if made.left_over else made
        made = made.certain(Certainty.PROVED, "the outputs of both models agree")
    return Proposal(made.commented(_comments(made, proof, is_proved=proved)), proof)


def _floors(row: Row) -> str:
    return f"{row.floors or 0.0:.1f} noise floors"


def _comments(made: Draft, proof: Proof, *, is_proved: bool) -> list[str]:
    lines = [f"Drafted by converter {__version__} from names, shapes and layer kinds."]
    if is_proved and proof.report is not None:
        row = max(proof.report.rows, key=lambda one: one.error or 0.0)
        return [
            *lines,
            f"Proved: with random weights both models give equal outputs, {_floors(row)} apart.",
        ]
    if not made.is_complete:
        return [*lines, "NOT COMPLETE: what is left over is listed after the rules."]
    if proof.report is not None:
        text = "NOT PROVED: the outputs of both models differ"
        return [*lines, f"{text}; {proof.why_not}." if proof.why_not else f"{text}."]
    return [*lines, f"NOT PROVED: {proof.why_not}.", "Review the rules before using them."]
