"""From what a caller writes to what is asked of a validation: names checked, defaults filled in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converter.errors import UsageError
from converter.mapping.rules import Mapping
from converter.validation.checkpoints import Asked
from converter.validation.judging import Tolerance
from converter.validation.keras_process import Process
from converter.validation.outcomes import LEVELS


def ask(
    levels: Sequence[str],
    *,
    inputs: Any,
    mapping: Mapping | str | None,
    folders: tuple[Path, ...],
    seed: int,
    tolerances: tuple[float | None, float | None],
    control_seconds: float,
    keras_process: tuple[str | None, str | None],
    explain: bool = True,
) -> Asked:
    """Return what is asked for.

    Args:
        levels: Names of levels.
        inputs: As in :func:`converter.api.validate`, like all that follow.
        mapping: See there.
        folders: See there.
        seed: See there.
        tolerances: Relative and absolute.
        control_seconds: See there.
        keras_process: Backend and interpreter.
        explain: See there.

    Raises:
        UsageError: If there is no level of a name.
    """
    named = {str(name): name for name in LEVELS}
    unknown = [name for name in levels if name not in named]
    if unknown:
        raise UsageError(
            f"there is no level '{unknown[0]}'", hint=f"the levels are {', '.join(LEVELS)}"
        )
    relative, absolute = tolerances
    tolerance = None
    if relative is not None or absolute is not None:
        tolerance = Tolerance(relative or 0.0, absolute or 0.0)
    backend, python = keras_process
    return Asked(
        levels=tuple(named[name] for name in levels),
        inputs=inputs,
        mapping=mapping,
        folders=folders,
        seed=seed,
        tolerance=tolerance,
        control_seconds=control_seconds,
        explain=explain,
        process=Process(backend or "tensorflow", python) if backend or python else None,
    )
