"""``converter convert --layout``: a folder that another library opens as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.cli.automatic import AUTO
from converter.errors import UsageError

if TYPE_CHECKING:
    from converter.execution.executor import Written
    from converter.formats.base import Checkpoint
    from converter.planning.plan import Plan


def save_layout(
    checkpoint: Checkpoint,
    folder: Path,
    layout: str,
    others: Mapping[str, object],
    options: Mapping[str, Any],
) -> tuple[Plan, Written]:
    """Write the folder, with a bar; see :func:`converter.layouts.saving.save_folder`.

    Args:
        checkpoint: What to read.
        folder: What to write.
        layout: Which layout.
        others: Option that a layout decides to what was given for it.
        options: Arguments of ``save_folder``.

    Raises:
        UsageError: If one of the others was given, or the mapping is to be drafted.
    """
    given = [name for name, value in others.items() if value]
    if given:
        raise UsageError(
            f"cannot use --{given[0]} with --layout: the layout says what the folder holds"
        )
    if options["mapping"] == AUTO:
        raise UsageError(
            "cannot use --mapping auto with --layout: a draft does not translate configurations"
        )
    from converter.cli.memory import return_what_is_freed
    from converter.cli.progress import Bar
    from converter.layouts.saving import save_folder

    return_what_is_freed()
    with Bar() as progress:
        found = save_folder(checkpoint, folder, layout=layout, progress=progress, **options)
    return found.plan, found.written
