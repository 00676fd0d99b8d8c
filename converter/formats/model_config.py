"""What a Hugging Face checkpoint tells in the ``config.json`` beside it: sizes, and its family.

Sizes are numbers by key (``num_attention_heads``); a mapping says which key is which size.

Source:
    transformers 5.x, ``PretrainedConfig.to_json_file``: one JSON object beside the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converter.formats.source_file import SourceFile
from converter.formats.strict_json import strict_json

_NAME = "config.json"
_MAX_BYTES = 64 * 2**20


def read_sizes(path: Path | None) -> dict[str, int]:
    """Return the whole numbers of the ``config.json`` of a checkpoint, by key.

    Args:
        path: A checkpoint file or folder, or ``None``.

    Raises:
        CorruptFileError: If the file is no JSON.
    """
    return {key: value for key, value in _read(path).items() if type(value) is int}


def read_model_type(path: Path | None) -> str | None:
    """Return which family the ``config.json`` of a checkpoint says it is of, or ``None``.

    Args:
        path: A checkpoint file or folder, or ``None``.

    Raises:
        CorruptFileError: If the file is no JSON.
    """
    found = _read(path).get("model_type")
    return found if isinstance(found, str) else None


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    place = (path if path.is_dir() else path.parent) / _NAME
    if not place.is_file() or place.stat().st_size > _MAX_BYTES:
        return {}
    with SourceFile(place) as source:
        content = strict_json(source.read(0, source.size), what="the configuration", path=place)
    return content if isinstance(content, dict) else {}
