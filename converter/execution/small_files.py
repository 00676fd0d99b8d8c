"""Small files that are made in memory (a mapping, a report, a picture), written like large ones.

The target is the complete new file or what was there before, whatever happens meanwhile.
"""

from __future__ import annotations

from pathlib import Path

from converter.execution.staging import StagedTarget
from converter.execution.write_errors import write_error


def write_small(target: Path, data: bytes, *, force: bool) -> Path:
    """Write a whole file.

    Args:
        target: The file, as the user named it.
        data: Its content.
        force: Whether a file of this name may be replaced.

    Returns:
        Its path.

    Raises:
        TargetExistsError: If it is there and ``force`` is false.
        WriteError: If it cannot be written; what was there is untouched then.
    """
    with StagedTarget(target, needed=len(data), force=force) as staged:
        name = staged.target.name
        try:
            (staged.folder / name).write_bytes(data)
        except OSError as error:
            raise write_error(error, staged.target, needed=len(data)) from error
        (path,) = staged.commit([name])
    return path
