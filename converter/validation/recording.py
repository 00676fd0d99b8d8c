"""Hashes of the files that were compared, so that a report says what it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_BLOCK_BYTES = 1 << 20


def hashes(paths: Iterable[Path]) -> dict[str, str]:
    """Return file name to SHA-256; a folder has one for each file in it, sorted.

    Names are those given, without their folders.
    """
    found = {}
    for path in paths:
        files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        for file in files:
            name = file.name if file == path else f"{path.name}/{file.relative_to(path)}"
            found[name] = _sha256(file)
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
