"""What ``draft --json`` prints: a proposed mapping, and what speaks for it."""

from __future__ import annotations

import msgspec

from converter.cli.schema import VERSION


class DraftedRule(msgspec.Struct, frozen=True):
    """One rule of a draft: its columns, how many pairs it stands for, and what speaks for it.

    ``certainty`` is ``proved``, ``certain``, ``likely`` or ``needs a look``; ``rivals`` are the
    modules that its least certain pair could have instead.
    """

    kind: str
    keras: str
    torch: str
    pairs: int
    certainty: str
    why: str
    rivals: list[str]


class Leftover(msgspec.Struct, frozen=True):
    """A Keras layer without a module, or a PyTorch tensor without a layer."""

    name: str
    shapes: list[list[int]]
    nearest: list[str]


class Beginning(msgspec.Struct, frozen=True):
    """What ``mappings new`` begins: the text, how far it goes, and the names left to a person.

    ``pairs`` counts the Keras layers that the rules take.
    """

    mapping: str
    rules: int
    pairs: int
    layers: list[str]
    modules: list[str]
    schema: int = VERSION


class Draft(msgspec.Struct, frozen=True):
    """What ``draft`` proposes: the text of the mapping file, its rules, and what is left over.

    ``runs`` counts the runs of the PyTorch side that were needed to find out who is who.
    """

    mapping: str
    complete: bool
    proved: bool
    verdict: str
    runs: int
    rules: list[DraftedRule]
    layers: list[Leftover]
    tensors: list[Leftover]
    schema: int = VERSION
