"""What ``--json`` prints of files that are proposed to a person: written modules."""

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
