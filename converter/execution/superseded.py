"""Files of an older target that a new one of the same name leaves without a meaning.

A set of shards that replaces one of another number of shards has other file names; the old shards
would lie there for good, and an old index, or an old single file, would be taken for the new
checkpoint. Only what an older run of the same target wrote is named here: the files that the old
index lists, in its own folder, under names made from its own, never one that is a source.

Source: the naming of shards in huggingface_hub ``split_state_dict_into_shards_factory`` and in
keras 3.15.1 ``saving_lib.ShardedH5IOStore``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

_MAX_INDEX_BYTES = 64 * 2**20
_INDEX = ".safetensors.index.json"
_SINGLE = ".safetensors"
_KERAS = ".weights.json"


def superseded(target: Path, names: Collection[str], sources: Iterable[Path]) -> tuple[Path, ...]:
    """Return the files to remove once the new ones are in their places.

    Args:
        target: The target as the user named it.
        names: The files that it consists of now.
        sources: Files that were read.
    """
    found: list[Path] = []
    for suffix in (_INDEX, _SINGLE):
        if target.name.endswith(suffix):
            stem = target.name.removesuffix(suffix)
            index = target.with_name(stem + _INDEX)
            shard = re.compile(rf"{re.escape(stem)}-[0-9]{{5}}-of-[0-9]{{5}}\.safetensors")
            found += _listed(index, shard)
            found += [index] if index.name not in names and found else []
            found += [target] if suffix == _SINGLE else []
            break
    if target.name.endswith(_KERAS):
        stem = target.name.removesuffix(_KERAS)
        found += _listed(target, re.compile(rf"{re.escape(stem)}_[0-9]{{5}}\.weights\.h5"))
    kept = {*names, *(source.name for source in sources if source.parent == target.parent)}
    return tuple(path for path in found if path.name not in kept and path.is_file())


def _listed(index: Path, shard: re.Pattern[str]) -> list[Path]:
    """Return the shards that an index names; none where it is no index of ours."""
    try:
        if index.is_symlink() or index.stat().st_size > _MAX_INDEX_BYTES:
            return []
        document: Any = json.loads(index.read_bytes())
        values = document["weight_map"].values()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []
    names = [
        name for value in values for name in (value if isinstance(value, list) else [value])
        if isinstance(name, str) and shard.fullmatch(name)
    ]  # fmt: skip
    return [index.with_name(name) for name in dict.fromkeys(names)]


def remove(paths: Iterable[Path]) -> None:
    """Remove files; what cannot be removed does no harm to the new target."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            continue
