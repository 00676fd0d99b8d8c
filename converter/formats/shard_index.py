"""An index of shards: which tensors it expects in which file, checked before any is opened.

An index may only name files of its own format: so it never leads to another index, and no circle of
them exists. Its size is limited, and so are the numbers of shards and tensors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converter.errors import CorruptFileError, UnsafeFileError
from converter.formats.source_file import MAX_JSON_BYTES, SourceFile, strict_json
from converter.formats.wording import cannot_read, quoted

MAX_SHARDS = 10_000
MAX_TENSORS = 200_000  # of all shards together


def read_index(index: Path, suffixes: tuple[str, ...], what: str) -> dict[str, list[str]]:
    """Return file name to the tensors that an index expects in it, in its order.

    Args:
        index: The index.
        suffixes: Endings that a shard may have.
        what: What a shard is, for messages (``"safetensors file"``).

    Raises:
        CorruptFileError: If it is no index.
        UnsafeFileError: If it names something else than a shard, or absurdly many.
    """
    with SourceFile(index, max_bytes=MAX_JSON_BYTES) as file:
        document: Any = strict_json(file.read(0, file.size), what="the index", path=index)
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict):
        raise CorruptFileError(cannot_read(index, "the index has no weight_map"))
    if len(weight_map) > MAX_TENSORS:
        raise UnsafeFileError(
            cannot_read(index, f"the index names {len(weight_map):,} tensors"),
            facts=[("expected", f"at most {MAX_TENSORS:,}")],
        )
    shards: dict[str, list[str]] = {}
    for tensor, name in weight_map.items():
        if not isinstance(name, str) or not name.endswith(suffixes):
            raise UnsafeFileError(
                cannot_read(index, f"it names a shard that is no {what}"),
                facts=[("tensor", quoted(tensor)), ("found", quoted(name))],
            )
        shards.setdefault(name, []).append(tensor)
    if len(shards) > MAX_SHARDS:
        raise UnsafeFileError(cannot_read(index, f"it names {len(shards):,} shards"))
    return shards


def check_shard(path: Path, found: set[str], expected: set[str]) -> None:
    """Refuse a shard that holds other tensors than its index says.

    Raises:
        CorruptFileError: If it does.
    """
    if found != expected:
        facts = [("missing", quoted(name)) for name in sorted(expected - found)[:10]]
        facts += [("unexpected", quoted(name)) for name in sorted(found - expected)[:10]]
        raise CorruptFileError(
            cannot_read(path, "its tensors are not those that the index says"), facts=facts
        )


def check_distinct(index: Path, sources: list[SourceFile]) -> None:
    """Refuse two names of one file.

    Raises:
        UnsafeFileError: If two shards are one file.
    """
    if len({source.identity for source in sources}) != len(sources):
        raise UnsafeFileError(cannot_read(index, "two of its shards are one file"))
