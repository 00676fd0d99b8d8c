"""A PyTorch module as data: its members and the statements of its ``forward``.

Translators make it layer by layer; afterwards repeated blocks are found in it and it is printed.
Code is a sequence of parts rather than text, so that two pieces of code can be compared with their
names and numbers left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text or a tuple in code.

    Attributes:
        value: What it is.
        role: What it is for, such as ``out_channels``; names a parameter where blocks differ in it.
    """

    value: Any
    role: str = "value"


@dataclass(frozen=True, slots=True)
class Option(Literal):
    """A keyword argument that is not written where it has its default.

    Attributes:
        name: The keyword.
        default: What PyTorch takes it for.
    """

    name: str = ""
    default: Any = None


@dataclass(frozen=True, slots=True)
class Use:
    """A value that a statement reads, by its number."""

    value: int


@dataclass(frozen=True, slots=True)
class Attr:
    """A member of the module, such as ``self.conv1``."""

    name: str


Part = str | Literal | Use | Attr
Code = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A submodule, a parameter or a buffer.

    Attributes:
        name: Attribute name.
        code: What makes it; arguments of the call are separate parts.
    """

    name: str
    code: Code


@dataclass(frozen=True, slots=True)
class Statement:
    """One line of ``forward``.

    Attributes:
        targets: Numbers of the values it makes; ``None`` for one that nobody reads.
        code: The right-hand side.
        origin: Name of the Keras call it comes from.
    """

    targets: tuple[int | None, ...]
    code: Code
    origin: str = ""

    def uses(self) -> Iterator[int]:
        """Yield the values that it reads."""
        return (part.value for part in self.code if isinstance(part, Use))

    def attrs(self) -> Iterator[str]:
        """Yield the members that it names."""
        return (part.name for part in self.code if isinstance(part, Attr))


@dataclass(frozen=True, slots=True)
class Argument:
    """An input of ``forward``.

    Attributes:
        name: As in the signature.
        value: Its number.
        shape: As a comment shows it.
    """

    name: str
    value: int
    shape: str


@dataclass(slots=True)
class Program:
    """One class.

    Attributes:
        name: Its name.
        doc: Lines of its docstring.
        arguments: Inputs of ``forward``.
        members: In the order of the network.
        statements: In an order in which they can be carried out.
        returns: What ``forward`` returns.
    """

    name: str
    doc: list[str] = field(default_factory=list)
    arguments: list[Argument] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    returns: Code = ()


def call(function: str, *arguments: Part | Code, **keywords: Part | Code) -> Code:
    """Return code that calls something; arguments may be parts or code, options come last.

    Examples:
        >>> call("F.pad", Use(1), Literal((0, 1)))
        ('F.pad', '(', Use(value=1), ', ', Literal(value=(0, 1), role='value'), ')')
    """
    return (function, *_listed(arguments, keywords))


def option(name: str, value: Any, default: Any) -> Option:
    """Return a keyword argument that is written where it is not the default."""
    return Option(value, name, name, default)


def applied(member: str, *arguments: Part | Code, **keywords: Part | Code) -> Code:
    """Return code that calls a member of the module."""
    return (Attr(member), *_listed(arguments, keywords))


def _listed(
    arguments: tuple[Part | Code, ...], keywords: dict[str, Part | Code]
) -> tuple[Part, ...]:
    parts: list[Part] = ["("]
    for index, argument in enumerate(arguments):
        parts += [", "] if index and not isinstance(argument, Option) else []
        parts += argument if isinstance(argument, tuple) else [argument]
    for index, (name, argument) in enumerate(keywords.items()):
        parts += [", "] if index or arguments else []
        parts.append(f"{name}=")
        parts += argument if isinstance(argument, tuple) else [argument]
    return (*parts, ")")


def listed(values: Sequence[Any], role: str = "size") -> Code:
    """Return plain values as arguments, each a part of its own.

    Examples:
        >>> listed((0, 2))
        ('(', Literal(value=0, role='size'), ', ', Literal(value=2, role='size'), ')')
    """
    parts: list[Part] = ["("]
    for index, value in enumerate(values):
        parts += [", "] if index else []
        parts.append(Literal(value, role))
    return (*parts, ")")
