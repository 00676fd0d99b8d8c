"""What can be wrong with a mapping before any checkpoint is there.

Reading a file already finds what is malformed. Here the rules are compared with the catalogue and
with each other: kinds that exist and may be used, sizes of axes that the kind has, rules that can
claim one tensor, drops of what a rule claims. Overlaps are found by trying names: every member of a
table, and enough numbers to tell linear expressions apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, product
from pathlib import Path

from converter.algebra.pattern import Pattern
from converter.errors import MappingFileError, OperationError, Problem
from converter.mapping import library
from converter.mapping.catalogue import Catalogue, load_catalogue
from converter.mapping.claims import join
from converter.mapping.proofs import find_unproved
from converter.mapping.rule_index import SEPARATORS, ReadRule, RuleIndex, owners
from converter.mapping.rules import Kind, Mapping, Rule
from converter.mapping.schema import near
from converter.mapping.slots import BESIDE
from converter.mapping.template import Bindings, Side, Template

_NUMBERS = (0, 1, 2, 3, 4, 7, 12)
_MOST_NAMES = 2000


def check_mapping(name: str | Path, *, proved: bool = True) -> Mapping:
    """Return a mapping, by name or by file, after everything about it has been checked.

    Args:
        name: A mapping of the library, or a file.
        proved: Whether a mapping that no run has proved is refused.

    Raises:
        MappingError: If there is no such mapping.
        MappingFileError: With everything that is wrong with it.
    """
    mapping = library.get(name)
    problems = list(find_problems(mapping, load_catalogue()))
    if proved and not problems:
        problems += find_unproved(mapping)
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise MappingFileError(f"cannot use '{mapping.path or name}': {count}", problems)
    return mapping


def find_problems(mapping: Mapping, catalogue: Catalogue) -> Iterator[Problem]:
    """Yield what is wrong with a mapping that could be read."""
    usable = []
    for rule in mapping.rules:
        kind = catalogue.kinds.get(rule.kind)
        if kind is None:
            text = f"unknown kind '{rule.kind}'{near(rule.kind, catalogue.kinds)}"
            yield Problem("invalid", str(rule), text)
            continue
        usable.append(rule)
        if kind.refuse is not None:
            yield Problem("refused", str(rule), kind.refuse)
        yield from _check_sizes(rule, kind)
        yield from _check_slots(rule, kind)
    index = RuleIndex(mapping, usable)
    sides: tuple[Side, Side] = ("keras", "torch")
    reported: set[tuple[int, int]] = set()
    for one in index.rules:
        for side in sides:
            for other in _overlapping(one, index, mapping, catalogue, side):
                pair = (one.rule.index, other.rule.index)
                if pair not in reported:
                    reported.add(pair)
                    text = f"and {other.rule} can claim one tensor of {_PLACES[side]}"
                    yield Problem("conflict", str(one.rule), text)
        yield from _check_drops(one, mapping, catalogue)


_PLACES = {"keras": "Keras", "torch": "PyTorch"}


def _check_sizes(rule: Rule, kind: Kind) -> Iterator[Problem]:
    axes: set[str] = set()
    for slot in kind.slots:
        axes |= {slot.value} if isinstance(slot.value, str) else set()
        if slot.full_pattern is None:
            continue
        try:
            pattern = Pattern.parse(slot.full_pattern, slot.pattern_sources, slot.pattern_targets)
            axes |= {*pattern.axes, *slot.uneven_sizes} - {slot.uneven_axis}
        except OperationError as error:
            yield Problem("invalid", str(rule), f"kind '{kind.name}': {error.summary}")
    for axis in rule.sizes:
        if axis not in axes:
            has = ", ".join(sorted(axes)) or "none"
            text = f"kind '{kind.name}' has no axis '{axis}'; its axes: {has}"
            yield Problem("invalid", str(rule), text)


def _check_slots(rule: Rule, kind: Kind) -> Iterator[Problem]:
    """Compare what a rule says of single slots with what the kind has."""
    slots = _slots(kind, "keras")
    for name in rule.without:
        if name not in slots:
            yield Problem("invalid", str(rule), f"kind '{kind.name}' has no slot '{name}'")
    needs = any(name.startswith(BESIDE) for name in slots)
    if needs and not rule.beside:
        text = f"kind '{kind.name}' takes a tensor of a second Keras layer: beside = \"...\""
        yield Problem("invalid", str(rule), text)
    elif rule.beside and not needs:
        text = f"kind '{kind.name}' takes nothing of a second Keras layer"
        yield Problem("invalid", str(rule), text)


def _overlapping(
    one: ReadRule, index: RuleIndex, mapping: Mapping, catalogue: Catalogue, side: Side
) -> Iterator[ReadRule]:
    """Yield rules that come later in the file and can claim a tensor of this one."""
    seen: set[int] = set()
    slots = _slots(catalogue.kinds[one.rule.kind], side)
    for name in _names(one.on(side), mapping):
        for other, _ in index.find(name, side):
            if other.rule.index <= one.rule.index or other.rule.index in seen:
                continue
            seen.add(other.rule.index)
            shared = slots & _slots(catalogue.kinds[other.rule.kind], side)
            if shared and not _exclude_each_other(one.rule, other.rule):
                yield other


def _check_drops(one: ReadRule, mapping: Mapping, catalogue: Catalogue) -> Iterator[Problem]:
    for drop in mapping.drops:
        template = Template.parse(drop.name, mapping.tables, drop.side)
        separator = SEPARATORS[drop.side]
        slots = _slots(catalogue.kinds[one.rule.kind], drop.side)
        for name in _names(one.on(drop.side), mapping):
            tensors = [join(name, slot, separator) for slot in slots]
            places = (place for tensor in tensors for place in owners(tensor, separator))
            if any(template.match(place) is not None for place in places):
                text = f"claims what '{drop.name}' drops"
                yield Problem("conflict", str(one.rule), text)
                break


def _exclude_each_other(one: Rule, other: Rule) -> bool:
    if one.when is None or other.when is None:
        return False
    return one.when == f"not {other.when}" or other.when == f"not {one.when}"


def _slots(kind: Kind, side: Side) -> set[str]:
    return {name for slot in kind.slots for name in (slot.keras if side == "keras" else slot.torch)}


def _names(template: Template, mapping: Mapping) -> Iterator[str]:
    """Yield names that a template matches."""
    names = sorted(template.placeholders)
    values: list[Iterable[int | str]] = [mapping.tables.get(name, _NUMBERS) for name in names]
    for chosen in islice(product(*values), _MOST_NAMES):
        bindings: Bindings = dict(zip(names, chosen, strict=True))
        name = template.fill(bindings)
        if name is not None:
            yield name
