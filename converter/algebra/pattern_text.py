"""The axis-pattern language as text: characters to axes, with errors that point at the place.

The grammar is small and strict. A side is a row of terms; a term is an axis (``out``), the number
1, a labelled axis (``[z r n]``) or a group of axes and labelled axes in round brackets. Whether
both sides hold the same axes is decided here too, because only here the place in the text is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from converter.errors import OperationError


@dataclass(frozen=True, slots=True)
class Labels:
    """An axis whose positions have names; its size is their number.

    Attributes:
        names: The names in the order of the positions.
    """

    names: tuple[str, ...]

    @property
    def key(self) -> frozenset[str]:
        """What identifies the axis on both sides: the names without their order."""
        return frozenset(self.names)

    def __str__(self) -> str:
        return f"[{' '.join(self.names)}]"


Atom = str | Labels
Group = tuple[Atom, ...]  # one axis of a tensor, outermost factor first; () is the literal 1
Side = tuple[Group, ...]

_TOKEN = re.compile(
    r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>[0-9][A-Za-z0-9_]*)|(?P<arrow>->)|(?P<mark>[()\[\]])"
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def parse_sides(text: str) -> tuple[Side, Side]:
    """Return both sides of a pattern, checked against each other.

    Raises:
        OperationError: If the text is not a pattern, or the two sides do not hold the same axes.
    """
    tokens = _tokens(text)
    arrows = [index for index, token in enumerate(tokens) if token.kind == "arrow"]
    if not arrows:
        raise _error(text, len(text), "there is no '->'")
    if len(arrows) > 1:
        raise _error(text, tokens[arrows[1]].position, "there is a second '->'")
    left = _SideParser(text, tokens[: arrows[0]], "left")
    right = _SideParser(text, tokens[arrows[0] + 1 :], "right")
    sides = left.parse(), right.parse()
    left.require_same_axes(right)
    right.require_same_axes(left)
    return sides


def side_text(side: Side) -> str:
    """Return a side as written in a pattern, with single spaces and without needless brackets."""
    return " ".join(group_text(group) for group in side)


def group_text(group: Group) -> str:
    """Return one axis of a tensor as written in a pattern."""
    if not group:
        return "1"
    text = " ".join(str(atom) for atom in group)
    return f"({text})" if len(group) > 1 else text


def _error(text: str, position: int, reason: str) -> OperationError:
    return OperationError(
        f"cannot read the pattern {text!r}: {reason}",
        facts=[("at", text), ("", " " * position + "^")],
    )


def _tokens(text: str) -> list[_Token]:
    tokens = []
    position = 0
    while position < len(text):
        if text[position] == " ":
            position += 1
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            raise _error(text, position, f"unknown character {text[position]!r}")
        tokens.append(_Token(str(match.lastgroup), match.group(), position))
        position = match.end()
    return tokens


class _SideParser:
    """Reads one side, and remembers where each axis stands."""

    def __init__(self, text: str, tokens: list[_Token], name: str) -> None:
        self.text = text
        self.tokens = tokens
        self.name = name
        self.index = 0
        self.axes: dict[str, int] = {}
        self.labels: dict[str, int] = {}
        self.labelled: dict[frozenset[str], tuple[Labels, int]] = {}

    def parse(self) -> Side:
        groups: list[Group] = []
        while self.index < len(self.tokens):
            token = self._next()
            if token.kind == "number":
                if token.text != "1":
                    reason = f"{token.text!r} is not an axis; of all sizes only 1 is written"
                    raise _error(self.text, token.position, reason)
                groups.append(())
            elif token.text == "(":
                groups.append(self._group(token))
            else:
                groups.append((self._atom(token),))
        return tuple(groups)

    def require_same_axes(self, other: _SideParser) -> None:
        """Raise if this side has an axis that the other has not."""
        for axis, position in self.axes.items():
            if axis not in other.axes:
                raise _error(self.text, position, f"axis {axis!r} is only on the {self.name}")
        for key, (labels, position) in self.labelled.items():
            if key not in other.labelled:
                reason = f"no labelled axis on the {other.name} has the labels {labels}"
                raise _error(self.text, position, reason)

    def _next(self) -> _Token:
        token = self.tokens[self.index]
        self.index += 1
        return token

    def _group(self, start: _Token) -> Group:
        atoms: list[Atom] = []
        while self.index < len(self.tokens):
            token = self._next()
            if token.text == ")":
                if not atoms:
                    raise _error(self.text, start.position, "an empty group; write 1")
                return tuple(atoms)
            if token.text == "(":
                raise _error(self.text, token.position, "a group inside a group")
            if token.kind == "number":
                reason = f"the number {token.text!r} inside a group; leave it out"
                raise _error(self.text, token.position, reason)
            atoms.append(self._atom(token))
        raise _error(self.text, start.position, "'(' is never closed")

    def _atom(self, token: _Token) -> Atom:
        if token.text == "[":
            return self._labels(token)
        if token.kind != "name":
            raise _error(self.text, token.position, f"{token.text!r} closes nothing")
        if token.text in self.axes:
            reason = f"axis {token.text!r} is twice on the {self.name}"
            raise _error(self.text, token.position, reason)
        self.axes[token.text] = token.position
        return token.text

    def _labels(self, start: _Token) -> Labels:
        names: list[str] = []
        while self.index < len(self.tokens):
            token = self._next()
            if token.text == "]":
                if len(names) < 2:
                    raise _error(self.text, start.position, "a labelled axis needs two labels")
                labels = Labels(tuple(names))
                self.labelled[labels.key] = (labels, start.position)
                return labels
            if token.kind != "name":
                reason = f"{token.text!r} inside a labelled axis, which holds labels only"
                raise _error(self.text, token.position, reason)
            if token.text in self.labels:
                reason = f"label {token.text!r} is twice on the {self.name}"
                raise _error(self.text, token.position, reason)
            self.labels[token.text] = token.position
            names.append(token.text)
        raise _error(self.text, start.position, "'[' is never closed")
