"""Plain values as source, as a formatter would leave them."""

from __future__ import annotations

import math
from typing import Any

from converter.scaffold.program import Literal, Option


def literal_text(value: Any) -> str:
    """Return a plain value as source.

    Examples:
        >>> literal_text((1, 2)), literal_text("a"), literal_text(float("-inf"))
        ('(1, 2)', '"a"', '-float("inf")')
    """
    if isinstance(value, float) and not math.isfinite(value):
        return {True: 'float("nan")'}.get(math.isnan(value)) or (
            'float("inf")' if value > 0 else '-float("inf")'
        )
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        inside = ", ".join(map(literal_text, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal_text, value))}]"
    return repr(value)


def literal_part(part: Literal) -> str:
    """Return a literal in code; an option with its keyword, or nothing where it is the default."""
    if isinstance(part, Option):
        if part.value == part.default:
            return ""
        return f", {part.name}={literal_text(part.value)}"
    return literal_text(part.value)
