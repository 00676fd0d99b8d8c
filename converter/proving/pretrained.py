"""Folders of transformers, both ways: it opens what we write, and we read what it saves.

Its own loader is the judge of every name; the names in its files are not always those in memory.
"""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

from converter import api
from converter.execution.conversion import Conversion
from converter.mapping.rules import Mapping
from converter.tensors.dtype import Array


def is_of_transformers(module: Any) -> bool:
    """Whether a module has the loader that is meant here."""
    return hasattr(module, "save_pretrained") and hasattr(type(module), "from_pretrained")


def saved_tensors(module: Any) -> dict[str, Array]:
    """Return what transformers itself writes for a module, by the names in its files."""
    from safetensors.numpy import load_file

    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        module.save_pretrained(folder)
        return dict(load_file(Path(folder) / "model.safetensors"))


def open_pretrained(plan: Conversion, module: Any) -> str:
    """Write a plan's tensors beside the configuration of a module and let transformers open both.

    Args:
        plan: To PyTorch.
        module: Its target, a model of transformers.

    Returns:
        What is wrong with the folder, one sentence, or an empty text.

    Source:
        transformers 5.23.0 ``modeling_utils.py``, ``from_pretrained(output_loading_info=True)``.
    """
    # The bar that it draws is about files that nobody asked for.
    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        module.config.save_pretrained(folder)
        plan.save(Path(folder) / "model.safetensors")
        found, told = type(module).from_pretrained(folder, output_loading_info=True)
    wanted = plan.state_dict()
    # What the mapping drops is missing, and is no part of what both models compute.
    told["missing_keys"] = [key for key in told.get("missing_keys", ()) if key in wanted]
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if told.get(key):
            return f"{key.partition('_')[0]}: {', '.join(sorted(map(str, told[key])))}"
    for name, value in found.state_dict().items():
        if name in wanted and value.numpy().tobytes() != wanted[name].numpy().tobytes():
            return f"another value: {name}"
    return ""


def read_saved(model: Any, module: Any, mapping: Mapping | None) -> str:
    """Let transformers save a module, and read its file into a Keras model.

    Args:
        model: The Keras model; it is not changed.
        module: A model of transformers.
        mapping: The mapping, or ``None`` for the one that is found.

    Returns:
        The Keras tensor that is not the same bits as that of the module itself, or an empty text.
    """
    with tempfile.TemporaryDirectory() as folder:
        module.save_pretrained(folder)
        file = api.plan(Path(folder) / "model.safetensors", like=model, mapping=mapping)
        found = file.get_weights()
    wanted = api.plan(module, like=model, mapping=mapping).get_weights()
    for name, one, other in zip(api.open(model).manifest.tensors, found, wanted, strict=True):
        if one.tobytes() != other.tobytes():
            return name
    return ""
