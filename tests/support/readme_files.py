"""The files that the README's commands begin with."""

import os
from pathlib import Path


def prepare(folder: Path) -> None:
    """Write the demo's network, and a DenseNet as keras.applications builds it, both untrained."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import demo
    import keras

    demo.build_keras().save(folder / "digits.keras")
    keras.backend.clear_session()
    keras.applications.DenseNet121(weights=None).save(folder / "densenet121.keras")
