"""Factories of PyTorch twins whose own constructors take more than plain arguments."""

from __future__ import annotations

import importlib
from typing import Any

from converter._optional import is_installed
from converter.errors import MissingDependencyError, UsageError


def transformers_model(model: str, **config: Any) -> Any:
    """Build a model of transformers from its class and the entries of its configuration.

    Args:
        model: Name of the class, such as ``BertModel``.
        config: Entries of the configuration; the others keep their defaults.

    Raises:
        UsageError: If transformers has no such model.
        MissingDependencyError: If transformers is not installed.

    Source:
        transformers 5.23.0 ``modeling_utils.py``, ``PreTrainedModel.config_class``.
    """
    if not is_installed("transformers"):
        raise MissingDependencyError(
            f"cannot build '{model}': transformers is not installed",
            facts=[("install", "pip install transformers")],
        )
    found: Any = getattr(importlib.import_module("transformers"), model, None)
    if getattr(found, "config_class", None) is None:
        raise UsageError(f"cannot build '{model}': transformers has no such model")
    return found(found.config_class(**config))
