"""Protocol buffers as bytes: which field lies where, without a value being copied.

An ONNX file is one message of up to 2 GiB, most of which are weights. The usual library reads all
of it into memory before the first name is known, and again to write it. Here only the tags and
lengths are followed; weights stay where they are and are mapped later.

Source: Protocol Buffers documentation, "Encoding" (wire types 0, 1, 2 and 5; groups, types 3 and 4,
are deprecated and no field of ONNX is one).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from converter.errors import CorruptFileError, UnsafeFileError
from converter.formats.wording import cannot_read, nbytes_text

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

MAX_FIELDS = 2_500_000  # some seconds; a model of 50,000 nodes with long notes has 2 million
MAX_TEXT = 2**16
_FIXED = {FIXED64: 8, FIXED32: 4}


class Span(NamedTuple):
    """Where a field lies in the file.

    Attributes:
        begin: Position of its tag.
        start: Position of its content.
        stop: Position after its content.
    """

    begin: int
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """Size of its content."""
        return self.stop - self.start


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: Which field.
        wire: Its wire type.
        value: The number where the wire type is ``VARINT``, else 0.
        span: Where it lies.
    """

    number: int
    wire: int
    value: int
    span: Span


class Wire:
    """The bytes of one message, and how much of them was looked at."""

    def __init__(self, data: memoryview, path: Path) -> None:
        """Look at ``data``; ``path`` is for messages."""
        self.data = data
        self.path = path
        self._fields = 0

    def fields(self, start: int, stop: int) -> Iterator[Field]:
        """Yield the fields of the message in a range, in the order of the file.

        Raises:
            CorruptFileError: If a field is no field, or longer than the range.
            UnsafeFileError: If the file has more fields than any model.
        """
        position = start
        data = self.data
        while position < stop:
            self.count()
            begin = position
            tag = data[position]
            if tag < 0x80:
                position += 1
            else:
                tag, position = self.varint(position, stop)
            number, wire = tag >> 3, tag & 7
            value = 0
            if wire == VARINT:
                content = position
                value, position = self.varint(position, stop)
            elif wire == LENGTH:
                length = data[position] if position < stop else 0x80
                content = position + 1
                if length >= 0x80:
                    length, content = self.varint(position, stop)
                position = content + length
            elif wire in _FIXED:
                content = position
                position = content + _FIXED[wire]
            else:
                raise self.corrupt("it holds a field of a kind that ONNX does not have", begin)
            if number == 0 or position > stop:
                raise self.corrupt("a field is longer than what holds it", begin)
            yield Field(number, wire, value, Span(begin, content, position))

    def varint(self, position: int, stop: int) -> tuple[int, int]:
        """Return the number at a position, unsigned, and the position after it."""
        data = self.data
        value = shift = 0
        while position < stop and shift < 70:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (2**64 - 1), position
            shift += 7
        raise self.corrupt("a number does not end", position)

    def numbers(self, field: Field) -> list[int]:
        """Return the signed numbers of a repeated field: one, or several packed.

        Raises:
            CorruptFileError: If it holds no numbers.
            UnsafeFileError: If the file has more numbers than any model.
        """
        if field.wire == VARINT:
            return [signed(field.value)]
        self.expect(field, LENGTH)
        found = []
        position = field.span.start
        while position < field.span.stop:
            self.count()
            value, position = self.varint(position, field.span.stop)
            found.append(signed(value))
        return found

    def text(self, field: Field) -> str:
        """Return a text.

        Raises:
            CorruptFileError: If it is not UTF-8.
            UnsafeFileError: If it is longer than any name.
        """
        self.expect(field, LENGTH)
        if field.span.nbytes > MAX_TEXT:
            raise UnsafeFileError(
                cannot_read(self.path, f"it has a name of more than {nbytes_text(MAX_TEXT)}"),
                facts=[("at byte", f"{field.span.begin:,}")],
            )
        try:
            return str(self.data[field.span.start : field.span.stop], "utf-8")
        except UnicodeDecodeError as error:
            raise self.corrupt("a text is not UTF-8", field.span.begin) from error

    def expect(self, field: Field, wire: int) -> None:
        """Refuse a field that is not of the wire type that it has in ONNX.

        Raises:
            CorruptFileError: If it is not.
        """
        if field.wire != wire:
            raise self.corrupt("a field is of another kind than in ONNX", field.span.begin)

    def corrupt(self, why: str, position: int) -> CorruptFileError:
        """Return the error for a message that contradicts itself."""
        return CorruptFileError(cannot_read(self.path, why), facts=[("at byte", f"{position:,}")])

    def count(self, number: int = 1) -> None:
        """Note that so many fields were seen, or things that cost as much.

        Raises:
            UnsafeFileError: If the file has more than any model.
        """
        self._fields += number
        if self._fields > MAX_FIELDS:
            raise UnsafeFileError(
                cannot_read(self.path, f"it has more than {MAX_FIELDS:,} fields beside its weights")
            )


def signed(value: int) -> int:
    """Return a 64-bit number as protobuf's int64 and int32 have it.

    Examples:
        >>> signed(2**64 - 1), signed(5)
        (-1, 5)
    """
    return value - 2**64 if value >= 2**63 else value


def to_varint(value: int) -> bytes:
    r"""Return an unsigned number as protobuf writes it.

    Examples:
        >>> to_varint(1), to_varint(300)
        (b'\x01', b'\xac\x02')
    """
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
