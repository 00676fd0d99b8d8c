"""Names with holes: how one text of a mapping file stands for the names of many layers.

A template is literal text and placeholders: integers (``{b}``, ``{b-1}``, ``{2*s+1}``), or members
of a table declared in the file, which have one spelling on the Keras side and one on the PyTorch
side. A template matches a name in full or not at all, in one pass from left to right: whatever
would need a second try is refused when the template is read. There are no regular expressions and
no wildcards, so a match can always be turned round into the name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Literal

Side = Literal["keras", "torch"]
Tables = Mapping[str, Mapping[str, str]]
Bindings = dict[str, "int | str"]

MAX_LENGTH = 1000
MAX_PLACEHOLDERS = 16
MAX_DIGITS = 9
_MAX_SKELETONS = 4096

_PLACEHOLDER = re.compile(r"(?:([0-9]{1,9})\*)?([a-z][a-z0-9_]*)(?:([+-])([0-9]{1,9}))?")
_DIGITS = re.compile(r"[0-9]+")
_ASCII_DIGITS = frozenset("0123456789")


class TemplateError(ValueError):
    """A text is no template; the message says where and why."""


@dataclass(frozen=True, slots=True)
class _Number:
    """A placeholder that stands for ``factor * name + offset``."""

    name: str
    factor: int = 1
    offset: int = 0

    def solve(self, digits: str) -> int | None:
        """Return the value of the name for which this is spelt ``digits``."""
        value, rest = divmod(int(digits) - self.offset, self.factor)
        return value if rest == 0 and value >= 0 else None


@dataclass(frozen=True, slots=True)
class _Member:
    """A placeholder that stands for a member of a table, as one side spells it."""

    name: str
    by_spelling: Mapping[str, str]
    by_member: Mapping[str, str]
    lengths: tuple[int, ...]


_Piece = str | _Number | _Member


@dataclass(frozen=True, slots=True)
class Template:
    """A text with placeholders, as one side of a rule writes it.

    Attributes:
        text: As written.
        pieces: Literal texts and placeholders, in order.
    """

    text: str
    pieces: tuple[_Piece, ...]

    @classmethod
    def parse(cls, text: str, tables: Tables | None = None, side: Side = "keras") -> Template:
        """Read a template.

        Args:
            text: As in a mapping file.
            tables: Table name to Keras spelling to PyTorch spelling.
            side: Whose spellings of tables it uses.

        Raises:
            TemplateError: If braces do not pair up, a placeholder is malformed, or two names could
                not be told apart without trying.

        Examples:
            >>> norm = Template.parse("conv{b}_block{l}_0_bn")
            >>> norm.match("conv2_block11_0_bn")
            {'b': 2, 'l': 11}
            >>> Template.parse("features.denseblock{b-1}.norm").fill({"b": 2})
            'features.denseblock1.norm'
        """
        if len(text) > MAX_LENGTH:
            raise TemplateError(f"is longer than {MAX_LENGTH} characters")
        if not text.isascii() or not text.isprintable():
            raise TemplateError("holds characters that are not printable ASCII")
        pieces = tuple(_pieces(text, tables or {}, side))
        if sum(not isinstance(piece, str) for piece in pieces) > MAX_PLACEHOLDERS:
            raise TemplateError(f"has more than {MAX_PLACEHOLDERS} placeholders")
        _require_one_reading(pieces)
        return cls(text, pieces)

    @property
    def placeholders(self) -> frozenset[str]:
        """The names in braces."""
        return frozenset(piece.name for piece in self.pieces if not isinstance(piece, str))

    def match(self, name: str) -> Bindings | None:
        """Return what the placeholders stand for in ``name``, or ``None``.

        Table placeholders are bound to the member's Keras spelling, on both sides.

        Examples:
            >>> odd = Template.parse("features.{2*s+1}")
            >>> odd.match("features.5"), odd.match("features.4"), odd.match("features.05")
            ({'s': 2}, None, None)
        """
        bindings: Bindings = {}
        position = 0
        for index, piece in enumerate(self.pieces):
            if isinstance(piece, str):
                if not name.startswith(piece, position):
                    return None
                position += len(piece)
                continue
            value: int | str | None
            if isinstance(piece, _Number):
                value, position = _read_number(piece, name, position)
            else:
                follows = self.pieces[index + 1] if index + 1 < len(self.pieces) else None
                value, position = _read_member(piece, name, position, follows)
            if value is None or bindings.setdefault(piece.name, value) != value:
                return None
        return bindings if position == len(name) else None

    def fill(self, bindings: Mapping[str, int | str]) -> str | None:
        """Return the name for these bindings, or ``None`` where a number would be negative.

        Raises:
            KeyError: If a placeholder is not bound.

        Examples:
            >>> Template.parse("layer{s-1}").fill({"s": 0}) is None
            True
        """
        parts: list[str] = []
        for piece in self.pieces:
            if isinstance(piece, str):
                parts.append(piece)
            elif isinstance(piece, _Number):
                number = int(bindings[piece.name]) * piece.factor + piece.offset
                if number < 0:
                    return None
                parts.append(str(number))
            else:
                parts.append(piece.by_member[str(bindings[piece.name])])
        return "".join(parts)

    def skeletons(self) -> frozenset[str] | None:
        """Return the :func:`skeleton` of every name that can match; ``None`` if too many.

        Examples:
            >>> sorted(Template.parse("conv{b}_0_bn").skeletons())
            ['conv#_#_bn']
        """
        choices: list[tuple[str, ...]] = []
        count = 1
        for piece in self.pieces:
            if isinstance(piece, str):
                choices.append((piece,))
            elif isinstance(piece, _Number):
                choices.append(("0",))
            else:
                choices.append(tuple({skeleton(text) for text in piece.by_spelling}))
                count *= len(choices[-1])
                if count > _MAX_SKELETONS:
                    return None
        return frozenset(skeleton("".join(parts)) for parts in product(*choices))


def skeleton(name: str) -> str:
    """Return a name with every run of digits as ``#``: what names of one template have in common.

    Examples:
        >>> skeleton("features.denseblock1.denselayer12.norm1")
        'features.denseblock#.denselayer#.norm#'
    """
    return _SKELETON_RUN.sub("#", name)


# A skeleton of a table's spelling is joined to literals afterwards: '#' and digits merge.
_SKELETON_RUN = re.compile(r"[0-9#]+")


def _pieces(text: str, tables: Tables, side: Side) -> list[_Piece]:
    pieces: list[_Piece] = []
    position = 0
    while position < len(text):
        opening = text.find("{", position)
        literal = text[position:] if opening < 0 else text[position:opening]
        if "}" in literal:
            raise TemplateError("has a '}' without its '{'")
        if literal:
            pieces.append(literal)
        if opening < 0:
            break
        closing = text.find("}", opening)
        if closing < 0:
            raise TemplateError("has a '{' without its '}'")
        pieces.append(_placeholder(text[opening + 1 : closing], tables, side))
        position = closing + 1
    return pieces


def _placeholder(text: str, tables: Tables, side: Side) -> _Piece:
    found = _PLACEHOLDER.fullmatch(text)
    if found is None:
        raise TemplateError(
            f"has {{{text}}}, which is not of the form {{b}}, {{b-1}}, {{2*b+1}} or {{table}}"
        )
    factor, name, sign, offset = found.groups()
    if name in tables:
        if factor or sign:
            raise TemplateError(f"does arithmetic on {{{name}}}, which is a table")
        return _member(name, tables[name], side)
    if factor is not None and int(factor) == 0:
        raise TemplateError(f"multiplies {{{name}}} by zero")
    shift = int(offset or 0)
    return _Number(name, int(factor or 1), -shift if sign == "-" else shift)


def _member(name: str, table: Mapping[str, str], side: Side) -> _Member:
    by_member = {keras: keras if side == "keras" else torch for keras, torch in table.items()}
    by_spelling = {spelling: keras for keras, spelling in by_member.items()}
    if len(by_spelling) < len(by_member):
        raise TemplateError(f"has {{{name}}}, two members of which are spelt alike on this side")
    lengths = tuple(sorted({len(spelling) for spelling in by_spelling}, reverse=True))
    return _Member(name, by_spelling, by_member, lengths)


def _require_one_reading(pieces: tuple[_Piece, ...]) -> None:
    """Refuse what a single pass from left to right could read in two ways."""
    for index, piece in enumerate(pieces):
        follows = pieces[index + 1] if index + 1 < len(pieces) else None
        if isinstance(piece, str) or follows is None:
            continue
        if isinstance(piece, _Number):
            if _may_start_with_digit(follows):
                raise TemplateError(
                    f"has digits right behind the number {{{piece.name}}}: "
                    "where the number ends cannot be told"
                )
            continue
        ends = follows if isinstance(follows, str) else ""
        texts = sorted(spelling + ends for spelling in piece.by_spelling)
        for first, second in pairwise(texts):
            if second.startswith(first):
                raise TemplateError(
                    f"has {{{piece.name}}}, whose members '{first}' and '{second}' cannot be told "
                    "apart by what follows"
                )


def _may_start_with_digit(piece: _Piece) -> bool:
    if isinstance(piece, str):
        return piece[0] in _ASCII_DIGITS
    if isinstance(piece, _Number):
        return True
    return any(text == "" or text[0] in _ASCII_DIGITS for text in piece.by_spelling)


def _read_number(piece: _Number, name: str, position: int) -> tuple[int | None, int]:
    found = _DIGITS.match(name, position)
    if found is None:
        return None, position
    digits = found.group()
    if len(digits) > MAX_DIGITS or (digits[0] == "0" and len(digits) > 1):
        return None, position
    return piece.solve(digits), found.end()


def _read_member(
    piece: _Member, name: str, position: int, follows: _Piece | None
) -> tuple[str | None, int]:
    if follows is None:
        return piece.by_spelling.get(name[position:]), len(name)
    behind = follows if isinstance(follows, str) else ""
    for length in piece.lengths:
        end = position + length
        member = piece.by_spelling.get(name[position:end])
        if member is not None and len(name) >= end and name.startswith(behind, end):
            return member, end
    return None, position
