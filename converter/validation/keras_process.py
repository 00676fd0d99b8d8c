"""The Keras side in a child process, on a backend of the user's choice.

A backend is fixed when Keras is imported, so another one than this process has needs a process of
its own; it may also need an environment of its own (``--keras-python``), since TensorFlow and torch
are often not installed side by side.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converter._optional import is_installed
from converter.errors import UsageError
from converter.formats.base import Checkpoint
from converter.tensors.dtype import Array, get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec
from converter.validation.inputs import Input
from converter.validation.keras_messages import receive, send
from converter.validation.keras_side import KerasFacts, KerasSide
from converter.validation.keras_trace import KerasTrace
from converter.validation.requirements import Parts
from converter.validation.trace_messages import received

BACKENDS = ("torch", "tensorflow", "jax")
_LAST_LINES = 3
_ENDING_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Process:
    """Where the Keras side runs.

    Attributes:
        backend: ``torch``, ``tensorflow`` or ``jax``.
        python: The interpreter, by default this one.
    """

    backend: str
    python: str | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """What the child opens.

    Attributes:
        label: What messages call it.
        path: A ``.keras`` file, where there is no factory.
        factory: What builds the model.
        arguments: Its keyword arguments.
    """

    label: str
    path: Path | None = None
    factory: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


class ChildKeras(KerasSide):
    """A Keras model in another process.

    Args:
        where: Backend and interpreter.
        what: What it opens.

    Raises:
        UsageError: If the backend is not installed there, or the model cannot be built.
    """

    def __init__(self, where: Process, what: Opening) -> None:
        _check(where)
        self._label = what.label
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the child
        self._child = subprocess.Popen(  # noqa: S603  # our own module, in the user's interpreter
            [where.python or sys.executable, "-m", "converter.validation.keras_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(where),
        )
        path = None if what.path is None else str(what.path.absolute())
        header = {
            "do": "open",
            "path": path,
            "label": what.label,
            "factory": what.factory,
            "arguments": dict(what.arguments),
        }
        try:
            answer, _ = self._ask(header)
        except UsageError:
            self.close()
            raise
        self.facts = _facts(answer["facts"])
        specs = [
            TensorSpec(name, tuple(shape), get_dtype(dtype))
            for name, shape, dtype in answer["manifest"]
        ]
        self._manifest = Manifest.of(specs, family="keras")

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes of its weights, without its layers."""
        return self._manifest

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model there."""
        return self._ask({"do": "run"}, inputs)[1]

    def entering(self, layer: str, inputs: Mapping[str, Array]) -> Array:
        """Run the model there, up to a layer."""
        return self._ask({"do": "entering", "layer": layer}, inputs)[1][layer]

    def parts(self, attributes: Iterable[str]) -> Parts:
        """Ask every layer there."""
        answer, _ = self._ask({"do": "parts", "attributes": list(attributes)})
        return {
            layer: {name: tuple(one) if isinstance(one, list) else one for name, one in has.items()}
            for layer, has in answer["parts"].items()
        }

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Assign every variable there."""
        self._ask({"do": "load"}, arrays)

    def weights(self) -> Checkpoint:
        """Return its weights, each asked for when it is read."""
        return _ChildWeights(self._manifest, self._read, label=self._label)

    def _read(self, name: str) -> Array:
        return self._ask({"do": "read", "name": name})[1][name]

    @contextlib.contextmanager
    def tracing(
        self, sources: Mapping[str, Sequence[str]], inputs: Mapping[str, Array]
    ) -> Iterator[tuple[KerasTrace, dict[str, Any]]]:
        """Run the model there; its tensors come through a temporary folder."""
        with tempfile.TemporaryDirectory() as folder:
            header = {"do": "trace", "sources": dict(sources), "folder": folder}
            answer, _ = self._ask(header, inputs)
            yield received(answer, Path(folder), self._compute)
            self._ask({"do": "forget"})

    def _compute(self, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, Array]:
        answer, made = self._ask(header, arrays)
        if "unfit" in answer:
            raise RuntimeError(answer["unfit"])
        return made

    def arrays(self) -> None:
        """Return nothing: the model is only ours."""
        return

    def close(self) -> None:
        """End the child."""
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                stream.close()
        try:
            self._child.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._errors.close()

    def _ask(
        self, header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        if self._child.stdin is None or self._child.stdout is None:
            raise UsageError(f"cannot run {self._label}: the process has no pipes")
        try:
            send(self._child.stdin, header, arrays)
            answer = receive(self._child.stdout)
        except BrokenPipeError:
            answer = None
        if answer is None:
            raise self._ended()
        failure = answer[0].get("error")
        if failure is not None:
            facts = [(str(label), str(text)) for label, text in failure["facts"]]
            raise UsageError(failure["summary"], facts=facts, hint=failure["hint"])
        return answer

    def _ended(self) -> UsageError:
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace").strip().splitlines()
        return UsageError(
            f"cannot run {self._label}: the process of the Keras side ended",
            facts=[("said", line.strip()) for line in text[-_LAST_LINES:]],
        )


class _ChildWeights(Checkpoint):
    """The weights of a model in another process."""

    path: Path | None = None
    format = "live"

    def __init__(self, manifest: Manifest, read: Callable[[str], Array], *, label: str) -> None:
        self._manifest = manifest
        self._asked = read
        self._label = label

    @property
    def label(self) -> str:
        """What messages call it."""
        return self._label

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes."""
        return self._manifest

    def read(self, name: str) -> Array:
        """Ask the other process for one tensor."""
        return self._asked(name)


def _check(where: Process) -> None:
    if where.backend not in BACKENDS:
        raise UsageError(
            f"cannot run Keras on '{where.backend}'", hint="the backends are torch, tensorflow, jax"
        )
    if where.python is None and not is_installed(where.backend):
        raise UsageError(
            f"cannot run Keras on '{where.backend}': {where.backend} is not installed here",
            hint="--keras-python names an interpreter that has it, Keras and Weightferry's own "
            "requirements",
        )
    if where.python is not None and not Path(where.python).is_file():
        raise UsageError(f"cannot run Keras: there is no interpreter '{where.python}'")


def _environment(where: Process) -> dict[str, str]:
    """Return this environment, in which the child finds this package and its backend."""
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **os.environ,
        "KERAS_BACKEND": where.backend,
        "PYTHONPATH": os.pathsep.join(paths),
    }


def _facts(plain: Mapping[str, Any]) -> KerasFacts:
    inputs = tuple(Input(**{**one, "shape": tuple(one["shape"])}) for one in plain["inputs"])
    return KerasFacts(
        **{
            **plain,
            "inputs": inputs,
            "output_layouts": tuple(plain["output_layouts"]),
            "wrong_references": tuple(plain["wrong_references"]),
        }
    )
