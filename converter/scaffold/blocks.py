"""Repeated blocks of a network, written once: a method that makes the layers, one that runs them.

Names of layers stay what they are, ``conv2_block1_1_conv``, because the converted weights have
them; so a block is no module of its own, but two methods that are told the block's name. Blocks are
one form when they are the same code but for names and numbers; numbers that differ are arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from converter.scaffold.families import Run, families
from converter.scaffold.program import (
    Attr,
    Code,
    Literal,
    Member,
    Option,
    Part,
    Program,
    Statement,
    Use,
)

_FEWEST_STATEMENTS = 3


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a network.

    Attributes:
        run: Where it is.
        given: The value that it takes.
        made: The value that it gives.
        members: Its members, in order.
        statements: Its statements.
    """

    run: Run
    given: int
    made: int
    members: tuple[Member, ...]
    statements: tuple[Statement, ...]

    def literals(self) -> Iterable[Literal]:
        """Yield all literals, those of members first."""
        for member in self.members:
            yield from (part for part in member.code if isinstance(part, Literal))
        for one in self.statements:
            yield from (part for part in one.code if isinstance(part, Literal))

    def signature(self) -> tuple[object, ...]:
        """Return what is equal for blocks of one form."""
        numbers: dict[int, int] = {self.given: 0}
        made = [_shape(one.code, self.run.name, numbers) for one in self.members]
        body = []
        for one in self.statements:
            code = _shape(one.code, self.run.name, numbers)
            for target in one.targets:
                if target is not None:
                    numbers[target] = len(numbers)
            targets = tuple(None if one is None else numbers[one] for one in one.targets)
            body.append((targets, code))
        names = tuple(one.name.removeprefix(self.run.name) for one in self.members)
        return (names, tuple(made), tuple(body), numbers[self.made])


def _shape(code: Code, name: str, numbers: Mapping[int, int]) -> tuple[object, ...]:
    """Return code without the block's name and without its numbers."""
    found: list[object] = []
    for part in code:
        if isinstance(part, Literal):
            found.append((part.role, isinstance(part.value, str) and part.value))
        elif isinstance(part, Use):
            found.append(numbers.get(part.value, ("outside", part.value)))
        elif isinstance(part, Attr):
            found.append(("attr", part.name.removeprefix(name)))
        else:
            found.append(part)
    return tuple(found)


@dataclass(slots=True)
class Form:
    """Blocks that are written once.

    Attributes:
        blocks: In the order of the network.
        made_with: Name of an argument of the first method, to its value in each block.
        run_with: The same for the second method.
        members: Members of the first block, with names of arguments for their numbers.
        statements: Statements of the first block, likewise.
        index: Which form it is, from 1; 0 where it is the only one.
    """

    blocks: tuple[Block, ...]
    made_with: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    run_with: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    members: tuple[Member, ...] = ()
    statements: tuple[Statement, ...] = ()
    index: int = 0

    @property
    def suffix(self) -> str:
        """What the names of its methods end with."""
        return f"_{self.index}" if self.index else ""


def find_forms(program: Program) -> list[Form]:
    """Return the forms of blocks by which a class becomes shortest; none where nothing repeats."""
    best: list[Form] = []
    for runs in families(program.statements):
        forms = _forms(program, runs)
        if _saved(forms) > _saved(best):
            best = forms
    for index, form in enumerate(best, 1):
        form.index = index if len(best) > 1 else 0
    return best


def _saved(forms: Sequence[Form]) -> int:
    """Return how many lines are not written, roughly."""
    total = 0
    for form in forms:
        size = len(form.members) + len(form.statements) // 2
        total += size * len(form.blocks) - (size + 8) - 2 * _stretches(form)
    return total


def _stretches(form: Form) -> int:
    return sum(
        1
        for before, after in zip((None, *form.blocks), form.blocks, strict=False)
        if before is None or before.made != after.given
    )


def _forms(program: Program, runs: Sequence[Run]) -> list[Form]:
    alike: dict[tuple[object, ...], list[Block]] = {}
    for run in runs:
        block = _block(program, run)
        if block is not None:
            alike.setdefault(block.signature(), []).append(block)
    return [_form(blocks) for blocks in alike.values() if len(blocks) > 1]


def _block(program: Program, run: Run) -> Block | None:
    """Return the block of a run, or ``None`` where it takes or gives several values."""
    inside = program.statements[run.start : run.end]
    after = program.statements[run.end :]
    made = {target for one in inside for target in one.targets if target is not None}
    given = {value for one in inside for value in one.uses()} - made
    read = {value for one in after for value in one.uses()}
    read |= {part.value for part in program.returns if isinstance(part, Use)}
    given_out = made & read
    attrs = [name for one in inside for name in one.attrs()]
    if len(given) != 1 or len(given_out) != 1 or len(inside) < _FEWEST_STATEMENTS:
        return None
    if not attrs or any(not name.startswith(run.name) for name in attrs):
        return None
    if len(set(attrs)) < len(attrs):
        return None
    members = tuple(one for one in program.members if one.name in set(attrs))
    return Block(run, given.pop(), given_out.pop(), members, tuple(inside))


def _form(blocks: Sequence[Block]) -> Form:
    form = Form(tuple(blocks))
    vectors = list(zip(*(tuple(block.literals()) for block in blocks), strict=True))
    names: dict[tuple[Any, ...], str] = {}
    taken: set[str] = {"name", "x", "self"}
    spelt: list[Part] = []
    count = sum(isinstance(part, Literal) for one in blocks[0].members for part in one.code)
    for position, vector in enumerate(vectors):
        values = tuple(one.value for one in vector)
        if len(set(map(repr, values))) == 1:
            spelt.append(vector[0])
            continue
        key = tuple(map(repr, values))
        name = names.get(key)
        if name is None:
            name = names[key] = _free(vector[0].role, taken)
            taken.add(name)
        (form.made_with if position < count else form.run_with)[name] = values
        one = vector[0]
        spelt.append(f", {one.name}={name}" if isinstance(one, Option) else name)
    parts = iter(spelt)
    form.members = tuple(Member(one.name, _spelt(one.code, parts)) for one in blocks[0].members)
    form.statements = tuple(
        Statement(one.targets, _spelt(one.code, parts), one.origin) for one in blocks[0].statements
    )
    return form


def _free(role: str, taken: set[str]) -> str:
    names = (role, *(f"{role}_{number}" for number in range(2, 100)))
    return next(name for name in names if name not in taken)


def _spelt(code: Code, parts: Any) -> Code:
    return tuple(next(parts) if isinstance(part, Literal) else part for part in code)
