"""The options that several commands share, with one wording each."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class FamilyName(StrEnum):
    """Whose names and layouts a target has."""

    torch = "torch"
    keras = "keras"


class LawName(StrEnum):
    """The weakest law that a plan may have."""

    exact = "exact"
    canonical = "canonical"
    rounded = "rounded"


class LayoutName(StrEnum):
    """A folder that a library opens as it is."""

    huggingface = "huggingface"
    keras_hub = "keras_hub"


class LevelName(StrEnum):
    """What ``validate`` compares, from what needs least to what shows most."""

    mapping = "mapping"
    structure = "structure"
    values = "values"
    outputs_random = "outputs-random"
    outputs = "outputs"


class BackendName(StrEnum):
    """What Keras computes with."""

    torch = "torch"
    tensorflow = "tensorflow"
    jax = "jax"


Source = Annotated[Path, typer.Argument(metavar="SOURCE", help="A checkpoint: a file or a folder.")]

To = Annotated[
    FamilyName | None,
    typer.Option("--to", help="Whose layout to convert to; by default the other one."),
]

MappingName = Annotated[
    str | None,
    typer.Option(
        "--mapping",
        metavar="NAME|FILE",
        help="A mapping of the library ('converter mappings list') or a mapping file. "
        "By default the one that fits; else, for a Keras source, layer by layer by kind. For "
        "convert also auto: drafted, and used only if running both models proves it.",
    ),
]

Like = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="FILE|FACTORY",
        help="What the target must look like: a checkpoint, or a model to build such as "
        "keras.applications:DenseNet121. A Keras file needs one.",
    ),
]

Only = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="NAMES",
        help="Convert what is called so on either side; the rest keeps the values of --like.",
    ),
]

Prefix = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        metavar="OLD=NEW",
        help="How names of the source begin and how they shall: backbone=encoder, =encoder.",
    ),
]

Sizes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="AXIS=SIZE",
        help="The size of an axis that no shape tells, such as heads=12. Repeatable.",
    ),
]

DTypeName = Annotated[
    str | None,
    typer.Option(
        "--dtype", metavar="DTYPE", help="Cast floating tensors: float32, float16, bfloat16, ..."
    ),
]

Require = Annotated[
    LawName | None,
    typer.Option("--require", help="Refuse a plan with a step weaker than this."),
]

Select = Annotated[
    str | None,
    typer.Option(
        "--select",
        metavar="KEY",
        help="Which of several state dicts in a PyTorch file, such as model_ema.",
    ),
]

Architecture = Annotated[
    Path | None,
    typer.Option(
        "--architecture",
        metavar="FILE",
        help="For weights that name no layers: the model's JSON (model.to_json()) or a Keras file; "
        "for a list of arrays, the Keras file whose get_weights() it is.",
    ),
]

Norms = Annotated[
    str | None,
    typer.Option(
        "--norms",
        metavar="keep|materialise",
        help="Keep weights in the parts of weight_norm or spectral_norm, or compute them. "
        "By default they are computed on the way to Keras.",
    ),
]

Dequantize = Annotated[
    bool,
    typer.Option(
        "--dequantize", help="Read quantised Keras layers as the float32 that their codes mean."
    ),
]

Target = Annotated[
    Path,
    typer.Argument(
        metavar="TARGET",
        help="The file to write; its ending says the format ('converter formats').",
    ),
]

TargetFormat = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="ID", help="The target's format, where its ending does not say it."
    ),
]

Layout = Annotated[
    LayoutName | None,
    typer.Option(
        "--layout",
        help="Write TARGET as a folder, the configuration translated too: for transformers' "
        "from_pretrained, or for keras_hub's from_preset.",
    ),
]

MaxShardSize = Annotated[
    str | None,
    typer.Option("--max-shard-size", metavar="SIZE", help="Split into files of at most this."),
]

Sidecar = Annotated[
    bool,
    typer.Option("--sidecar", help="Also write TARGET.provenance.json, with every tensor."),
]

Force = Annotated[bool, typer.Option("--force", help="Replace a target that exists.")]

Every = Annotated[bool, typer.Option("--all", help="One row for each tensor, none collapsed.")]

Repair = Annotated[
    Path | None,
    typer.Option(
        "--repair",
        metavar="OUT",
        help="Write a checkpoint with the weights that compensate what was found, and compare it.",
    ),
]

Converted = Annotated[
    Path, typer.Argument(metavar="TARGET", help="What the source was converted to.")
]

KerasFactory = Annotated[
    str | None,
    typer.Option(
        "--keras",
        metavar="FACTORY",
        help="What builds the Keras model, such as keras.applications:VGG16.",
    ),
]

TorchFactory = Annotated[
    str | None,
    typer.Option(
        "--torch",
        metavar="FACTORY",
        help="What builds the PyTorch module, such as network.py:build.",
    ),
]

Inputs = Annotated[
    Path | None,
    typer.Option(
        "--inputs",
        metavar="FILE",
        help="Inputs to run on: .npz by input name, .npy, an image or a folder of images, or a "
        "text of token ids, one sample a line; by default random ones by --seed.",
    ),
]

Levels = Annotated[
    list[LevelName] | None,
    typer.Option(
        "--level",
        help="What to compare, repeatable; by default the strongest that can be run.",
    ),
]

RTol = Annotated[
    float | None,
    typer.Option("--rtol", help="Relative difference allowed, in place of the noise floor."),
]

ATol = Annotated[
    float | None,
    typer.Option("--atol", help="Absolute difference allowed, in place of the noise floor."),
]

Controls = Annotated[
    float,
    typer.Option(
        "--controls",
        metavar="SECONDS",
        help="How long to compare plans that were broken on purpose; 0 for not at all.",
    ),
]

NoControls = Annotated[
    bool, typer.Option("--no-controls", help="Compare no plan that was broken on purpose.")
]

NoExplain = Annotated[
    bool, typer.Option("--no-explain", help="Do not look for the layers that differ, and why.")
]

KerasBackend = Annotated[
    BackendName | None,
    typer.Option("--keras-backend", help="Run the Keras side on this, in its own process."),
]

KerasPython = Annotated[
    str | None,
    typer.Option(
        "--keras-python",
        metavar="PATH",
        help="The interpreter of that process, of an environment that has Keras.",
    ),
]

ReportPage = Annotated[
    Path | None,
    typer.Option("--report", metavar="HTML", help="Also write the report as one page."),
]

Seed = Annotated[int, typer.Option("--seed", help="Seed of the random inputs.")]

Json = Annotated[
    bool,
    typer.Option("--json", help="Print JSON; 'converter schema' documents it."),
]

Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show a traceback when something fails."),
]
