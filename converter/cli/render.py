"""Results as people read them: a table on a terminal, plain columns in a pipe. No decisions.

A pipe gets one line for each row, whole names, no colours and no wrapping, so that ``grep`` and
``awk`` work; a terminal gets rich's tables, in which long names are folded and never cut.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

_VERDICTS = {
    "pass": "green",
    "warn": "yellow",
    "fail": "red",
    "cause": "red",
    "note": "yellow",
    "not run": "dim",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its heading.
        right: Whether it holds numbers, aligned to the right.
    """

    title: str
    right: bool = False


def line(text: str = "") -> None:
    """Print one line of the result."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print one line that is not part of the result."""
    sys.stderr.write(text + "\n")


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headings."""
    if sys.stdout.isatty():
        _rich_table(columns, rows)
        return
    for text in plain_table(columns, rows):
        line(text)


def plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    r"""Return aligned columns, two spaces apart.

    Examples:
        >>> print("\n".join(plain_table([Column("name"), Column("bytes", right=True)],
        ...     [("conv1/kernel", "37,632"), ("conv1/bias", "256")])))
        name           bytes
        conv1/kernel  37,632
        conv1/bias       256
    """
    lines = [[column.title for column in columns], *(list(row) for row in rows)]
    widths = [max(len(texts[index]) for texts in lines) for index in range(len(columns))]
    return [
        "  ".join(
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(texts, widths, columns, strict=True)
        ).rstrip()
        for texts in lines
    ]


def sentences(label: str, texts: Sequence[str]) -> None:
    """Print whole sentences below the result, each with its label."""
    for text in texts:
        line(f"{label}: {text}")


def verdict(texts: Sequence[str]) -> None:
    """Print a report whose lines begin with a verdict; on a terminal, in colours."""
    if not sys.stdout.isatty():
        for text in texts:
            line(text)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for index, text in enumerate(texts):
        shown = Text(text, style="bold" if index == 0 else "")
        for word, style in _VERDICTS.items():
            shown.highlight_regex(rf"^{word}\b|^  {word}\b|^  [\w-]+ +{word}\b", style)
        console.print(shown, soft_wrap=True)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    Examples:
        >>> plural(1, "tensor"), plural(1200, "tensor")
        ('1 tensor', '1,200 tensors')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def examples(commands: Sequence[str]) -> str:
    """Return the last paragraph of a command's help."""
    return "\n\n".join(("Examples:", *commands))


def _rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        shown.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(text) for text in row))  # Text: brackets in names are no markup
    Console().print(shown)
