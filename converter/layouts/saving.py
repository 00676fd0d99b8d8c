"""One verb for ready folders: which layout, which way, and where it goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from converter import api
from converter.algebra.base import Law
from converter.errors import UsageError
from converter.execution.executor import Written
from converter.execution.progress import Progress
from converter.layouts.folder import Contents, write_folder
from converter.layouts.huggingface import huggingface_contents
from converter.layouts.keras_preset import preset_contents
from converter.mapping.rules import Mapping
from converter.planning.plan import Plan
from converter.tensors.dtype import DType

HUGGINGFACE = "huggingface"
KERAS_HUB = "keras_hub"
LAYOUTS = (HUGGINGFACE, KERAS_HUB)


@dataclass(frozen=True, slots=True)
class SavedFolder:
    """A folder that is there.

    Attributes:
        written: Its files.
        plan: What was done to the weights; its notes say what is not as in the source.
    """

    written: Written
    plan: Plan


def save_folder(
    source: object,
    folder: str | os.PathLike[str],
    *,
    layout: str,
    mapping: Mapping | str | None = None,
    dtype: str | DType | None = None,
    require: str | Law | None = None,
    mapping_folders: Sequence[str | os.PathLike[str]] = (),
    max_shard_size: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> SavedFolder:
    """Write a checkpoint of one library as a folder that the other one opens as it is.

    Args:
        source: A ``.keras`` file or the folder of a preset, or a folder of transformers.
        folder: The folder to write; made where it is not there.
        layout: ``"huggingface"`` for ``from_pretrained`` of transformers, ``"keras_hub"`` for
            ``from_preset``.
        mapping: As in :func:`converter.plan`.
        dtype: See there.
        require: See there.
        mapping_folders: See there.
        max_shard_size: Largest size of one file of weights in bytes, or ``None`` for one file.
        force: Whether files of these names may be replaced.
        progress: Called with each progress event.

    Raises:
        UsageError: If there is no such layout, or the source is not one of the other library.
        ConfigurationError: With every entry of the configuration that has no counterpart.
        PlanError: If the weights do not fit the mapping.
        TargetExistsError: If a file is there and ``force`` is false.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"there is no layout '{layout}'", facts=[("layouts", ", ".join(LAYOUTS))])
    folders = tuple(Path(one) for one in mapping_folders)
    with api.open(source) as checkpoint:
        contents: Contents
        if layout == HUGGINGFACE:
            contents = huggingface_contents(
                checkpoint, mapping=mapping, dtype=dtype, require=require, folders=folders
            )
        else:
            contents = preset_contents(
                checkpoint,
                mapping=mapping,
                dtype=dtype,
                require=require,
                folders=folders,
                in_shards=max_shard_size is not None,
            )
        written = write_folder(
            contents,
            Path(folder),
            max_shard_size=max_shard_size,
            force=force,
            progress=progress,
        )
    return SavedFolder(written, contents.conversion.plan)
