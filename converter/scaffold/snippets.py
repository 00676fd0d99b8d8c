"""Small functions and modules that a file gets where PyTorch has none, each with its reason.

They are code that is written, not code that runs here: texts beside this module
(``snippets.py.txt``), one section a name, in an order in which each needs only earlier ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("snippets.py.txt")
_WORD = re.compile(r"\w+")
_DEFINITION = re.compile(r"^(?:def|class) (\w+)", re.MULTILINE)


def snippets(names: Iterable[str]) -> list[str]:
    """Return the texts of some snippets, with those they need, in their order in the file.

    Raises:
        KeyError: If there is none of a name.
    """
    known = _sections()
    waiting, wanted = list(names), set()
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += [word for word in _WORD.findall(known[name]) if word in known]
    return [text for name, text in known.items() if name in wanted]


@cache
def _sections() -> dict[str, str]:
    texts = _FILE.read_text(encoding="utf-8").strip().split("\n\n\n")
    found: dict[str, str] = {}
    for text in texts:
        match = _DEFINITION.search(text)
        if match is not None:
            found[match[1]] = text
    return found
