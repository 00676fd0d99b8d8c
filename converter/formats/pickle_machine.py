"""The stack machine of pickle, without its power: it builds plain values and calls nothing.

A pickle is a program that can import and call anything. Here an import only pushes a name, and a
call is a question to the subclass, which knows the few constructors that matter; the answer to
everything else is an :class:`Opaque`, which is a name and nothing more. Neither ``pickle`` nor
any module that the file names is imported.

Source: CPython 3.11 ``Lib/pickletools.py`` and ``Lib/pickle.py``, ``class _Unpickler``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from converter.errors import ConverterError, CorruptFileError, UnsafeFileError
from converter.formats.wording import cannot_read

MAX_MARKS = 1000
MAX_LONG_BYTES = 64
MAX_NAME_BYTES = 1000
# A step costs at most some 80 bytes and a microsecond: what follows bounds both. A tensor of
# torch.save takes 30 steps and 8 places of the memo.
MAX_STEPS = 3_600_000
MAX_MEMO = 1_200_000
MAX_TEXT_BYTES = 2**27  # of all texts together


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """Something that is no plain value: only its name is known.

    Attributes:
        name: The class or function that the file would have called.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function that a file names. It is never looked up."""

    module: str
    name: str

    @property
    def dotted(self) -> str:
        """Module and name."""
        return f"{self.module}.{self.name}"


def name_of(value: Any) -> str:
    """Return what to call the class or value in messages."""
    if isinstance(value, Global):
        return value.dotted
    return value.name if isinstance(value, Opaque) else type(value).__name__


Step = Callable[["Machine"], object]


class Machine:
    """Interprets one pickle after another from a buffer.

    Attributes:
        data: The bytes.
        path: The file, for messages.
        position: Next byte; after :meth:`load` the first one behind the pickle.
        steps: What each opcode does; one that is not there is refused.
    """

    steps: ClassVar[Mapping[int, Step]]

    def __init__(self, data: bytes | memoryview, path: Path) -> None:
        """Start at the first byte of ``data``."""
        self.data = data
        self.path = path
        self.position = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self._steps_left = MAX_STEPS
        self._text_left = MAX_TEXT_BYTES

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Return what stands for a call; the default knows no function."""
        del arguments
        return Opaque(name_of(function))

    def pairs(self, arguments: tuple[Any, ...]) -> Any:
        """Return the dict of ``OrderedDict()``, or of a list of pairs as Python 2 writes it."""
        found: dict[Any, Any] = {}
        self.stack.append(found)
        for key, value in arguments[0] if arguments else ():
            self.set_items([key, value])
        return self.stack.pop()

    def persistent(self, reference: Any) -> Any:
        """Return what stands for a value outside of the pickle; by default there are none."""
        raise self.corrupt(f"it refers to {name_of(reference)} outside of it")

    def load(self) -> Any:
        """Interpret one pickle.

        Returns:
            ``dict``, ``list``, ``tuple``, ``set``, texts, numbers, ``bytes``, ``None``,
            :class:`Opaque`, and whatever :meth:`call` and :meth:`persistent` return. Values may
            be shared and may contain themselves.

        Raises:
            CorruptFileError: If it is no pickle or ends early.
            UnsafeFileError: If it uses what no checkpoint needs.
        """
        self.stack, self.marks, self.memo = [], [], {}
        data = self.data
        try:
            while self._steps_left > 0:
                self._steps_left -= 1
                code = data[self.position]
                self.position += 1
                if code == 0x2E:  # STOP
                    return self._finish()
                step = self.steps.get(code)
                if step is None:
                    raise UnsafeFileError(
                        cannot_read(self.path, "its pickle uses what no checkpoint needs"),
                        facts=[("opcode", f"{bytes([code])!r} at byte {self.position - 1:,}")],
                    )
                step(self)
        except ConverterError:
            raise
        except (LookupError, TypeError, ValueError, RecursionError, struct.error) as error:
            ended = self.position >= len(data)
            why = "it ends early" if ended else f"at byte {self.position:,}"
            raise self.corrupt(why) from error
        raise self.too_much(f"more than {MAX_STEPS:,} steps")

    def _finish(self) -> Any:
        if len(self.stack) != 1 or self.marks:
            raise self.corrupt("it ends in the middle of a value")
        return plain(self.stack.pop())

    def corrupt(self, why: str) -> CorruptFileError:
        """Return the error for a pickle that contradicts itself."""
        return CorruptFileError(cannot_read(self.path, f"its pickle is damaged: {why}"))

    def too_much(self, what: str) -> UnsafeFileError:
        """Return the error for a pickle that would take absurdly much memory or time."""
        return UnsafeFileError(cannot_read(self.path, f"its pickle has {what}"))

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        end = self.position + count
        part = bytes(self.data[self.position : end])
        if count < 0 or len(part) != count:
            raise self.corrupt("it ends early")
        self.position = end
        return part

    def number(self, code: str) -> int:
        """Return the next number of a ``struct`` code."""
        value: int = struct.unpack(code, self.take(struct.calcsize(code)))[0]
        return value

    def byte(self) -> int:
        """Return the next byte."""
        value = self.data[self.position]
        self.position += 1
        return value

    def word(self) -> int:
        """Return the next four bytes as a number."""
        return int.from_bytes(self.take(4), "little")

    def line(self) -> str:
        """Return the text up to the next line break."""
        end = self.position
        while self.data[end] != 0x0A and end - self.position < MAX_NAME_BYTES:
            end += 1
        text = self.take(end - self.position).decode("utf-8")
        self.take(1)
        return text

    def memorise(self, key: int) -> None:
        """Remember the last value under a number."""
        if len(self.memo) >= MAX_MEMO:
            raise self.too_much(f"more than {MAX_MEMO:,} values to be used again")
        self.memo[key] = self.stack[-1]

    def pop(self) -> Any:
        """Take the last value; never one below the last mark."""
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise self.corrupt("it takes more than it has")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        """Take all values above the last mark."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def text(self, count: int) -> Any:
        """Return a text of ``count`` bytes."""
        return self._content(count).decode("utf-8")

    def old_text(self, count: int) -> Any:
        """Return a text of Python 2, which may be bytes; the default takes texts only."""
        return self.text(count)

    def blob(self, count: int) -> Any:
        """Return ``count`` bytes."""
        return self._content(count)

    def _content(self, count: int) -> bytes:
        self._steps_left -= 1  # it takes as long as two
        self._text_left -= count
        if self._text_left < 0:
            raise self.too_much(f"texts of more than {MAX_TEXT_BYTES:,} bytes")
        return self.take(count)

    def set_items(self, values: list[Any]) -> None:
        """Put keys and values into the dict on top."""
        target = self.stack[-1]
        if isinstance(target, Opaque):
            return
        if not isinstance(target, dict) or len(values) % 2:
            raise self.corrupt("it sets a key of what is no dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Hashing a tuple of shared tuples can take for ever; such keys are no names anyway.
            known = key is None or isinstance(key, str | int | float | bytes)
            if known and key in target:
                raise UnsafeFileError(
                    cannot_read(self.path, f"a dict in its pickle has the key {key!a} twice")
                )
            target[key if known else Opaque("key")] = plain(value)

    def extend(self, values: list[Any]) -> None:
        """Append values to the list on top."""
        target = self.stack[-1]
        if isinstance(target, Opaque):
            return
        if not isinstance(target, list):
            raise self.corrupt("it appends to what is no list")
        target.extend(plain(value) for value in values)

    def discard_items(self) -> None:
        """Drop the members of a set: no tensor is in one."""
        self.pop_to_mark()
        if not isinstance(self.stack[-1], Opaque):
            raise self.corrupt("it adds to what is no set")

    def mark(self) -> None:
        """Remember the height of the stack."""
        if len(self.marks) >= MAX_MARKS:
            raise self.corrupt("it is nested too deeply")
        self.marks.append(len(self.stack))

    def find(self, module: Any, name: Any) -> None:
        """Push the name of a class or function."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self.corrupt("a class has no name")
        self._steps_left -= 2  # its name was read byte by byte
        self.stack.append(Global(module, name))

    def reduce(self) -> None:
        """Replace a function and its arguments by what stands for the call."""
        arguments, function = self.pop(), self.pop()
        if not isinstance(arguments, tuple):
            raise self.corrupt("a call has no arguments")
        self.stack.append(self.call(function, arguments))

    def new_object(self, count: int) -> None:
        """Replace a class and its ``count`` arguments by an opaque value."""
        for _ in range(count):
            self.pop()
        self.stack.append(Opaque(name_of(self.pop())))

    def build(self) -> None:
        """Drop the attributes of an object; a state dict has its ``_metadata`` there."""
        self.pop()
        if isinstance(self.stack[-1], str | int | float | bytes | tuple | list | None):
            raise self.corrupt("it sets attributes of what is no object")

    def long(self, count: int) -> None:
        """Push an integer of ``count`` bytes."""
        if count > MAX_LONG_BYTES:
            raise self.corrupt("an integer is too large")
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))


def plain(value: Any) -> Any:
    """Return a value as callers may see it: a bare class becomes opaque."""
    return Opaque(value.dotted) if isinstance(value, Global) else value


def _push(make: Callable[[Machine], Any]) -> Step:
    return lambda m: m.stack.append(make(m))


def _pop_many(count: int) -> Step:
    def step(m: Machine) -> None:
        values = [m.pop() for _ in range(count)]
        m.stack.append(tuple(reversed(values)))

    return step


def _text(size: Callable[[Machine], int]) -> Step:
    return _push(lambda m: m.text(size(m)))


def _put(key: Callable[[Machine], int]) -> Step:
    def step(m: Machine) -> None:
        m.memorise(key(m))

    return step


def _get(key: Callable[[Machine], int]) -> Step:
    return _push(lambda m: m.memo[key(m)])


def _eight(m: Machine) -> int:
    return m.number("<Q")


def _frozenset(m: Machine) -> None:
    m.pop_to_mark()
    m.stack.append(Opaque("frozenset"))


def _pop_pair(m: Machine) -> list[Any]:
    value, key = m.pop(), m.pop()
    return [key, value]


Machine.steps = {
    ord(code): step
    for code, step in {
        "\x80": lambda m: m.take(1),  # PROTO
        "\x95": lambda m: m.take(8),  # FRAME
        "(": Machine.mark,
        "}": _push(lambda _: {}),
        "]": _push(lambda _: []),
        ")": _push(lambda _: ()),
        "\x8f": _push(lambda _: Opaque("set")),  # EMPTY_SET
        "\x90": lambda m: m.discard_items(),  # ADDITEMS
        "\x91": _frozenset,
        "t": _push(lambda m: tuple(m.pop_to_mark())),
        "\x85": _pop_many(1),
        "\x86": _pop_many(2),
        "\x87": _pop_many(3),
        "s": lambda m: m.set_items(_pop_pair(m)),
        "u": lambda m: m.set_items(m.pop_to_mark()),
        "a": lambda m: m.extend([m.pop()]),
        "e": lambda m: m.extend(m.pop_to_mark()),
        "X": _text(Machine.word),
        "\x8c": _text(Machine.byte),
        "\x8d": _text(_eight),
        "U": _push(lambda m: m.old_text(m.byte())),
        "T": _push(lambda m: m.old_text(m.word())),
        "B": _push(lambda m: m.blob(m.word())),
        "C": _push(lambda m: m.blob(m.byte())),
        "\x8e": _push(lambda m: m.blob(_eight(m))),
        "J": _push(lambda m: m.number("<i")),
        "K": _push(Machine.byte),
        "M": _push(lambda m: m.number("<H")),
        "\x8a": lambda m: m.long(m.byte()),
        "\x8b": lambda m: m.long(m.number("<i")),
        "G": _push(lambda m: m.number(">d")),
        "N": _push(lambda _: None),
        "\x88": _push(lambda _: True),
        "\x89": _push(lambda _: False),
        "q": _put(Machine.byte),
        "r": _put(Machine.word),
        "\x94": _put(lambda m: len(m.memo)),  # MEMOIZE
        "h": _get(Machine.byte),
        "j": _get(Machine.word),
        "c": lambda m: m.find(m.line(), m.line()),
        "\x93": lambda m: m.find(*_pop_pair(m)),  # STACK_GLOBAL
        "R": Machine.reduce,
        "\x81": lambda m: m.new_object(1),  # NEWOBJ
        "\x92": lambda m: m.new_object(2),  # NEWOBJ_EX
        "b": lambda m: m.build(),
        "Q": _push(lambda m: m.persistent(m.pop())),
        "0": Machine.pop,
        "1": Machine.pop_to_mark,
    }.items()
}
