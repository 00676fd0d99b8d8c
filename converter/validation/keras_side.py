"""The Keras side of a comparison: what is asked of it, wherever it runs.

A live model runs in this process, on the backend that this process has. A file can also run in a
child process on a backend of the user's choice (:mod:`converter.validation.keras_process`); both
answer the same questions.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from converter.execution.executor import to_arrays
from converter.formats.base import Checkpoint
from converter.live.keras_model import KerasModelCheckpoint
from converter.planning.copy import make_copy_plan
from converter.planning.sides import Side
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.validation import layouts
from converter.validation.inputs import Input, built_input, graph_inputs
from converter.validation.keras_trace import KerasTrace, trace_keras
from converter.validation.pairing import find_layers
from converter.validation.references import wrong_references
from converter.validation.requirements import Parts, keras_parts
from converter.validation.running import entering, run_keras


@dataclass(frozen=True, slots=True)
class KerasFacts:
    """What a Keras model says about itself.

    Attributes:
        name: Its name.
        inputs: Its inputs; empty where it is subclassed and does not say what it takes.
        is_graph: Whether it is a graph of layers; a subclassed model takes what it is given.
        input_layouts: Input name to the order of its axes on the PyTorch side.
        output_layouts: The same for each output, by position; empty where the graph does not tell.
        wrong_references: What this Keras is known to compute wrongly, whole sentences.
        versions: ``keras`` and ``backend``.
    """

    name: str
    inputs: tuple[Input, ...] = ()
    is_graph: bool = True
    input_layouts: Mapping[str, layouts.Layout] = field(default_factory=dict)
    output_layouts: tuple[layouts.Layout, ...] = ()
    wrong_references: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


class KerasSide(ABC):
    """A Keras model that can be run and filled.

    Attributes:
        facts: What it says about itself.
        model: The live model, or ``None`` where it is in another process.
    """

    facts: KerasFacts
    model: Any | None = None

    @property
    @abstractmethod
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes of its weights."""

    @abstractmethod
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return its outputs by name, as at inference.

        Raises:
            UsageError: If the model raises.
        """

    @abstractmethod
    def entering(self, layer: str, inputs: Mapping[str, Array]) -> Array:
        """Return what a layer takes when the model runs on these arrays.

        Raises:
            UsageError: If there is no such layer.
        """

    @abstractmethod
    def parts(self, attributes: Iterable[str]) -> Parts:
        """Return path of each layer to those of some attributes that it has."""

    @abstractmethod
    def load(self, arrays: Mapping[str, Array]) -> None:
        """Set every weight, by the names of the manifest."""

    @abstractmethod
    def weights(self) -> Checkpoint:
        """Return its weights, by the names of the manifest."""

    @abstractmethod
    def tracing(
        self, sources: Mapping[str, Sequence[str]], inputs: Mapping[str, Array]
    ) -> AbstractContextManager[tuple[KerasTrace, dict[str, Any]]]:
        """Run it once; return what each layer did, and path to layer.

        Args:
            sources: Path of a layer to the names of its tensors, of those that have a module.
            inputs: As in :meth:`run`.
        """

    @abstractmethod
    def arrays(self) -> dict[str, Array] | None:
        """Return a copy of every weight, or ``None`` where nobody else has the model."""

    def fill(self, checkpoint: Checkpoint) -> None:
        """Set every weight to that of a Keras checkpoint.

        Raises:
            PlanError: If the two have different tensors.
        """
        source = Side("keras", checkpoint.manifest.of_family("keras"), label=checkpoint.label)
        plan = make_copy_plan(source, Side("keras", self.manifest, label=self.facts.name))
        self.load(to_arrays(plan, checkpoint))

    def close(self) -> None:
        """Give back what running takes."""
        return


class LiveKeras(KerasSide):
    """A Keras model of this process."""

    def __init__(self, model: Any) -> None:
        self.model: Any = model
        self.facts = facts_of(model)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the live model."""
        return self._view().manifest

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model here."""
        return run_keras(self.model, inputs)

    def entering(self, layer: str, inputs: Mapping[str, Array]) -> Array:
        """Run the model here, up to a layer."""
        return entering(self.model, layer, inputs)

    def parts(self, attributes: Iterable[str]) -> Parts:
        """Ask every layer."""
        return keras_parts(self.model, attributes)

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Assign every variable."""
        self._view().load(arrays)

    def weights(self) -> Checkpoint:
        """Return the live model as a checkpoint."""
        return self._view()

    @contextlib.contextmanager
    def tracing(
        self, sources: Mapping[str, Sequence[str]], inputs: Mapping[str, Array]
    ) -> Iterator[tuple[KerasTrace, dict[str, Any]]]:
        """Run the model here, its layers watched."""
        layers = find_layers(self.model, sources)
        whole = list(layers.values())
        yield trace_keras(lambda: run_keras(self.model, inputs), self.model, whole), layers

    def arrays(self) -> dict[str, Array]:
        """Return the values of every variable."""
        view = self._view()
        return {name: view.read(name) for name in view.manifest.tensors}

    def _view(self) -> KerasModelCheckpoint:
        return KerasModelCheckpoint(self.model)


def facts_of(model: Any) -> KerasFacts:
    """Ask a live model."""
    import keras

    tensors = list(getattr(model, "inputs", None) or [])
    outputs = list(getattr(model, "outputs", None) or [])
    built = built_input(model)
    given = graph_inputs(model) if tensors else tuple(one for one in (built,) if one is not None)
    return KerasFacts(
        name=str(model.name),
        inputs=given,
        is_graph=bool(tensors),
        input_layouts={str(one.name): layouts.input_layout(one) for one in tensors},
        output_layouts=tuple(layouts.output_layout(one) for one in outputs),
        wrong_references=tuple(wrong_references(model)),
        versions={"keras": str(keras.__version__), "backend": str(keras.backend.backend())},
    )
