"""What ``--json`` prints: one structure for each command, and one for errors.

These classes are the documentation: ``converter schema COMMAND`` prints the JSON Schema that is
made from them. A field is added when needed and never renamed or removed; ``schema`` counts up if
that ever has to happen. Shapes are outermost axis first, sizes are in bytes, times in seconds.
"""

from __future__ import annotations

from typing import Any

import msgspec

from converter.cli import schema_mappings, schema_weights
from converter.cli.schema_weights import Parameters, Statistics

VERSION = 1


class Tensor(msgspec.Struct, frozen=True):
    """One tensor: its name, shape, dtype, and size in bytes.

    ``layer`` is the Keras layer or PyTorch module that it belongs to; ``role`` what it is there
    (``kernel``, ``gamma``); ``axes`` names each axis where the catalogue does; ``trainable`` is
    null where nothing says it; ``statistics`` are there with ``--stats``, for plain numbers.
    """

    name: str
    shape: list[int]
    dtype: str
    nbytes: int
    layer: str = ""
    role: str = ""
    axes: list[str] = []  # msgspec copies it for each instance
    trainable: bool | None = None
    statistics: Statistics | None = None


class Layer(msgspec.Struct, frozen=True):
    """One Keras layer: its path, its class where known, and slot to tensor name."""

    path: str
    class_name: str | None
    tensors: dict[str, str]


class Checkpoint(msgspec.Struct, frozen=True):
    """What ``inspect`` found.

    ``family`` is ``keras``, ``torch`` or null; ``ties`` maps further names to the name that holds
    the value; ``notices`` says what is unusual, in whole sentences; ``writer`` is the program that
    wrote it, with its version, null where nothing in the file tells; ``warnings`` says what looks
    broken, from names alone or, with ``--stats``, from the values.
    """

    path: str
    format: str
    family: str | None
    nbytes: int
    tensors: list[Tensor]
    layers: list[Layer]
    ties: dict[str, str]
    metadata: dict[str, str]
    notices: list[str]
    writer: str | None = None
    parameters: Parameters | None = None
    warnings: list[str] = []  # msgspec copies it for each instance
    schema: int = VERSION


class Dropped(msgspec.Struct, frozen=True):
    """A source tensor that is not transferred, with the reason."""

    name: str
    why: str


class Written(msgspec.Struct, frozen=True):
    """What ``convert`` wrote: the files, their size, the plan in short, and how long it took.

    ``law`` is that of the weakest step; ``laws`` counts the steps of each; ``kept`` has the tensors
    that keep the value of ``--like``, and ``notes`` what else was decided.
    """

    source: str
    files: list[str]
    nbytes: int
    tensors: int
    to: str
    mapping: str
    law: str
    laws: dict[str, int]
    dropped: list[Dropped]
    assumptions: list[str]
    seconds: float
    kept: list[str]
    notes: list[str]
    schema: int = VERSION


Number = float | str | None  # texts are "nan", "inf" and "-inf"


class Row(msgspec.Struct, frozen=True):
    """One output or tensor of both sides, compared.

    ``error`` and ``floor`` are relative L2, ``floors`` is the first in units of the second;
    ``where`` is the index of the largest absolute difference. ``kl`` (nats) and ``agreement``
    (share of equal most probable classes) are null unless the output is that of a classifier.
    """

    name: str
    other: str
    verdict: str
    shape: list[int]
    error: Number
    floor: Number
    floors: Number
    max_absolute: Number
    max_relative: Number
    where: list[int]
    cosine: Number
    note: str
    kl: Number
    agreement: Number


class Finding(msgspec.Struct, frozen=True):
    """A layer that differs, and why.

    ``error`` is that of the module fed with the Keras layer's own input, ``floor`` the noise floor
    there; ``evidence`` maps each hypothesis tried to the error that is left when it is undone,
    ``untried`` says which could not be tried, because of a mistake in this package;
    ``is_compensated`` whether ``--repair`` knows weights that make up for it.
    """

    layer: str
    module: str
    error: Number
    floor: Number
    cause: str
    sentence: str
    evidence: dict[str, Number]
    by_weights: bool
    fix: str
    untried: list[str]
    is_compensated: bool


class LayerError(msgspec.Struct, frozen=True):
    """The error of one layer, in the order of the model.

    ``error`` is that of the module fed with the Keras layer's own input; ``accumulated_error`` that
    of both models run from the start. All are relative L2.
    """

    layer: str
    module: str
    error: Number
    floor: Number
    accumulated_error: Number


class Level(msgspec.Struct, frozen=True):
    """One level of a validation: ``status`` is ``pass``, ``warn``, ``fail`` or ``not run``."""

    name: str
    status: str
    sentence: str


class Control(msgspec.Struct, frozen=True):
    """A comparison with a plan that was broken on purpose; ``is_detected`` when it failed."""

    kind: str
    what: str
    floors: Number
    is_detected: bool
    note: str


class Histogram(msgspec.Struct, frozen=True):
    """The values of the worst output or tensor: counts of both sides between ``edges``.

    ``differences`` counts the elements whose absolute difference lies between the powers of ten in
    ``decades``.
    """

    name: str
    edges: list[float]
    first: list[int]
    second: list[int]
    differences: list[int]
    decades: list[int]


class Report(msgspec.Struct, frozen=True):
    """What ``validate`` found: ``verdict`` is ``pass``, ``warn`` or ``fail``.

    ``level`` is the strongest level that was run (``mapping``, ``structure``, ``values``,
    ``outputs-random``, ``outputs``) and ``levels`` says all; ``compared`` counts also those outputs
    or tensors that have no row.
    """

    level: str
    verdict: str
    compared: int
    rows: list[Row]
    notices: list[str]
    settings: dict[str, Any]
    findings: list[Finding]
    trace: list[LayerError]
    levels: list[Level]
    controls: list[Control]
    histogram: Histogram | None
    schema: int = VERSION


class Format(msgspec.Struct, frozen=True):
    """One format: whether this version reads and writes it, and what has to be installed."""

    id: str
    title: str
    suffixes: list[str]
    family: str | None
    reads: bool
    writes: bool
    needs: dict[str, str]


class Formats(msgspec.Struct, frozen=True):
    """What ``formats`` lists."""

    formats: list[Format]
    schema: int = VERSION


class Problem(msgspec.Struct, frozen=True):
    """One reason of several why a plan or a mapping file cannot be used."""

    kind: str
    where: str
    text: str
    rule: str
    hint: str | None


class Failure(msgspec.Struct, frozen=True):
    """What every command prints instead of its result when it ends with exit code 2.

    ``type`` is the class of the exception in ``converter.errors``; ``facts`` are label and text;
    ``written`` says what is on disk, or is null where the command would not have written.
    """

    type: str
    summary: str
    facts: list[tuple[str, str]]
    hint: str | None
    written: str | None
    problems: list[Problem]


class Error(msgspec.Struct, frozen=True):
    """The envelope of a failure, so that ``error`` alone tells it from a result."""

    error: Failure
    schema: int = VERSION


def results() -> dict[str, type[msgspec.Struct]]:
    """Return command to the structure that it prints; ``error`` is what all print on failure."""
    from converter.cli import schema_drafts
    from converter.cli.schema_proposals import Scaffolded, Upgraded
    from converter.execution.plan_report import PlanReport  # with NumPy, which few commands need

    return {
        "inspect": Checkpoint,
        "plan": PlanReport,
        "convert": Written,
        "validate": Report,
        "diff": schema_weights.Difference,
        "plot": schema_weights.Plot,
        "edit": Written,
        "average": schema_weights.Averaged,
        "scaffold": Scaffolded,
        "scaffold --to keras": Upgraded,
        "draft": schema_drafts.Draft,
        "formats": Formats,
        "mappings list": schema_mappings.Mappings,
        "mappings show": schema_mappings.Mapping,
        "mappings check": schema_mappings.Mappings,
        "mappings new": schema_drafts.Beginning,
        "mappings prove": schema_mappings.Mappings,
        "mappings explain": schema_mappings.Explanations,
        "error": Error,
    }


def dump(value: msgspec.Struct) -> str:
    """Return the JSON text of a result, indented, in the order of the fields."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def json_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a result."""
    return msgspec.json.schema(kind)
