"""The written module of a Keras model as its twin, where PyTorch has no such architecture."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from converter.errors import UsageError
from converter.live.factory import build
from converter.live.keras_model import KerasModelCheckpoint
from converter.scaffold.writing import write_source


def scaffolded(factory: str, **arguments: Any) -> Any:
    """Build the module that ``converter scaffold`` writes for a Keras model.

    Args:
        factory: What builds the Keras model, such as ``keras.applications:ResNet50V2``.
        arguments: Of the factory.

    Returns:
        The module, with initial weights of its own; its file is gone.

    Raises:
        UsageError: If the model cannot be built, or a layer has no translation.
    """
    source = write_source(KerasModelCheckpoint(build(factory, arguments, family="keras")))
    if source.stubs:
        layer, why = next(iter(source.stubs.items()))
        raise UsageError(
            f"cannot write the module of '{factory}': '{layer}' has no translation",
            facts=[("reason", why)],
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scaffolded.py"
        path.write_text(source.text, encoding="utf-8")
        return build(f"{path}:{source.class_name}", family="torch")
