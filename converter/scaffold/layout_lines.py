"""Lines of source no longer than a formatter would leave them: broken at the outermost brackets."""

from __future__ import annotations

WIDTH = 100
_OPEN = {"(": ")", "[": "]", "{": "}"}


def wrapped(text: str, indent: int, width: int = WIDTH) -> list[str]:
    """Return a statement as lines: whole, with its arguments on one line, or one a line.

    Examples:
        >>> wrapped("f(a, b)", 4)
        ['    f(a, b)']
        >>> wrapped("function(first, second)", 0, width=20)
        ['function(', '    first, second', ')']
        >>> wrapped("function(first, second)", 0, width=12)
        ['function(', '    first,', '    second,', ')']
    """
    space = " " * indent
    if len(space) + len(text) <= width:
        return [space + text]
    place = _last_bracket(text)
    if place is None:
        return [space + text]
    start, end = place
    head, inside, tail = text[: start + 1], text[start + 1 : end], text[end:]
    items = split_items(inside)
    if not items:
        return [space + text]
    one = " " * (indent + 4) + ", ".join(items)
    if len(one) <= width and len(items) > 0:
        return [space + head, one, space + tail]
    lines = [space + head]
    for item in items:
        broken = wrapped(item + ",", indent + 4, width)
        lines += broken
    return [*lines, space + tail]


def _last_bracket(text: str) -> tuple[int, int] | None:
    """Return where the last outermost bracket opens and closes, if something is in it."""
    depth, start, found, quote = 0, 0, None, ""
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _OPEN:
            start = position if depth == 0 else start
            depth += 1
        elif letter in _OPEN.values():
            depth -= 1
            if depth == 0 and position > start + 1:
                found = (start, position)
    return found


def split_items(text: str) -> list[str]:
    """Return the items of a list of arguments.

    Examples:
        >>> split_items("a, (b, c), d=[1, 2]")
        ['a', '(b, c)', 'd=[1, 2]']
    """
    items, depth, start, quote = [], 0, 0, ""
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _OPEN:
            depth += 1
        elif letter in _OPEN.values():
            depth -= 1
        elif letter == "," and depth == 0:
            items.append(text[start:position].strip())
            start = position + 1
    rest = text[start:].strip()
    return [*items, rest] if rest else items
