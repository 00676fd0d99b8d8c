"""Let transformers open a folder that we filled: its own loader is the judge of every name."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

from converter.execution.conversion import Conversion


def is_of_transformers(module: Any) -> bool:
    """Whether a module has the loader that is meant here."""
    return hasattr(module, "save_pretrained") and hasattr(type(module), "from_pretrained")


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
