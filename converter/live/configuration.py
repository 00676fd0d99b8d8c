"""Sizes that no shape determines, from the configuration of a model of transformers.

A file has its ``config.json`` beside it; a live module carries the same entries.
"""

from __future__ import annotations

from converter.formats.base import Checkpoint
from converter.formats.model_config import read_sizes, sizes_in
from converter.live.torch_module import TorchModuleCheckpoint


def known_sizes(checkpoint: Checkpoint) -> dict[str, int]:
    """Return the whole numbers of the configuration that comes with a checkpoint, by key.

    Raises:
        CorruptFileError: If there is a ``config.json`` that is no JSON.

    Source:
        transformers 5.23 ``configuration_utils.py``, ``PretrainedConfig.to_dict``.
    """
    if not isinstance(checkpoint, TorchModuleCheckpoint):
        return read_sizes(checkpoint.path)
    config = getattr(checkpoint.module, "config", None)
    to_dict = getattr(config, "to_dict", None)
    found = to_dict() if callable(to_dict) else None
    return sizes_in(found) if isinstance(found, dict) else {}
