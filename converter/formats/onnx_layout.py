"""A copy of an ONNX file with some fields replaced: which bytes come from where.

Protobuf writes the length of a message before it, so a field that gets longer moves everything
behind it and changes the length of every message around it. The copy is planned first, as pieces;
then every position in it is known, and nothing has been copied.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from converter.formats.onnx_wire import Span, to_varint


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes that are copied."""

    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """How many."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Text:
    """Bytes that are new."""

    data: bytes

    @property
    def nbytes(self) -> int:
        """How many."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Room:
    """Space for the values of one tensor, which come later."""

    name: str
    nbytes: int


Piece = Kept | Text | Room


@dataclass(frozen=True, slots=True)
class Edit:
    """A field that is replaced.

    Attributes:
        span: The field, its tag included.
        within: The messages around it, outermost first.
        pieces: What takes its place.
    """

    span: Span
    within: tuple[Span, ...]
    pieces: tuple[Piece, ...]


@dataclass(slots=True)
class _Message:
    span: Span
    edits: list[Edit] = field(default_factory=list)
    inner: dict[Span, _Message] = field(default_factory=dict)


class Layout:
    """The copy, as pieces with their positions.

    Attributes:
        pieces: Position in the copy and piece, in order.
        nbytes: Size of the copy.
        rooms: Tensor to the position of its room.
    """

    def __init__(self, source: memoryview, edits: Iterable[Edit]) -> None:
        """Plan a copy of ``source``."""
        self._source = source
        root = _Message(Span(0, 0, len(source)))
        for edit in edits:
            message = root
            for span in edit.within:
                message = message.inner.setdefault(span, _Message(span))
            message.edits.append(edit)
        self.pieces: list[tuple[int, Piece]] = []
        self.rooms: dict[str, int] = {}
        self.nbytes = 0
        for piece in self._content(root):
            if isinstance(piece, Room):
                self.rooms[piece.name] = self.nbytes
            self.pieces.append((self.nbytes, piece))
            self.nbytes += piece.nbytes
        kept = [(piece.start, at) for at, piece in self.pieces if isinstance(piece, Kept)]
        self._starts = [start for start, _ in kept]
        self._positions = [at for _, at in kept]

    def position(self, offset: int) -> int:
        """Return where a byte that is kept lies in the copy."""
        index = bisect.bisect_right(self._starts, offset) - 1
        return self._positions[index] + offset - self._starts[index]

    def _content(self, message: _Message) -> list[Piece]:
        pieces: list[Piece] = []
        position = message.span.start
        changed: Sequence[Edit | _Message] = sorted(
            [*message.edits, *message.inner.values()], key=lambda one: one.span.begin
        )
        for one in changed:
            pieces.append(Kept(position, one.span.begin))
            if isinstance(one, Edit):
                pieces.extend(one.pieces)
            else:
                content = self._content(one)
                nbytes = sum(piece.nbytes for piece in content)
                pieces.append(Text(self._tag(one.span) + to_varint(nbytes)))
                pieces.extend(content)
            position = one.span.stop
        pieces.append(Kept(position, message.span.stop))
        return [piece for piece in pieces if piece.nbytes or isinstance(piece, Room)]

    def _tag(self, span: Span) -> bytes:
        stop = span.begin + 1
        while self._source[stop - 1] >= 0x80:
            stop += 1
        return bytes(self._source[span.begin : stop])


def message(number: int, content: bytes) -> bytes:
    r"""Return a field that holds a message or a text.

    Examples:
        >>> message(1, b"ab")
        b'\n\x02ab'
    """
    return header(number, len(content)) + content


def header(number: int, nbytes: int) -> bytes:
    """Return what comes before the content of a field of this length."""
    return to_varint(number << 3 | 2) + to_varint(nbytes)


def entry(number: int, key: str, text: str) -> bytes:
    """Return a field that holds a key and a text."""
    return message(number, message(1, key.encode()) + message(2, text.encode()))
