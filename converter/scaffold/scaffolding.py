"""From a Keras file to a Python file: written whole or not at all, then proved."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from converter.execution.conversion import Conversion
from converter.execution.executor import Written
from converter.execution.progress import Progress
from converter.execution.staging import StagedTarget
from converter.formats.base import Checkpoint
from converter.graph.nodes import HARD_SIGMOID_2, Layer
from converter.scaffold.checking import Checked, Task, check
from converter.scaffold.custom import load_custom
from converter.scaffold.orders import input_order, output_order
from converter.scaffold.writing import Source, plan_by_kind, write_source

FORMATS_OF_KERAS = ("keras", "keras_legacy")


@dataclass(frozen=True, slots=True)
class Scaffolded:
    """What was written.

    Attributes:
        path: The Python file.
        source: Its text, and what could not be translated.
        weights: The converted weights, where they were asked for.
        checked: What came of loading it, ``None`` where that was not asked for.
        assumptions: What the plan of the weights assumes, whole sentences.
    """

    path: Path
    source: Source
    weights: Written | None
    checked: Checked | None
    assumptions: tuple[str, ...] = ()

    @property
    def lines(self) -> int:
        """Number of lines of the file."""
        return len(self.source.text.splitlines())

    @property
    def is_complete(self) -> bool:
        """Whether every layer has a translation, and nothing that was checked failed."""
        failed = self.checked is not None and self.checked.verdict == "fail"
        return not self.source.stubs and not failed


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may be asked for.

    Attributes:
        weights: Where to write the converted weights, or ``None``.
        custom: A file with translations of a user's own classes, or ``None``.
        inputs: Inputs to compare on, or ``None`` for seeded ones.
        outputs: Recorded outputs, or ``None``.
        check: Whether the module is loaded and compared.
        force: Whether files of these names may be replaced.
        seed: Of random inputs.
        progress: Called with each event of writing the weights.
    """

    weights: Path | None = None
    custom: Path | None = None
    inputs: Path | None = None
    outputs: Path | None = None
    check: bool = True
    force: bool = False
    seed: int = 0
    progress: Progress | None = None


def scaffold_file(checkpoint: Checkpoint, target: Path, wishes: Wishes) -> Scaffolded:
    """Write the PyTorch module of a Keras model.

    Args:
        checkpoint: The Keras file, open.
        target: The Python file to write.
        wishes: Everything else.

    Raises:
        UnsupportedFileError: If the file holds no graph.
        CorruptFileError: If its architecture contradicts itself.
        PlanError: If its weights cannot be converted by kind.
        TargetExistsError: If a file to write is there and ``force`` is false.
        WriteError: If a file cannot be written.
    """
    custom = load_custom(wishes.custom) if wishes.custom is not None else {}
    source = write_source(checkpoint, custom)
    plan = plan_by_kind(checkpoint)
    with StagedTarget(target, sources=checkpoint.files, force=wishes.force) as staged:
        name = staged.target.name
        (staged.folder / name).write_text(source.text, encoding="utf-8", newline="\n")
        (path,) = staged.commit([name])
    written = None
    conversion = Conversion(plan, checkpoint)
    if wishes.weights is not None:
        written = conversion.save(wishes.weights, force=wishes.force, progress=wishes.progress)
    checked = _checked(checkpoint, conversion, path, source, wishes) if wishes.check else None
    return Scaffolded(path, source, written, checked, plan.assumptions)


def _checked(
    checkpoint: Checkpoint, conversion: Conversion, path: Path, source: Source, wishes: Wishes
) -> Checked:
    with tempfile.TemporaryDirectory() as folder:
        weights = os.path.join(folder, "weights.safetensors")  # noqa: PTH118  # a text is needed
        conversion.save(weights)
        return check(_task(checkpoint, path, source, weights, wishes))


def _why_not(checkpoint: Checkpoint, source: Source) -> str:
    """Return why this Keras cannot be the reference, or an empty text."""
    if checkpoint.format not in FORMATS_OF_KERAS:
        return "the source is no Keras file that Keras could run"
    if source.stubs:
        return "not every layer has a translation"
    if any(_is_old(layer) for layer in source.graph.layers):
        return (
            "hard_sigmoid was another function when the file was written than in Keras 3; give "
            "recorded outputs (--inputs, --outputs)"
        )
    return ""


def _is_old(layer: Layer) -> bool:
    below = [layer.inner] if layer.inner is not None else []
    below += [part for parts in layer.parts.values() for part in parts]
    below += layer.model.layers if layer.model is not None else ()
    return HARD_SIGMOID_2 in layer.config.values() or any(map(_is_old, below))


def _task(checkpoint: Checkpoint, path: Path, source: Source, weights: str, wishes: Wishes) -> Task:
    graph = source.graph
    no_source = _why_not(checkpoint, source)
    texts: Mapping[str, str | None] = {
        key: None if value is None else str(value.resolve())
        for key, value in (
            ("source", checkpoint.path if not no_source else None),
            ("inputs", wishes.inputs),
            ("outputs", wishes.outputs),
        )
    }
    return Task(
        str(path),
        source.class_name,
        weights,
        **texts,
        no_source=no_source,
        orders=(
            tuple(input_order(graph, ref) for ref in graph.inputs),
            tuple(output_order(graph, ref) for ref in graph.outputs),
        ),
        seed=wishes.seed,
    )
