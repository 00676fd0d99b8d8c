"""Prove a written module: load it in a fresh process, fill it strictly, compare its outputs.

The process gets its task as JSON on standard input and prints its answer as JSON. It imports the
file that was just written, so that what holds there holds for the user; what it compares with is
Keras, where this Keras can open the source, or outputs that somebody recorded.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter._optional import is_installed
from converter.errors import ConverterError
from converter.scaffold.scope import Order


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be checked.

    Attributes:
        module: The Python file.
        class_name: Its class.
        weights: A safetensors file of its state dict.
        source: The Keras file, or ``None`` where its outputs cannot be had.
        inputs: A ``.npz`` file of inputs, or ``None`` for seeded ones.
        outputs: A ``.npz`` file of recorded outputs, or ``None`` to ask Keras.
        no_source: Why Keras is not asked, where it is not.
        orders: In which order the module takes and gives the axes of each input and output.
        seed: Of random inputs.
    """

    module: str
    class_name: str
    weights: str
    source: str | None = None
    inputs: str | None = None
    outputs: str | None = None
    no_source: str = ""
    orders: tuple[tuple[Order, ...], tuple[Order, ...]] = ((), ())
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of it.

    Attributes:
        loaded: Whether the module was made and took its weights strictly.
        report: The comparison of outputs as ``validate --json`` prints it, or ``None``.
        why_not: Why the module did not load, or why no outputs were compared.
    """

    loaded: bool
    report: Mapping[str, Any] | None = None
    why_not: str = ""

    @property
    def verdict(self) -> str:
        """``pass``, ``warn``, ``fail``, or ``not compared``."""
        if not self.loaded:
            return "fail"
        return str(self.report["verdict"]) if self.report is not None else "not compared"


def check(task: Task) -> Checked:
    """Check a written module in a fresh process."""
    if not is_installed("torch"):
        return Checked(loaded=False, why_not="torch is not installed")
    code = "from converter.scaffold.checking import main; main()"
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    answer = subprocess.run(  # noqa: S603  # our own interpreter and our own code
        [sys.executable, "-c", code],
        input=json.dumps({name: getattr(task, name) for name in Task.__slots__}),
        env={**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": _backend()},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found = json.loads(answer.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        lines = answer.stderr.strip().splitlines()
        return Checked(loaded=False, why_not=lines[-1] if lines else "the process ended early")
    return Checked(found["loaded"], found["report"], found["why_not"])


def _backend() -> str:
    return os.environ.get("KERAS_BACKEND") or "torch"


def main() -> None:
    """Do one task: standard input to standard output, an answer after each part of it."""
    task = Task(**json.loads(sys.stdin.read()))
    for found in _done(task):
        answer = {"loaded": found.loaded, "report": found.report, "why_not": found.why_not}
        sys.stdout.write("\n" + json.dumps(answer) + "\n")
        sys.stdout.flush()  # what comes next may need more memory than there is


def _done(task: Task) -> Iterator[Checked]:
    try:
        module = _filled(task)
    except Exception as error:  # whatever the written file or its weights raise
        yield Checked(loaded=False, why_not=f"{type(error).__name__}: {str(error)[:500]}")
        return
    yield Checked(loaded=True, why_not="the comparison ended early, most likely without memory")
    yield _outputs(task, module)


def _outputs(task: Task, module: Any) -> Checked:
    if task.inputs is not None and task.outputs is not None:
        return _recorded(module, Path(task.inputs), Path(task.outputs), task.orders)
    if task.source is None:
        return Checked(loaded=True, why_not=task.no_source or "nothing was given to compare with")
    if not is_installed("keras"):
        return Checked(loaded=True, why_not="Keras is not installed")
    try:
        return _compared(task, module)
    except ConverterError as error:
        reasons = [text for label, text in error.facts if label == "keras"]
        return Checked(loaded=True, why_not="; ".join([error.summary, *reasons]))


def _filled(task: Task) -> Any:
    """Import the file and fill its class, strictly."""
    from converter.formats.registry import open_checkpoint
    from converter.live.torch_module import from_array

    spec = importlib.util.spec_from_file_location("scaffolded", task.module)
    if spec is None or spec.loader is None:
        raise ImportError(f"{task.module} is no Python file")
    file = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(file)
    module = getattr(file, task.class_name)()
    with open_checkpoint(Path(task.weights)) as checkpoint:
        state = {name: from_array(checkpoint.read(name)) for name in checkpoint.manifest.tensors}
        module.load_state_dict(state, strict=True)
    return module.eval()


def _compared(task: Task, module: Any) -> Checked:
    from converter.validation.models import load_keras_file
    from converter.validation.validate import Options, validate

    model = load_keras_file(task.source, label=Path(str(task.source)).name)
    options = Options(seed=task.seed, control_seconds=0)
    report = validate(model, module, inputs=task.inputs, options=options)
    return Checked(loaded=True, report=report.to_json())


def _recorded(
    module: Any, inputs: Path, outputs: Path, orders: tuple[Sequence[Order], Sequence[Order]]
) -> Checked:
    """Compare with outputs that were recorded, by position."""
    from converter.scaffold.recorded import compare_recorded

    return Checked(loaded=True, report=compare_recorded(module, inputs, outputs, orders))
