"""Live models for two checkpoints: built by a factory or by Keras' own loader, then filled.

Keras loads a ``.keras`` file with its safe mode on, so that no code from the file runs. Everything
else is built by a factory that the user, or the mapping, names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converter._optional import require
from converter.errors import ConverterError, UsageError
from converter.execution.executor import to_arrays
from converter.formats.base import Checkpoint
from converter.live.factory import build
from converter.live.keras_model import KerasModelCheckpoint
from converter.live.sources import build_source
from converter.live.torch_module import TorchModuleCheckpoint
from converter.mapping.rules import Source
from converter.planning.copy import make_copy_plan
from converter.planning.sides import Side
from converter.tensors.manifest import Family

_FACTORIES = {
    "keras": "--keras keras.applications:VGG16, or --keras network.py:build",
    "torch": "--torch torchvision.models:vgg16, or --torch network.py:build",
}


def live_model(
    checkpoint: Checkpoint,
    family: Family,
    factory: object = None,
    *,
    sources: Mapping[str, Mapping[str, Source]] | None = None,
) -> Any:
    """Return a model of one side that holds the values of a checkpoint.

    Args:
        checkpoint: The values; a live model is returned as it is.
        family: Which side it is.
        factory: A factory, a live model to be filled, or ``None``.
        sources: Variant to side to factory, as a mapping names them.

    Raises:
        UsageError: If nothing says how to build the model.
        PlanError: If the model and the checkpoint have different tensors.
        MissingDependencyError: If the framework is not installed.
    """
    if isinstance(checkpoint, KerasModelCheckpoint):
        return checkpoint.model
    if isinstance(checkpoint, TorchModuleCheckpoint):
        return checkpoint.module
    if factory is not None:
        return _filled(_built(factory, family), checkpoint, family)
    if family == "keras" and checkpoint.format == "keras":
        return load_keras_file(checkpoint.path, label=checkpoint.label)
    for variant in (sources or {}).values():
        source = variant.get(family)
        found = _try_variant(source, checkpoint, family) if source is not None else None
        if found is not None:
            return found
    raise UsageError(
        f"cannot run {checkpoint.label}: nothing says how to build its model",
        hint=f"name what builds it: {_FACTORIES[family]}",
    )


def _built(factory: object, family: Family) -> Any:
    return build(factory, family=family) if isinstance(factory, str) else factory


def _filled(model: Any, checkpoint: Checkpoint, family: Family) -> Any:
    view = KerasModelCheckpoint(model) if family == "keras" else TorchModuleCheckpoint(model)
    plan = make_copy_plan(
        Side(family, checkpoint.manifest, label=checkpoint.label),
        Side(family, view.manifest, label=view.label),
    )
    view.load(to_arrays(plan, checkpoint))
    return model


def load_keras_file(path: object, *, label: str) -> Any:
    """Return the model of a ``.keras`` file, by Keras' own loader in its safe mode.

    Raises:
        UsageError: If Keras cannot open it.
        MissingDependencyError: If Keras is not installed.
    """
    keras = require("keras", why=f"cannot run {label}", extra="keras")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the layers of the file raise
        first = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"cannot run {label}: this Keras cannot open it",
            facts=[("keras", f"{keras.__version__}: {type(error).__name__}: {first}")],
            hint=f"name what builds the model: {_FACTORIES['keras']}",
        ) from error


def _try_variant(source: Source, checkpoint: Checkpoint, family: Family) -> Any | None:
    """Return the model of one variant of a mapping, or ``None`` where it is not this one."""
    skeleton = build_source(source, family=family, meta=True)
    view = KerasModelCheckpoint(skeleton) if family == "keras" else TorchModuleCheckpoint(skeleton)
    try:
        make_copy_plan(Side(family, checkpoint.manifest), Side(family, view.manifest))
    except ConverterError:
        return None
    return _filled(build_source(source, family=family), checkpoint, family)
