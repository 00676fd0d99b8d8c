"""A folder is written as one target: weights and the texts beside them appear together or not.

The texts are further files of the same staged target, so a folder never holds the configuration of
one model and the weights of another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from converter.errors import WriteError
from converter.execution.conversion import Conversion
from converter.execution.executor import Written, execute_with
from converter.execution.progress import Progress
from converter.execution.write_errors import NOTHING, cannot_write
from converter.formats.base import Writer
from converter.formats.registry import create_writer
from converter.tensors.dtype import Array


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes into a folder.

    Attributes:
        conversion: The weights; the notes of its plan say what is not as in the source.
        name: Name of their file; of an index where it is in shards.
        format: Identifier of its format.
        texts: The other files, name to content.
    """

    conversion: Conversion
    name: str
    format: str
    texts: Mapping[str, str]


def write_folder(
    contents: Contents,
    folder: Path,
    *,
    max_shard_size: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Write a folder, complete or not at all.

    Args:
        contents: What goes into it.
        folder: Made where it is not there; its own folder must be.
        max_shard_size: Largest size of one file of weights in bytes, or ``None`` for one file.
        force: Whether files of these names may be replaced.
        progress: Called with each progress event.

    Raises:
        TargetExistsError: If a file is there and ``force`` is false.
        WriteError: If the disk is full, or the folder cannot be written to.
        OperationError: If a value is not what the plan allows.
    """
    conversion = contents.conversion

    def make_writer(staged: Path) -> Writer:
        inner = create_writer(
            contents.format,
            staged,
            contents.name,
            conversion.plan.target,
            structure=conversion.structure,
            max_shard_size=max_shard_size,
        )
        return _WithTexts(inner, staged, contents.texts)

    with _made(folder):
        return execute_with(
            make_writer,
            conversion.plan,
            conversion.source,
            folder / contents.name,
            force=force,
            progress=progress,
        )


class _WithTexts(Writer):
    """A writer of weights that also writes small texts."""

    def __init__(self, inner: Writer, folder: Path, texts: Mapping[str, str]) -> None:
        self._inner = inner
        self._names = tuple(texts)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")

    def write(self, name: str, start: int, block: Array) -> None:
        self._inner.write(name, start, block)

    def finish(self, metadata: Mapping[str, str]) -> tuple[str, ...]:
        return (*self._names, *self._inner.finish(metadata))

    def abort(self) -> None:
        self._inner.abort()


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it again where nothing was written into it."""
    try:
        folder.mkdir()
    except FileExistsError:
        yield  # what is no folder, or not ours to write to, is refused where files are written
        return
    except OSError as error:
        raise WriteError(
            cannot_write(folder, error.strerror or str(error)),
            facts=[("folder", str(folder.parent))],
            written=NOTHING,
        ) from error
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
