"""What ``--json`` prints of files that are proposed to a person: written modules and models."""

from __future__ import annotations

from typing import Any

import msgspec

from converter.cli.schema import VERSION


class Stub(msgspec.Struct, frozen=True):
    """A layer that has no translation, with the reason."""

    layer: str
    why: str


class Scaffolded(msgspec.Struct, frozen=True):
    """What ``scaffold`` wrote, and what came of loading it.

    ``loaded`` is null where it was not tried; ``verdict`` is ``pass``, ``warn``, ``fail``,
    ``not compared`` or ``not checked``; ``report`` is that of ``validate``, or null.
    """

    module: str
    class_name: str
    lines: int
    weights: list[str]
    stubs: list[Stub]
    notes: list[str]
    loaded: bool | None
    verdict: str
    why_not: str
    report: dict[str, Any] | None
    schema: int = VERSION


class Upgraded(msgspec.Struct, frozen=True):
    """What ``scaffold --to keras`` wrote, and what came of opening it.

    ``target`` is null where nothing was written, because of the layers in ``refused``; ``scaled``
    are the tensors whose values were changed to keep the outputs, and ``equal`` counts those that
    Keras holds bit for bit as the source does. ``loaded`` is null where it was not tried;
    ``verdict`` is ``pass``, ``fail``, ``not opened`` or ``not checked``.
    """

    target: str | None
    generation: int
    tensors: int
    refused: list[Stub]
    notes: list[str]
    scaled: list[str]
    loaded: bool | None
    keras_version: str
    equal: int
    differing: list[str]
    verdict: str
    why_not: str
    schema: int = VERSION
