"""How readers and writers say that a file is bad: one first line, names made safe to print.

Names in a file are data that somebody else chose: control characters would reach the terminal,
and a long one would bury the message.
"""

from __future__ import annotations

from pathlib import Path

from converter.errors import UsageError

MAX_SHOWN = 200


def quoted(name: object) -> str:
    r"""Return a foreign name in quotes, escaped to ASCII and cut.

    Examples:
        >>> quoted("conv1/kernel")
        "'conv1/kernel'"
        >>> quoted("a\x1b[2Jb")
        "'a\\x1b[2Jb'"
        >>> len(quoted("x" * 1000))
        203
    """
    text = ascii(name[: MAX_SHOWN + 1] if isinstance(name, str | bytes) else name)
    return text if len(text) <= MAX_SHOWN + 3 else f"{text[: MAX_SHOWN - 1]}...{text[0]}"


def cannot_read(path: Path | None, why: str) -> str:
    """Return the first line of every message about a source.

    Examples:
        >>> cannot_read(Path("a/b.pt"), "the file is empty")
        "cannot read 'b.pt': the file is empty"
    """
    return f"cannot read {quoted(path.name if path is not None else 'the source')}: {why}"


def nbytes_text(count: int) -> str:
    """Return a size in bytes with thousands separators.

    Examples:
        >>> nbytes_text(4831838208)
        '4,831,838,208 bytes'
        >>> nbytes_text(1)
        '1 byte'
    """
    return f"{count:,} byte{'' if count == 1 else 's'}"


def refuse_select(path: Path, select: str | None) -> None:
    """Refuse to select a part of a file that holds one set of tensors.

    Raises:
        UsageError: If a part is asked for.
    """
    if select is not None:
        raise UsageError(
            f"cannot select {quoted(select)} in {quoted(path.name)}: it holds one set of tensors"
        )
