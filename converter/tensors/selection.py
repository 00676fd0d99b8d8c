"""Names chosen by a pattern, as a shell chooses files: ``encoder/**``, ``*.bias``.

``*`` stands for anything within one component, ``**`` for any number of components, ``?`` for one
character. Components are separated by ``/`` in Keras names and by ``.`` in PyTorch names; a name
with a ``/`` is a Keras name. A pattern without any of these is a name, or that of a layer or module
with all that is below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_WILD = re.compile(r"\*\*|\*|\?")


def is_chosen(name: str, pattern: str) -> bool:
    """Whether a pattern chooses a name.

    Examples:
        >>> is_chosen("encoder/conv1/kernel", "encoder/**")
        True
        >>> is_chosen("encoder/conv1/kernel", "encoder/*")
        False
        >>> is_chosen("encoder.conv1.weight", "encoder.*.weight"), is_chosen("head.bias", "head")
        (True, True)
        >>> is_chosen("headless.bias", "head")
        False
    """
    separator = "/" if "/" in name else "."
    return _compiled(pattern, separator).fullmatch(name) is not None


def choose(names: Iterable[str], pattern: str) -> list[str]:
    """Return the names that a pattern chooses, in their order."""
    return [name for name in names if is_chosen(name, pattern)]


@lru_cache(maxsize=1024)
def _compiled(pattern: str, separator: str) -> re.Pattern[str]:
    parts = []
    position = 0
    for wild in _WILD.finditer(pattern):
        parts.append(re.escape(pattern[position : wild.start()]))
        within = f"[^{re.escape(separator)}]"
        parts.append({"**": ".*", "*": f"{within}*", "?": within}[wild[0]])
        position = wild.end()
    parts.append(re.escape(pattern[position:]))
    below = "" if position else f"(?:{re.escape(separator)}.*)?"
    return re.compile("".join(parts) + below, re.DOTALL)
