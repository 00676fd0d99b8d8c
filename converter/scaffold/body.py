"""The body of ``forward``: values get names, and what follows each other becomes one line."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from converter.scaffold.program import Attr, Code, Literal, Part, Statement, Use

_NAMES = ("x", "y", "z", "u", "v", "w", "p", "q", "r", "s", "t")
_DEEPEST = 3
_LONGEST = 70

Spelling = Callable[[Part], str | None]


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


class Body:
    """Statements on their way to lines.

    Args:
        statements: In order.
        returns: What is returned.
        arguments: Number of a value that is an argument, to its name.
        spelling: How a part is spelt, where not in the usual way.
    """

    def __init__(
        self,
        statements: Sequence[Statement],
        returns: Code,
        arguments: Mapping[int, str],
        spelling: Spelling = lambda _: None,
    ) -> None:
        self._statements = list(statements)
        self._returns = returns
        self._names = dict(arguments)
        self._spelling = spelling
        used = [one for statement in statements for one in statement.uses()]
        used += [part.value for part in returns if isinstance(part, Use)]
        self._uses = Counter(used)
        self._left = Counter(used)
        self._inline: dict[int, tuple[str, int]] = {}

    def lines(self) -> list[str]:
        """Return the lines, the last one returns."""
        lines: list[str] = []
        for index, one in enumerate(self._statements):
            text, depth = self._text(one.code)
            if self._goes_on(index, text, depth):
                self._inline[_target(one)] = (text, depth)
                continue
            targets = [self._named(target, one.code) for target in one.targets]
            lines.append(f"{', '.join(targets)} = {text}")
        text, _ = self._text(self._returns)
        if lines and lines[-1].startswith(f"{text} = "):
            lines[-1] = f"return {lines[-1].partition(' = ')[2]}"
            return lines
        return [*lines, f"return {text}"]

    def _goes_on(self, index: int, text: str, depth: int) -> bool:
        """Whether a statement becomes part of the next one, the only one that reads it."""
        one = self._statements[index]
        if len(one.targets) != 1 or depth >= _DEEPEST or len(text) > _LONGEST:
            return False
        target = _target(one)
        if self._uses[target] != 1:
            return False
        if index + 1 == len(self._statements):
            return self._returns == (Use(target),)
        following = self._statements[index + 1]
        return target in set(following.uses()) and _is_call_on(following.code, target)

    def _text(self, code: Code) -> tuple[str, int]:
        parts: list[str] = []
        depth = 0
        for part in code:
            own = self._spelling(part)
            if own is not None:
                parts.append(own)
            elif isinstance(part, Use):
                self._left[part.value] -= 1
                text, deep = self._inline.pop(part.value, (self._names.get(part.value, "_"), -1))
                depth = max(depth, deep + 1)
                parts.append(text)
            elif isinstance(part, Literal):
                parts.append(literal_text(part.value))
            elif isinstance(part, Attr):
                parts.append(f"self.{part.name}")
            else:
                parts.append(part)
        return "".join(parts), depth

    def _named(self, target: int | None, code: Code) -> str:
        """Return a name for a value: that of an input which nobody reads any more, or a new one."""
        if target is None:
            return "_"
        for part in code:
            if isinstance(part, Use) and part.value in self._names and not self._left[part.value]:
                name = self._names.pop(part.value)
                self._names[target] = name
                return name
        live = {name for value, name in self._names.items() if self._left[value]}
        free = [name for name in _NAMES if name not in live]
        name = free[0] if free else f"x{target}"
        for value in [value for value, one in self._names.items() if one == name]:
            del self._names[value]
        self._names[target] = name
        return name


def _target(one: Statement) -> int:
    target = one.targets[0]
    if target is None:
        raise ValueError("a statement that nobody reads has no name")
    return target


def _is_call_on(code: Code, target: int) -> bool:
    """Whether a value stands alone as an argument, so that a whole call can stand in its place."""
    for index, part in enumerate(code):
        if isinstance(part, Use) and part.value == target:
            before = code[index - 1] if index else ""
            after = code[index + 1] if index + 1 < len(code) else ""
            opens = isinstance(before, str) and before.endswith(("(", ", ", "="))
            closes = isinstance(after, str) and after.startswith((")", ", "))
            return opens and closes
    return False
