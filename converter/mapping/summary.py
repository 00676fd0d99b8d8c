"""The library in one table: each mapping with what runs have shown, and what none has."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from converter.algebra.base import Law
from converter.mapping import library
from converter.mapping.places import MISSING_NAME, mapping_folders
from converter.mapping.proofs import CaseProof, find_unproved, read_proof
from converter.mapping.rules import Mapping


@dataclass(frozen=True, slots=True)
class Summary:
    """One mapping in one line.

    Attributes:
        name: Its name.
        keras: What its left column names.
        torch: What its right column names.
        rules: Number of rules.
        law: The weakest law of its proofs; empty where it is not proved.
        error: The largest relative L2 error of an output.
        floors: The largest error in noise floors.
        cases: Number of small models that were run.
        variants: Number of full-size variants whose names and shapes were paired.
        versions: Package to version.
        date: Day of the oldest run.
        unproved: Why it does not count as proved; empty where it does.
    """

    name: str
    keras: str
    torch: str
    rules: int
    law: str = ""
    error: float | None = None
    floors: float | None = None
    cases: int = 0
    variants: int = 0
    versions: dict[str, str] | None = None
    date: str = ""
    unproved: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that is not covered.

    Attributes:
        name: What.
        mapping: The mapping that it would belong to, or empty.
        why: The reason, one sentence.
    """

    name: str
    mapping: str
    why: str


def summarise(mapping: Mapping) -> Summary:
    """Return a mapping with what runs have shown about it."""
    plain = Summary(mapping.name, mapping.keras, mapping.torch, len(mapping.rules))
    problem = next(find_unproved(mapping), None)
    proof = read_proof(mapping)
    if problem is not None or proof is None:
        why = problem.text if problem is not None else "is not proved"
        return Summary(plain.name, plain.keras, plain.torch, plain.rules, unproved=why)
    equal = [case for case in proof.cases.values() if not case.deviates]
    worst = max(equal, key=lambda case: case.floors)
    return Summary(
        name=plain.name,
        keras=plain.keras,
        torch=plain.torch,
        rules=plain.rules,
        law=str(Law.weakest([Law(case.law) for case in equal])),
        error=worst.error,
        floors=worst.floors,
        cases=len(equal),
        variants=len(proof.variants),
        versions=_versions(equal),
        date=min(case.date for case in equal),
    )


def gaps(mappings: Iterable[Mapping]) -> list[Gap]:
    """Return what these mappings do not cover, twins that deviate, and what has no mapping."""
    found = []
    for mapping in mappings:
        found += [Gap(name, mapping.name, why) for name, why in mapping.unproved.items()]
        proof = read_proof(mapping)
        for name, case in proof.cases.items() if proof is not None else ():
            if case.deviates:
                why = f"{case.deviates} (outputs differ by {case.error:.0e})"
                found.append(Gap(f"{mapping.torch}, {name}", mapping.name, why))
    return found + [Gap(name, "", f"not yet: {why}") for name, why in missing().items()]


def markdown(folders: Iterable[str | Path] = ()) -> str:
    """Return the table of the library and what it does not cover, as Markdown."""
    mappings = library.load_all(folders)
    lines = [
        "| mapping | Keras | PyTorch | rows | law | error | floors | versions | run |",
        "| --- | --- | --- | ---: | --- | ---: | ---: | --- | --- |",
    ]
    for one in map(summarise, mappings):
        shown = (
            f"{one.law} | {one.error:.1e} | {one.floors:.1f} | {versions_text(one)} | {one.date}"
            if one.error is not None
            else f"not proved: {one.unproved} | | | |"
        )
        lines.append(f"| {one.name} | {one.keras} | {one.torch} | {one.rules} | {shown} |")
    lines += ["", "| not covered, or not equal | of mapping | why |", "| --- | --- | --- |"]
    lines += [f"| {gap.name} | {gap.mapping} | {gap.why} |" for gap in gaps(mappings)]
    return "\n".join(lines) + "\n"


def versions_text(summary: Summary) -> str:
    """Return the versions in one line."""
    return ", ".join(f"{name} {version}" for name, version in (summary.versions or {}).items())


def _versions(cases: Iterable[CaseProof]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for case in cases:
        for name, version in case.versions.items():
            found.setdefault(name, set()).add(version.partition("+")[0])
    return {name: " and ".join(sorted(versions)) for name, versions in sorted(found.items())}


def missing() -> dict[str, str]:
    """Return the architectures that no mapping of the library covers, with the reason."""
    return _listed("missing")


def within() -> dict[str, str]:
    """Return the architectures that a mapping of another name covers, with that name."""
    return _listed("within")


def _listed(table: str) -> dict[str, str]:
    path = mapping_folders()[0] / MISSING_NAME
    if not path.is_file():
        return {}
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return {str(name): str(text) for name, text in content.get(table, {}).items()}
