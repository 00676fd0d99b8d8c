"""Arguments of calls, which nest: lists, tuples and dicts with values somewhere in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

Kind = TypeVar("Kind")


def found_in(value: Any, kind: type[Kind]) -> Iterator[Kind]:
    """Yield everything of one type in nested arguments, in their order.

    Examples:
        >>> list(found_in(([1, "a"], {"axis": (2, None)}), int))
        [1, 2]
    """
    if isinstance(value, kind):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from found_in(item, kind)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from found_in(item, kind)


def replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return nested arguments with every leaf changed; dicts, lists and tuples stay as they are.

    Examples:
        >>> replaced(([1, 2], {"axis": 3}), lambda leaf: -leaf)
        ([-1, -2], {'axis': -3})
    """
    if isinstance(value, Mapping):
        return {key: replaced(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, change) for item in value]
    if isinstance(value, tuple):
        return tuple(replaced(item, change) for item in value)
    return change(value)
