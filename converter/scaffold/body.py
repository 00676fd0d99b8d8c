"""The body of ``forward``: values get names, and what follows each other becomes one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from converter.scaffold.literals import literal_part
from converter.scaffold.program import Attr, Code, Literal, Part, Statement, Use
from converter.scaffold.sequences import Told, loops

_NAMES = ("x", "y", "z", "u", "v", "w", "p", "q", "r", "s", "t")
_DEEPEST = 3
_LONGEST = 70

Spelling = Callable[[Part], str | None]


@dataclass(frozen=True, slots=True)
class Repeated(Statement):
    """Blocks of one form, one after another.

    Attributes:
        given: The value that the first one takes; the target is what the last one gives.
        blocks: What each is told.
        suffix: Which form it is.
    """

    given: int = 0
    blocks: tuple[Told, ...] = ()
    suffix: str = ""

    def uses(self) -> Iterator[int]:
        """Yield the value that goes in."""
        yield self.given


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
            if isinstance(one, Repeated):
                lines += self._repeated(one)
                continue
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

    def _repeated(self, one: Repeated) -> list[str]:
        """Return the lines of blocks one after another, all under the name of what goes in."""
        given, _ = self._text((Use(one.given),))
        name = self._named(one.targets[0], (Use(one.given),))
        before = [] if name == given else [f"{name} = {given}"]
        lines = loops(one.blocks, f"{name} = self._block{one.suffix}({name}, {{}})")
        return [*before, *lines]

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
        if isinstance(following, Repeated):
            return False
        return target in set(following.uses()) and _is_call_on(
            following.code, target, is_primary=_is_primary(text)
        )

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
                parts.append(literal_part(part))
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


def _is_primary(text: str) -> bool:
    """Whether a method of a text can be called without brackets around it.

    Examples:
        >>> _is_primary("F.relu(x + y)"), _is_primary("x + y"), _is_primary("-x")
        (True, False, False)
    """
    depth = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter in " -*+" and not depth:
            return False
    return True


def _is_call_on(code: Code, target: int, *, is_primary: bool) -> bool:
    """Whether a value stands alone as an argument, so that a whole call can stand in its place."""
    for index, part in enumerate(code):
        if isinstance(part, Use) and part.value == target:
            before = code[index - 1] if index else ""
            after = code[index + 1] if index + 1 < len(code) else ""
            if not index and isinstance(after, str) and after.startswith((".", "[")):
                return is_primary
            opens = isinstance(before, str) and before.endswith(("(", ", ", "="))
            closes = isinstance(after, str) and after.startswith((")", ", "))
            return opens and closes
    return False
