"""A Keras checkpoint as a folder that ``AutoModel.from_pretrained`` opens.

Source: transformers 5.23 ``modeling_utils.py`` (``from_pretrained``) and
``configuration_utils.py``: ``config.json`` with ``model_type`` and ``architectures`` beside
``model.safetensors`` or its index.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from converter import api
from converter.algebra.base import Law
from converter.errors import ConfigurationError, UsageError
from converter.formats.base import Checkpoint
from converter.formats.wording import quoted
from converter.layouts.folder import Contents
from converter.layouts.tables import tables_of_class
from converter.mapping.config_tables import ConfigTable
from converter.mapping.config_translation import TorchTensors, Translation, to_torch
from converter.mapping.requirements_told import told
from converter.mapping.rules import Mapping
from converter.planning.plan import Plan
from converter.tensors.dtype import DType
from converter.tensors.manifest import Manifest

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TOKENIZER = (
    "the tokenizer and the settings of generation are not converted: tokenizer.json and "
    "generation_config.json are not in the folder"
)


def huggingface_contents(
    checkpoint: Checkpoint,
    *,
    mapping: Mapping | str | None = None,
    dtype: str | DType | None = None,
    require: str | Law | None = None,
    folders: tuple[Path, ...] = (),
) -> Contents:
    """Return what a folder for transformers holds.

    Args:
        checkpoint: A Keras checkpoint that has its config: a ``.keras`` file, or a preset's folder.
        mapping: As in :func:`converter.plan`.
        dtype: See there.
        require: See there.
        folders: Further folders that hold mappings.

    Raises:
        UsageError: If it is no Keras checkpoint, or has no config.
        UnsupportedFileError: If no mapping has a table for its class.
        ConfigurationError: With every entry that ``config.json`` cannot say.
        PlanError: If the weights do not fit the mapping.
    """
    name, entries = _keras_config(checkpoint)
    tables = tables_of_class(name, mapping=mapping, folders=folders)
    found = tables[0][0]
    if name in tables[0][1].tasks:
        entries = entries.get("backbone", {}).get("config", {})
    conversion = api.plan(checkpoint, mapping=found, to="torch", dtype=dtype, require=require)
    tensors = TorchTensors(found, conversion.plan.target)
    of_mapping = [table for one, table in tables if one is found]
    table, translated = _translated(name, of_mapping, entries, tensors)
    plan = _renamed(conversion.plan, table)
    config = {
        "architectures": [table.architecture],
        "model_type": table.model_type,
        **translated.entries,
        "dtype": float_dtype(plan.target),
    }
    assumed = told(found, plan.assumptions, {**table.torch_only, **table.expected})
    notes = (*plan.notes, *translated.notes, TOKENIZER)
    return Contents(
        replace(conversion, plan=replace(plan, assumptions=assumed, notes=notes)),
        WEIGHTS,
        "safetensors",
        {CONFIG: json.dumps(config, indent=2) + "\n"},
    )


def _translated(
    name: str, tables: list[ConfigTable], entries: dict[str, Any], tensors: TorchTensors
) -> tuple[ConfigTable, Translation]:
    """Return the first table that can say everything, and what it says."""
    tried = []
    for table in tables:
        translated = to_torch(table, entries, tensors)
        if not translated.problems:
            return table, translated
        tried.append((table, translated.problems))
    table, problems = tried[0]
    raise ConfigurationError(
        f"cannot write the config.json of a {table.architecture}: {_count(problems)} of the {name}",
        problems,
    )


def float_dtype(manifest: Manifest) -> str:
    """Return the floating type of most bytes of a checkpoint."""
    sizes: Counter[str] = Counter()
    for spec in manifest:
        if spec.dtype.is_floating:
            sizes[spec.dtype.name] += spec.nbytes
    return sizes.most_common(1)[0][0] if sizes else "float32"


def _count(problems: Iterable[object]) -> str:
    count = len(list(problems))
    return "1 entry of the configuration" if count == 1 else f"{count} entries of the configuration"


def _keras_config(checkpoint: Checkpoint) -> tuple[str, dict[str, Any]]:
    """Return the Keras class of a checkpoint and what it is built from."""
    if checkpoint.manifest.family != "keras":
        raise UsageError(
            f"cannot write a folder for transformers from {quoted(checkpoint.label)}: it is no "
            "Keras checkpoint",
            hint="the other way is --layout keras_hub",
        )
    text = checkpoint.structure.config if checkpoint.structure is not None else None
    document = json.loads(text) if text is not None else {}
    name, entries = document.get("class_name"), document.get("config")
    if not isinstance(name, str) or not isinstance(entries, dict):
        raise UsageError(
            f"cannot write a folder for transformers from {quoted(checkpoint.label)}: nothing says "
            "how its model is built",
            hint="give a .keras file, or the folder of a preset: config.json and model.weights.h5",
        )
    return name, entries


def _renamed(plan: Plan, table: ConfigTable) -> Plan:
    """Return a plan whose target has the names that files of the class have."""
    rename = table.name_in_file
    target = plan.target
    return replace(
        plan,
        target=replace(
            Manifest.of(
                (replace(spec, name=rename(spec.name)) for spec in target),
                family="torch",
                ties={rename(one): rename(other) for one, other in target.ties.items()},
            ),
            metadata=target.metadata,
        ),
        steps=tuple(replace(step, targets=tuple(map(rename, step.targets))) for step in plan.steps),
        ties={rename(one): rename(other) for one, other in plan.ties.items()},
    )
