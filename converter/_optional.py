"""Import a framework on first use, or say what to install."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType

from converter.errors import MissingDependencyError


def is_installed(name: str) -> bool:
    """Whether a top-level package could be imported, without importing it.

    Examples:
        >>> is_installed("json"), is_installed("no_such_package")
        (True, False)
    """
    return name in sys.modules or importlib.util.find_spec(name) is not None


def require(name: str, *, why: str, extra: str) -> ModuleType:
    """Import a package that an extra brings.

    Keras: where ``KERAS_BACKEND`` is not set, Keras is not imported yet and TensorFlow is absent,
    the torch backend is chosen for this process. The user's ``keras.json`` is not touched.

    Args:
        name: The package.
        why: What needs it, as the beginning of the message (``"cannot build a Keras model"``).
        extra: The extra of this distribution that installs it.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    if not is_installed(name):
        raise MissingDependencyError(
            f"{why}: {name} is not installed",
            facts=[("install", f'pip install "weightferry[{extra}]"')],
        )
    if name == "keras":
        _choose_keras_backend()
    return importlib.import_module(name)


def _choose_keras_backend() -> None:
    if "keras" in sys.modules or "KERAS_BACKEND" in os.environ or is_installed("tensorflow"):
        return
    if is_installed("torch"):
        os.environ["KERAS_BACKEND"] = "torch"
