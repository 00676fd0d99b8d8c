"""What the commands about mappings print as JSON: the library, one mapping, one of its rules."""

from __future__ import annotations

import msgspec

VERSION = 1


class Summary(msgspec.Struct, frozen=True):
    """One mapping: what both of its columns name, how many rules it has, what runs have shown.

    ``error`` is the largest relative L2 error of an output, ``floors`` the largest in noise
    floors, ``cases`` the number of small models run, ``variants`` that of full-size ones whose
    names and shapes were paired. ``unproved`` says why there is none of this, or is null.
    """

    name: str
    keras: str
    torch: str
    rules: int
    law: str | None = None
    error: float | None = None
    floors: float | None = None
    cases: int = 0
    variants: int = 0
    versions: dict[str, str] = {}
    date: str | None = None
    unproved: str | None = None


class Gap(msgspec.Struct, frozen=True):
    """What is not covered, or has no equal twin, with the reason."""

    name: str
    mapping: str
    why: str


class Mappings(msgspec.Struct, frozen=True):
    """What ``mappings list`` lists, and what ``check`` and ``prove`` found to be sound."""

    mappings: list[Summary]
    gaps: list[Gap] = []
    schema: int = VERSION


class Rule(msgspec.Struct, frozen=True):
    """One rule: layer kind, Keras layer, PyTorch module, with placeholders."""

    kind: str
    keras: str
    torch: str


class Drop(msgspec.Struct, frozen=True):
    """A tensor that only one side has, with the reason."""

    side: str
    name: str
    why: str


class Mapping(msgspec.Struct, frozen=True, rename={"rule_list": "rules"}):
    """What ``mappings show`` shows; ``proved`` maps packages to the versions last compared."""

    name: str
    keras: str
    torch: str
    rule_list: list[Rule]
    drops: list[Drop]
    requires: list[str]
    proved: dict[str, str]
    schema: int = VERSION


class Explanation(msgspec.Struct, frozen=True):
    """Which rule takes a tensor, the names on both sides, and where the fact comes from.

    ``pattern`` is the axis pattern from Keras to PyTorch, null where the axes are kept;
    ``operation`` is what follows it, or null.
    """

    tensor: str
    mapping: str
    side: str
    rule: str
    layer: str
    module: str
    keras: list[str]
    torch: list[str]
    pattern: str | None
    operation: str | None
    fact: str
    notes: list[str]


class Explanations(msgspec.Struct, frozen=True):
    """What ``mappings explain`` found; several only when several mappings take the name."""

    explanations: list[Explanation]
    schema: int = VERSION
