"""What a Hugging Face checkpoint tells in the ``config.json`` beside it: sizes, and its family.

Sizes are whole numbers by key (``num_attention_heads``); a mapping says which key is which size.

Source:
    transformers 5.x, ``PretrainedConfig.to_json_file``: one JSON object beside the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converter.formats.source_file import SourceFile
from converter.formats.strict_json import strict_json

_NAME = "config.json"
_MAX_BYTES = 64 * 2**20
_LARGEST = 2.0**53  # up to here a float is the whole number that was written


def read_sizes(path: Path | None) -> dict[str, int]:
    """Return the whole numbers of the ``config.json`` of a checkpoint, by key.

    Args:
        path: A checkpoint file or folder, or ``None``.

    Raises:
        CorruptFileError: If the file is no JSON.
    """
    return sizes_in(_read(path))


def sizes_in(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the whole numbers of a configuration, by key; of one inside it, behind a dot.

    Examples:
        >>> sizes_in({"num_heads": 3, "eps": 1e-5, "rope_parameters": {"rope_theta": 5000000.0}})
        {'num_heads': 3, 'rope_parameters.rope_theta': 5000000}
    """
    found = {}
    for key, value in config.items():
        below = value if isinstance(value, Mapping) else {}
        inside = {f"{key}.{name}": one for name, one in below.items()}
        for name, one in {key: value, **inside}.items():
            size = _whole(one)
            if size is not None:
                found[str(name)] = size
    return found


def _whole(value: object) -> int | None:
    """Return a whole number; the base of a rotary embedding is written as ``10000.0``."""
    if type(value) is float and value.is_integer() and abs(value) < _LARGEST:
        return int(value)
    return value if type(value) is int else None


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
