"""A progress bar for work that takes over a second, on a terminal; nothing otherwise."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from converter.execution.progress import Advanced, Event, Finishing, Started

PATIENCE = 1.0  # seconds before a bar is worth drawing


class Bar:
    """A callback that draws events on stderr, once they have gone on for a second."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._begin = time.monotonic()
        self._label = ""
        self._rich: Any = None
        self._task: Any = None

    def __call__(self, event: Event, /) -> None:
        """Take one event."""
        if not self._shown:
            return
        if isinstance(event, Started):
            self._label = event.label
        elif isinstance(event, Advanced):
            self._draw(event.done, event.total)
        elif isinstance(event, Finishing) and self._rich is not None:
            self._rich.update(self._task, completed=event.total, description="finishing")

    def _draw(self, done: int, total: int) -> None:
        if self._rich is None:
            if time.monotonic() - self._begin < PATIENCE:
                return
            self._rich = _rich_progress()
            self._task = self._rich.add_task(f"writing {self._label}", total=total)
            self._rich.start()
        self._rich.update(self._task, completed=done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._rich is not None:
            self._rich.stop()


def _rich_progress() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
