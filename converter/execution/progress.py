"""What a conversion reports while it runs: plain events, no rendering.

Events come in the thread that called the conversion, one at a time, so that a callback may draw,
log or stop the conversion by raising.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Started:
    """A conversion begins.

    Attributes:
        total: Size of all target tensors, in bytes.
        tensors: Number of target tensors.
        label: What messages call the target.
    """

    total: int
    tensors: int
    label: str


@dataclass(frozen=True, slots=True)
class Advanced:
    """More of the target was written.

    Attributes:
        done: Bytes of target tensors written so far.
        total: Size of all target tensors, in bytes.
        tensor: The target tensor last written to.
    """

    done: int
    total: int
    tensor: str


@dataclass(frozen=True, slots=True)
class Finishing:
    """Every value is written; files are completed, brought to the disk and renamed.

    Attributes:
        total: Size of all target tensors, in bytes.
    """

    total: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The target is there under its name.

    Attributes:
        total: Size of all target tensors, in bytes.
        files: Number of files written.
        seconds: Wall time since :class:`Started`.
    """

    total: int
    files: int
    seconds: float


Event = Started | Advanced | Finishing | Finished


class Progress(Protocol):
    """A callback that takes events."""

    def __call__(self, event: Event, /) -> None:
        """Take one event; what it raises ends the conversion, and nothing is written."""


def ignore(event: Event, /) -> None:
    """Take an event and do nothing with it."""
    del event
