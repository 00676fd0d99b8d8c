"""Find the one mapping that a checkpoint belongs to, by its names.

A mapping is found when it accounts for every tensor and every rule that is not optional is about
something. Half a match is no match: what merely looks alike is named in the message and never used.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from pathlib import Path

from converter.errors import MappingError
from converter.mapping.catalogue import load_catalogue
from converter.mapping.claims import claimed_names
from converter.mapping.expansion import Expansion, expand
from converter.mapping.library import load_all
from converter.mapping.rule_index import RuleIndex, owners
from converter.mapping.rules import Mapping
from converter.mapping.template import skeleton
from converter.tensors.manifest import Family, Manifest


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far one mapping accounts for a checkpoint.

    Attributes:
        mapping: The mapping.
        covered: Number of tensors that a rule, a drop or a tie is about.
        total: Number of tensors.
        is_whole: Whether it is the checkpoint's mapping: nothing is left over on either side, and
            nothing contradicts it.
    """

    mapping: Mapping
    covered: int
    total: int
    is_whole: bool


def identify(
    manifest: Manifest,
    *,
    family: Family | None = None,
    folders: Iterable[str | Path] = (),
    sizes: Dict[str, int] | None = None,
    model_type: str | None = None,
) -> Mapping | None:
    """Return the mapping that covers a checkpoint, or ``None``.

    Args:
        manifest: The checkpoint.
        family: Whose names it has, where the manifest does not say.
        folders: Mapping files, and folders of them, besides the library.
        sizes: Values of sizes that conditions may depend on.
        model_type: What its ``config.json`` says it is; decides where several mappings cover it.

    Raises:
        MappingError: If several mappings cover it.
    """
    found = coverages(manifest, family=family, folders=folders, sizes=sizes)
    whole = _first([coverage.mapping for coverage in found if coverage.is_whole])
    if len(whole) > 1 and model_type is not None:
        whole = [one for one in whole if one.is_for(model_type)] or whole
    if len(whole) > 1:
        names = sorted(mapping.name for mapping in whole)
        raise MappingError(
            f"{len(whole)} mappings cover all {len(manifest)} tensors: {', '.join(names)}",
            facts=[(mapping.name, f"{mapping.keras} <-> {mapping.torch}") for mapping in whole],
            hint=f"say which: --mapping {names[0]}",
        )
    return whole[0] if whole else None


def _first(whole: list[Mapping]) -> list[Mapping]:
    """Leave out mappings that say that another one comes first, where that one is found too."""
    names = {mapping.name for mapping in whole}
    return [mapping for mapping in whole if mapping.second_to not in names]


def nearest(
    manifest: Manifest,
    *,
    family: Family | None = None,
    folders: Iterable[str | Path] = (),
    sizes: Dict[str, int] | None = None,
) -> str:
    """Return, for a message, which mapping covers most of a checkpoint.

    Takes what :func:`identify` takes.
    """
    found = coverages(manifest, family=family, folders=folders, sizes=sizes)
    best = max(found, key=lambda coverage: coverage.covered, default=None)
    if best is None:
        return "none has a rule for any of them"
    return f"'{best.mapping.name}' covers {best.covered} of {best.total}"


def coverage_of(expansion: Expansion, manifest: Manifest, family: Family) -> frozenset[str]:
    """Return the tensors of a manifest that an expanded mapping accounts for."""
    covered = {name for side, name in expansion.dropped if side == family}
    if family == "torch":
        covered |= expansion.ties.keys()
    for pairing in (*expansion.pairings, *expansion.unfilled):
        covered.update(claimed_names(pairing, manifest, family, expansion.torch_names))
    return frozenset(covered)


def coverages(
    manifest: Manifest,
    *,
    family: Family | None = None,
    folders: Iterable[str | Path] = (),
    sizes: Dict[str, int] | None = None,
) -> list[Coverage]:
    """Return how far each mapping accounts for a checkpoint, those left out that do not at all.

    Takes what :func:`identify` takes.
    """
    family = family or manifest.family
    if family is None or not len(manifest):
        return []
    names = [*manifest.tensors, *manifest.ties] if family == "torch" else list(manifest.tensors)
    shapes = _skeletons(names, family)
    found = []
    for mapping in load_all(folders):
        if not _is_possible(mapping, shapes, family):
            continue
        coverage = _coverage(mapping, manifest, family, len(names), sizes)
        if coverage.covered:
            found.append(coverage)
    return found


def _coverage(
    mapping: Mapping, manifest: Manifest, family: Family, total: int, sizes: Dict[str, int] | None
) -> Coverage:
    expansion = expand(
        mapping,
        load_catalogue(),
        keras=manifest if family == "keras" else None,
        torch=manifest if family == "torch" else None,
        sizes=sizes,
    )
    covered = len(coverage_of(expansion, manifest, family))
    # Without a Keras model some names cannot be filled in; that is no contradiction.
    contradicted = any(problem.kind != "undetermined" for problem in expansion.problems)
    is_whole = covered == total and not contradicted and not expansion.unused
    return Coverage(mapping, covered, total, is_whole)


def _skeletons(names: Iterable[str], family: Family) -> frozenset[str]:
    """Return the skeletons of everything that owns tensors, also behind any prefix."""
    separator = "/" if family == "keras" else "."
    seen: set[str] = set()
    for name in {skeleton(name) for name in names}:
        seen.update(owners(name, separator))
    return frozenset(seen)


def _is_possible(mapping: Mapping, shapes: frozenset[str], family: Family) -> bool:
    """Whether at least one rule could be about something; cheap, to pass over most mappings."""
    if family == "torch":
        prefixes = ("", *mapping.prefixes, "module.")
    else:
        plain = mapping.keras_prefixes
        prefixes = ("", *plain, *(f"{one.removesuffix('/')}_0/" for one in plain))
    prefixes = tuple(skeleton(one) for one in prefixes)
    index = RuleIndex(mapping)
    return any(
        index.knows(shape.removeprefix(prefix), family) for prefix in prefixes for shape in shapes
    )
