"""Sizes as people write them: ``5GB`` and ``1.5 GiB`` in, ``4.8 MB`` out."""

from __future__ import annotations

import re

from converter.errors import UsageError

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)


def parse_size(text: str, option: str) -> int:
    """Return a number of bytes: ``KB`` is 1000, ``KiB`` 1024, and so on.

    Raises:
        UsageError: If it is not a number with one of these units, or less than one byte.

    Examples:
        >>> parse_size("5GB", "--max-shard-size"), parse_size("1.5 MiB", "--max-shard-size")
        (5000000000, 1572864)
    """
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None or float(match[1]) * unit < 1:
        raise UsageError(
            f"cannot use {option} {text!r}: it is not a size",
            facts=[("expected", "a number and KB, MB, GB, TB, KiB, MiB, GiB or TiB, as in 5GB")],
        )
    return int(float(match[1]) * unit)


def size_text(nbytes: int) -> str:
    """Return a size for people, three figures and a decimal unit.

    Examples:
        >>> size_text(0), size_text(999), size_text(1_500), size_text(33_100_000)
        ('0 B', '999 B', '1.50 kB', '33.1 MB')
    """
    if nbytes < 1000:
        return f"{nbytes} B"
    size = float(nbytes)
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.5 or unit == "TB":
            break
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{size:.{digits}f} {unit}"


def parse_axis_sizes(texts: list[str]) -> dict[str, int]:
    """Return what ``--set axis=size`` says, given several times.

    Raises:
        UsageError: If one is not of this form, or one axis has two sizes.

    Examples:
        >>> parse_axis_sizes(["heads=12", "groups=4"])
        {'heads': 12, 'groups': 4}
    """
    sizes: dict[str, int] = {}
    for text in texts:
        axis, equals, size = text.partition("=")
        axis = axis.strip()
        if not (equals and axis and re.fullmatch(r"[0-9]+", size.strip())):
            raise UsageError(
                f"cannot use --set {text!r}: it is not of the form axis=size",
                facts=[("expected", "the name of an axis and a whole number, as in heads=12")],
            )
        if sizes.get(axis, int(size)) != int(size):
            raise UsageError(f"cannot use --set {text!r}: {axis} was {sizes[axis]} before")
        sizes[axis] = int(size)
    return sizes
