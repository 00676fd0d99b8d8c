"""What ``--json`` prints: one structure for each command, and one for errors.

These classes are the documentation: ``converter schema COMMAND`` prints the JSON Schema that is
made from them. A field is added when needed and never renamed or removed; ``schema`` counts up if
that ever has to happen. Shapes are outermost axis first, sizes are in bytes, times in seconds.
"""

from __future__ import annotations

from typing import Any

import msgspec

VERSION = 1


class Tensor(msgspec.Struct, frozen=True):
    """One tensor: its name, shape, dtype, and size in bytes."""

    name: str
    shape: list[int]
    dtype: str
    nbytes: int


class Layer(msgspec.Struct, frozen=True):
    """One Keras layer: its path, its class where known, and slot to tensor name."""

    path: str
    class_name: str | None
    tensors: dict[str, str]


class Checkpoint(msgspec.Struct, frozen=True):
    """What ``inspect`` found.

    ``family`` is ``keras``, ``torch`` or null; ``ties`` maps further names to the name that holds
    the value; ``notices`` says what is unusual, in whole sentences.
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
    schema: int = VERSION


class Step(msgspec.Struct, frozen=True):
    """One step of a plan: these source tensors become these target tensors by this operation."""

    sources: list[str]
    targets: list[str]
    operation: str
    law: str
    rule: str
    layer: str
    module: str


class Dropped(msgspec.Struct, frozen=True):
    """A source tensor that is not transferred, with the reason."""

    name: str
    why: str


class Plan(msgspec.Struct, frozen=True):
    """What ``plan`` found: ``law`` is that of the weakest step."""

    source: str
    to: str
    mapping: str
    law: str
    nbytes: int
    steps: list[Step]
    tensors: list[Tensor]
    dropped: list[Dropped]
    ties: dict[str, str]
    assumptions: list[str]
    schema: int = VERSION


class Written(msgspec.Struct, frozen=True):
    """What ``convert`` wrote: the files, their size, the plan in short, and how long it took."""

    source: str
    files: list[str]
    nbytes: int
    tensors: int
    to: str
    mapping: str
    law: str
    dropped: list[Dropped]
    assumptions: list[str]
    seconds: float
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


def dump(value: msgspec.Struct) -> str:
    """Return the JSON text of a result, indented, in the order of the fields."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def json_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a result."""
    return msgspec.json.schema(kind)
