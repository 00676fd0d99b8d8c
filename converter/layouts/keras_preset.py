"""A folder of transformers as the preset of a Keras model.

The structure of a Keras weights file is that of its model, so the model is built, without values,
from what ``config.json`` says; its own configuration is what Keras writes of it.

Source: keras_hub 0.32 ``utils/preset_utils.py``, ``KerasPresetSaver`` and ``KerasPresetLoader``:
``config.json``, ``metadata.json``, and ``model.weights.h5`` or ``model.weights.json`` with shards.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
from dataclasses import replace
from importlib import metadata
from math import prod
from pathlib import Path
from typing import Any

from converter import api
from converter.algebra.base import Law
from converter.errors import ConfigurationError, Problem, UsageError
from converter.formats.base import Checkpoint
from converter.formats.beside import open_beside
from converter.formats.source_file import MAX_JSON_BYTES, strict_json
from converter.formats.wording import quoted
from converter.layouts.folder import Contents
from converter.layouts.huggingface import CONFIG, float_dtype
from converter.layouts.tables import Found, tables_of_type
from converter.live.factory import build
from converter.mapping.config_translation import TorchTensors, Translation, to_keras
from converter.mapping.naming import snake_case
from converter.mapping.requirements_told import told
from converter.mapping.rules import Mapping
from converter.tensors.dtype import DType, get_dtype

METADATA = "metadata.json"
TOKENIZER = (
    "the tokenizer is not converted: the folder has no tokenizer.json and no assets, and "
    "from_preset of a task takes preprocessor=None"
)
_SINGLE = ("model.weights.h5", "keras_weights")
_SHARDS = ("model.weights.json", "keras_sharded")
# What Keras leaves out of a preset's config.
_LEFT_OUT = ("compile_config", "build_config")


def preset_contents(
    checkpoint: Checkpoint,
    *,
    mapping: Mapping | str | None = None,
    dtype: str | DType | None = None,
    require: str | Law | None = None,
    folders: tuple[Path, ...] = (),
    in_shards: bool = False,
) -> Contents:
    """Return what a folder for Keras' ``from_preset`` holds.

    Args:
        checkpoint: A checkpoint of transformers, in a folder with its ``config.json``.
        mapping: As in :func:`converter.plan`.
        dtype: See there.
        require: See there.
        folders: Further folders that hold mappings.
        in_shards: Whether the weights are written in shards.

    Raises:
        UsageError: If it is no PyTorch checkpoint, or has no ``config.json``.
        UnsupportedFileError: If no mapping has a table for its ``model_type``.
        ConfigurationError: With every entry that Keras cannot say.
        MissingDependencyError: If the library of the Keras model is not installed.
        PlanError: If the weights do not fit the mapping.
    """
    config = _torch_config(checkpoint)
    (found, table), translated = _translated(
        checkpoint, config, tables_of_type(config, mapping=mapping, folders=folders)
    )
    _check_depth(checkpoint, translated.entries)
    floating = get_dtype(dtype).name if dtype is not None else float_dtype(checkpoint.manifest)
    # A name of its own: Keras counts those of a process.
    arguments = {**translated.entries, "dtype": floating, "name": snake_case(table.keras_class)}
    model = build(table.keras, arguments, family="keras", meta=True, or_plainly=False)
    conversion = api.plan(
        checkpoint, like=api.open(model), mapping=found, dtype=dtype, require=require
    )
    assumed = told(found, conversion.plan.assumptions, {**table.torch_only, **table.expected})
    notes = (*conversion.plan.notes, *translated.notes, TOKENIZER)
    plan = replace(conversion.plan, assumptions=assumed, notes=notes)
    name, format_id = _SHARDS if in_shards else _SINGLE
    texts = {
        CONFIG: _config_text(model, translated.entries),
        METADATA: _metadata_text(table.keras, model),
    }
    conversion = replace(conversion, plan=plan)
    return Contents(conversion, name, format_id, texts)


def _translated(
    checkpoint: Checkpoint, config: dict[str, Any], tables: list[Found]
) -> tuple[Found, Translation]:
    """Return the first table that can say everything, and what it says."""
    tried = []
    for found, table in tables:
        translated = to_keras(table, config, TorchTensors(found, checkpoint.manifest))
        if not translated.problems:
            return (found, table), translated
        tried.append((table, translated))
    table, translated = tried[0]
    count = len(translated.problems)
    entries = "1 entry" if count == 1 else f"{count} entries"
    raise ConfigurationError(
        f"cannot build a {table.keras_class} from the config.json of {quoted(checkpoint.label)}: "
        f"{entries} of it",
        translated.problems,
    )


def _check_depth(checkpoint: Checkpoint, arguments: dict[str, Any]) -> None:
    """Refuse a model of more layers than there are tensors before years are spent on building it.

    Raises:
        ConfigurationError: If it is one.
    """
    layers, tensors = arguments.get("num_layers", 0), len(checkpoint.manifest)
    if isinstance(layers, int) and layers > tensors:
        text = f"is {layers:,}, and the checkpoint has {tensors:,} tensors"
        raise ConfigurationError(
            f"cannot build the model of {quoted(checkpoint.label)}: it has too few tensors",
            [Problem("mismatched", "num_layers", text)],
        )


def _torch_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the content of the ``config.json`` beside a checkpoint."""
    if checkpoint.manifest.family == "keras":
        raise UsageError(
            f"cannot write a Keras preset from {quoted(checkpoint.label)}: it is a Keras "
            "checkpoint",
            hint="the other way is --layout huggingface",
        )
    path = checkpoint.path
    if path is None or not path.with_name(CONFIG).is_file():
        raise UsageError(
            f"cannot write a Keras preset from {quoted(checkpoint.label)}: no config.json is "
            "beside it",
            hint="without --layout, and with --like, the weights alone are converted",
        )
    with open_beside(path, CONFIG, max_bytes=MAX_JSON_BYTES) as source:
        content = strict_json(source.read(0, source.size), what="config.json", path=source.path)
    return content if isinstance(content, dict) else {}


def _config_text(model: Any, arguments: dict[str, Any]) -> str:
    """Return the configuration of a model as Keras writes it into a preset.

    Some classes leave out of ``get_config`` what they were built with (Llama's
    ``tie_word_embeddings`` in keras_hub 0.32), so that is put back.
    """
    keras = importlib.import_module("keras")
    document = keras.saving.serialize_keras_object(model)
    for key in _LEFT_OUT:
        document.pop(key, None)
    document["config"] = {**document["config"], **arguments}
    return json.dumps(document, indent=4)


def _metadata_text(factory: str, model: Any) -> str:
    library = factory.partition(".")[0].partition(":")[0]
    versions = {"keras_version": metadata.version("keras")}
    if library != "keras":
        versions[f"{library}_version"] = metadata.version(library.replace("_", "-"))
    return json.dumps(
        {
            **versions,
            "parameter_count": sum(prod(variable.shape) for variable in model.weights),
            "date_saved": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d@%H:%M:%S"),
        },
        indent=4,
    )
