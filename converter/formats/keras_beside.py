"""What lies beside the weights of an unzipped ``.keras`` archive, or of a preset.

Such weights have one name, ``model.weights.h5``, or ``model.weights.json`` where they are in
shards; only files beside these are looked for, as any other may belong to something else.
"""

from __future__ import annotations

import os
from pathlib import Path

from converter.errors import CheckpointError
from converter.formats.beside import open_beside
from converter.formats.keras_archive import METADATA, WEIGHTS
from converter.formats.keras_checkpoint import CONFIG, Architecture
from converter.formats.keras_config import missing_architecture, parse_architecture
from converter.formats.source_file import MAX_JSON_BYTES, strict_json

_NAMES = (WEIGHTS, "model.weights.json")


def _content(path: Path, name: str) -> bytes | None:
    if path.name not in _NAMES or not os.path.lexists(path.with_name(name)):
        return None
    with open_beside(path, name, max_bytes=MAX_JSON_BYTES) as source:
        return bytes(source.read(0, source.size))


def architecture_beside(path: Path, notices: list[str]) -> Architecture | None:
    """Return the architecture beside a weights file; ``None`` where there is none.

    Args:
        path: The weights file, or the index of its shards.
        notices: Where it is said that one cannot be used.
    """
    data = _content(path, CONFIG)
    if data is None:
        return None
    try:
        model = parse_architecture(data, what=CONFIG, path=path)
    except CheckpointError as error:
        notices.append(missing_architecture(path.with_name(CONFIG), error.summary))
        return None
    return Architecture(data.decode("utf-8"), model)


def metadata_beside(path: Path) -> dict[str, str]:
    """Return the texts of the ``metadata.json`` beside a weights file."""
    data = _content(path, METADATA)
    texts = strict_json(data, what=METADATA, path=path) if data is not None else {}
    found = texts.items() if isinstance(texts, dict) else ()
    return {str(key): text for key, text in found if isinstance(text, str)}
