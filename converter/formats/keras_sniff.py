"""Which Keras wrote an HDF5 file, told from its content.

Keras itself goes by the file's name, and loads nothing, or fails with counts that do not match,
when the name is wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from converter.formats.hdf5_direct import DirectFile, NotPlainError
from converter.formats.hdf5_probe import probe
from converter.formats.hdf5_walk import one_error, open_hdf5
from converter.formats.keras_groups import VARS
from converter.formats.source_file import SourceFile

_LEGACY = frozenset({"layer_names", "layer_names0", "model_config"})
_LOOKED_AT = 200  # objects; a group called vars is among the first of any weights file
_MAX_DEPTH = 12
_MAX_GROUPS = 10_000


def sniff_hdf5(path: str | Path) -> Literal["keras_weights", "keras_legacy"] | None:
    """Return the format of an HDF5 file, or ``None`` where Keras did not write it.

    Raises:
        CheckpointError: If it cannot be opened, or HDF5 cannot read it.
    """
    with SourceFile(path) as source:
        try:
            found = DirectFile(source.view(0, source.size), source.path, limit=_LOOKED_AT)
        except NotPlainError:
            return _sniff_through_hdf5(source)
        if _LEGACY.intersection(found.groups.get("", ())) or "model_weights" in found.groups:
            return "keras_legacy"
        if any(group.replace("\\", "/").split("/")[-1] == VARS for group in found.groups):
            return "keras_weights"
        whole = len(found.groups) + len(found.datasets) < _LOOKED_AT
        return None if whole else _sniff_through_hdf5(source)


def _sniff_through_hdf5(source: SourceFile) -> Literal["keras_weights", "keras_legacy"] | None:
    probe(source, 0, source.size)
    with one_error(source.path), open_hdf5(source) as file:
        attributes = set(file.attrs)
        if attributes & _LEGACY or _is_group(file.id, b"model_weights"):
            return "keras_legacy"
        return "keras_weights" if _has_vars(file.id) else None


def _has_vars(root: Any) -> bool:
    """Whether a group called ``vars`` is near the root; only hard links are followed."""
    from h5py import h5g

    waiting, seen = [(root, 0)], 0
    while waiting:
        group, depth = waiting.pop(0)
        if _is_group(group, VARS.encode()):
            return True
        for name in group:
            seen += 1
            if seen > _MAX_GROUPS or depth >= _MAX_DEPTH:
                break
            if _is_group(group, name):
                waiting.append((h5g.open(group, name), depth + 1))
    return False


def _is_group(parent: Any, name: bytes) -> bool:
    from h5py import h5g, h5l, h5o

    if name not in parent or parent.links.get_info(name).type != h5l.TYPE_HARD:
        return False
    return isinstance(h5o.open(parent, name), h5g.GroupID)
