"""Callbacks for a training: what weights do while they change, and files that PyTorch opens.

Importing this module imports no framework. A class becomes a ``keras.callbacks.Callback`` when it
is instantiated in a process that has imported Keras, which every Keras training has; in any other
process the same class serves a PyTorch loop.

Examples:
    In Keras::

        watcher = WeightWatcher("training.jsonl")
        saver = SafetensorsCheckpoint("epoch-{epoch}.safetensors")
        model.fit(x, y, epochs=9, callbacks=[watcher, saver])

    In a PyTorch loop, after each epoch or every hundredth step::

        watcher = WeightWatcher("training.jsonl")
        for epoch in range(9):
            train(module)
            watcher.step(module, epoch)

    Then ``converter plot training.jsonl --out training.png``.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any, Self, cast

import msgspec

from converter import api
from converter.errors import UsageError
from converter.execution.executor import Written
from converter.inspection.inventory import take_inventory
from converter.inspection.watching import Watch
from converter.live.opening import open_live
from converter.live.torch_module import TorchModuleCheckpoint
from converter.tensors.dtype import Array

__all__ = ["SafetensorsCheckpoint", "WeightWarning", "WeightWatcher"]


class WeightWarning(UserWarning):
    """Weights that look broken while they are trained."""


class _Callback:
    """A Keras callback where Keras is imported, and a plain object elsewhere."""

    def __new__(cls, *_: object, **__: object) -> Self:
        """Return an instance that ``model.fit`` takes, where there can be one."""
        callbacks = getattr(sys.modules.get("keras"), "callbacks", None)
        theirs = getattr(callbacks, "Callback", None)
        made = cls if theirs is None else _with_keras(cls, theirs)
        return cast("Self", object.__new__(made))


_MADE: dict[tuple[type[_Callback], type[Any]], type[_Callback]] = {}


def _with_keras(ours: type[_Callback], theirs: type[Any]) -> type[_Callback]:
    """Return a class that is both; one that is a Keras callback already is returned as it is."""
    if issubclass(ours, theirs):
        return ours
    if (ours, theirs) not in _MADE:
        said = {"__module__": ours.__module__, "__doc__": ours.__doc__}
        _MADE[ours, theirs] = type(ours.__name__, (ours, theirs), said)
    return _MADE[ours, theirs]


class WeightWatcher(_Callback):
    """Records norms and updates of every weight, and warns when one goes wrong.

    A warning (:class:`WeightWarning`) is given at once, and once for each tensor and reason: values
    that are not finite, layers that became all zero, that exploded, that are trainable and do not
    change, or that are not trainable and do.

    Args:
        path: File of JSON lines, begun anew with the first look; ``None`` records in memory only.
        every: Steps between two looks; by default a look at the end of each epoch. On the digits
            network of the demo a look takes 7 % of a step: 0.2 % of the training with a look an
            epoch, 0.7 % with one every 10 steps, 2 % with one every 4 (measured in CPU time).

    Attributes:
        moments: Everything recorded so far.

    Raises:
        UsageError: If ``every`` is not positive.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, every: int | None = None
    ) -> None:
        super().__init__()
        if every is not None and every < 1:
            raise UsageError(f"cannot look every {every} steps: it must be 1 or more")
        self.path = None if path is None else Path(path)
        self.every = every
        self.moments: list[Any] = []
        self._watch = Watch()
        self._weights: _Weights | None = None
        self._steps = 0

    def step(self, module: Any, label: object) -> None:
        """Look at the weights of a model now.

        Args:
            module: A ``torch.nn.Module`` or a Keras model.
            label: What the moment is called: an epoch or a step.
        """
        if self._weights is None or self._weights.module is not module:
            self._weights = _Weights(module)
        weights = self._weights
        moment = self._watch.look(str(label), weights.arrays(), weights.trained())
        if self.path is not None:
            with self.path.open("ab" if self.moments else "wb") as file:
                file.write(msgspec.json.encode(moment) + b"\n")
        self.moments.append(moment)
        for text in moment.warnings:
            warnings.warn(f"{label}: {text}", WeightWarning, stacklevel=2)

    def on_train_begin(self, logs: Any = None) -> None:
        """Look at the weights before the first step."""
        del logs
        self.step(_model(self), "start")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Look every so many steps."""
        del batch, logs
        self._steps += 1
        if self.every is not None and self._steps % self.every == 0:
            self.step(_model(self), f"step {self._steps}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Look at the end of each epoch, where no number of steps was given."""
        del logs
        if self.every is None:
            self.step(_model(self), f"epoch {epoch + 1}")


class SafetensorsCheckpoint(_Callback):
    """Saves a Keras model as safetensors that PyTorch opens, while it is trained.

    Each file appears under its name only when it is complete. ``converter.load(model, file)`` puts
    it back.

    Args:
        path: The file; ``{epoch}`` and names of ``logs`` in braces are filled in.
        every: Epochs between two files.
        monitor: Name in ``logs``; with it, a file is written only when that number is the best.
        mode: ``"min"`` or ``"max"``: which numbers are better.
        mapping: As in :func:`converter.plan`; by kind where none fits.
        to: ``"torch"``, or ``"keras"`` to keep Keras' names and layouts.

    Attributes:
        best: The best number so far, or ``None``.
        written: What was written last, or ``None``.

    Raises:
        UsageError: If ``every`` is not positive, or ``mode`` is no mode.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every: int = 1,
        monitor: str | None = None,
        mode: str = "min",
        mapping: Any = None,
        to: str = "torch",
    ) -> None:
        super().__init__()
        if every < 1 or mode not in ("min", "max"):
            raise UsageError("cannot save: every must be 1 or more, and mode min or max")
        self.path = str(path)
        self.every = every
        self.monitor = monitor
        self.mode = mode
        self.mapping = mapping
        self.to = to
        self.best: float | None = None
        self.written: Written | None = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save the model, where it is time and the model is the best one.

        Raises:
            UsageError: If ``logs`` has no number called as ``monitor``.
        """
        numbers = dict(logs or {})
        if (epoch + 1) % self.every or not self._is_best(numbers):
            return
        target = self.path.format(epoch=epoch + 1, **numbers)
        self.written = api.convert(
            _model(self), target, to=self.to, mapping=self.mapping, format="safetensors", force=True
        )

    def _is_best(self, numbers: dict[str, Any]) -> bool:
        if self.monitor is None:
            return True
        if self.monitor not in numbers:
            raise UsageError(
                f"cannot save the best: the training has no '{self.monitor}'",
                facts=[("found", ", ".join(sorted(numbers)) or "nothing")],
            )
        value = float(numbers[self.monitor])
        better = self.best is None or (
            value < self.best if self.mode == "min" else value > self.best
        )
        if better:
            self.best = value
        return better


def _model(callback: Any) -> Any:
    model = getattr(callback, "model", None)
    if model is None:
        raise UsageError(
            "cannot look: the callback was made before Keras was imported",
            hint="import keras first, or call watcher.step(model, epoch)",
        )
    return model


class _Weights:
    """The floating weights of one live model, named once and read as often as wanted.

    Statistics of normalisations and counters are left out: no gradient changes them.
    """

    def __init__(self, module: Any) -> None:
        checkpoint = open_live(module)
        if checkpoint is None:
            raise UsageError(f"cannot look at a {type(module).__name__}: it is no model or module")
        self.module = module
        self._checkpoint = checkpoint
        floating = {spec.name for spec in checkpoint.manifest if spec.dtype.is_floating}
        found = _keras_variables if checkpoint.manifest.family == "keras" else _torch_parameters
        self._variables = {
            name: variable
            for name, variable in found(module, checkpoint).items()
            if name in floating
        }

    def arrays(self) -> dict[str, Array]:
        """Return the values by name, as they are now."""
        return {name: self._checkpoint.read(name) for name in self._variables}

    def trained(self) -> dict[str, bool]:
        """Return whether training is meant to change each, as it is set now."""
        return {
            name: bool(getattr(one, "requires_grad", False))
            if isinstance(self._checkpoint, TorchModuleCheckpoint)
            else bool(one.trainable)
            for name, one in self._variables.items()
        }


def _keras_variables(model: Any, checkpoint: Any) -> dict[str, Any]:
    pairs = zip(take_inventory(checkpoint.manifest), model.weights, strict=True)
    return {
        entry.spec.name: variable
        for entry, variable in pairs
        if not entry.role.startswith("moving_")
    }


def _torch_parameters(module: Any, checkpoint: Any) -> dict[str, Any]:
    parameters = dict(module.named_parameters(remove_duplicate=False))
    names = ((name, checkpoint.keys.get(name, name)) for name in checkpoint.manifest.tensors)
    return {name: parameters[key] for name, key in names if key in parameters}
