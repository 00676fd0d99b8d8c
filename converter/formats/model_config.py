"""Sizes that a Hugging Face checkpoint tells in the ``config.json`` beside it.

Only numbers are taken, by key (``num_attention_heads``); a mapping says which key is which size.

Source:
    transformers 5.x, ``PretrainedConfig.to_json_file``: one JSON object beside the weights.
"""

from __future__ import annotations

from pathlib import Path

from converter.formats.source_file import SourceFile
from converter.formats.strict_json import strict_json

_NAME = "config.json"
_MAX_BYTES = 64 * 2**20


def read_sizes(path: Path | None) -> dict[str, int]:
    """Return the whole numbers of the ``config.json`` of a checkpoint, by key.

    Args:
        path: A checkpoint file or folder, or ``None``.

    Raises:
        CorruptFileError: If the file is no JSON object.
    """
    if path is None:
        return {}
    place = (path if path.is_dir() else path.parent) / _NAME
    if not place.is_file() or place.stat().st_size > _MAX_BYTES:
        return {}
    with SourceFile(place) as source:
        content = strict_json(source.read(0, source.size), what="the configuration", path=place)
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if type(value) is int}
