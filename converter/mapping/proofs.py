"""What runs have shown about a mapping: the record beside it, and whether it is still about it.

A mapping that nobody has run is a guess, however well its shapes fit. So every run that proves one
(:mod:`converter.proving`) writes what it saw into ``proofs/NAME.json`` beside the file, and with
it a digest of everything in the file that decides what a run shows. A record whose digest is
not the file's is about another mapping, and proves nothing about this one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from converter.errors import MappingFileError, Problem
from converter.mapping.rules import Condition, Mapping, Rule

FOLDER = "proofs"
# A floor is how far the PyTorch side is from itself in float64.
MOST_FLOORS = 30.0
MAX_BYTES = 1 << 20

_DECIDING = (
    *("rules", "tables", "conditions", "sizes", "measures", "drops", "ties"),
    *("prefixes", "keras_prefixes", "aliases", "spellings"),
    *("proofs", "inputs", "outputs"),
)


# Entries of a row that are newer than the first records.
_LATER = frozenset({"beside", "without", "otherwise"})


class CaseProof(msgspec.Struct, frozen=True):
    """What a run of two small models showed.

    Attributes:
        law: What survives the way there and back.
        tensors: Number of tensors of the PyTorch side.
        outputs: Number of outputs compared.
        error: Largest relative L2 error of an output, of both directions.
        floor: Noise floor of that output.
        floors: The largest error in noise floors.
        own: Whether keras_hub's own converter gives the same bits; ``null`` where it has none.
        pretrained: Whether transformers opens a folder with what is written, and what it saves is
            read; ``null`` for others.
        deviates: Why the outputs differ, where they must; else empty.
        versions: Package to version.
        date: Day of the run.
    """

    law: str
    tensors: int
    outputs: int
    error: float
    floor: float
    floors: float
    versions: dict[str, str]
    date: str
    own: bool | None = None
    pretrained: bool | None = None
    deviates: str = ""


class Proof(msgspec.Struct, frozen=True):
    """Everything that runs have shown about one mapping.

    Attributes:
        digest: Of the mapping that was run, see :func:`digest`.
        cases: Name of a small model to what its run showed.
        variants: Name of a full-size variant to its number of PyTorch tensors; names and shapes of
            both sides pair in both directions.
    """

    digest: str
    cases: dict[str, CaseProof] = {}
    variants: dict[str, int] = {}


def digest(mapping: Mapping) -> str:
    """Return what a mapping is recognised by: a hash of all that decides what a run shows.

    That is where each tensor goes, the small models, and what is required of them; not the words.
    """
    deciding = {name: getattr(mapping, name) for name in _DECIDING}
    deciding["rules"] = [_row(each) for each in mapping.rules]
    deciding["conditions"] = {name: _row(each) for name, each in mapping.conditions.items()}
    if mapping.automatic:  # most have none, and their records were made before it was thought of
        deciding["automatic"] = mapping.automatic
    if mapping.measured:
        deciding["measured"] = mapping.measured
    deciding["requires"] = [replace(each, why="") for each in mapping.requirements]
    text = json.dumps(msgspec.to_builtins(deciding), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _row(rule: Rule | Condition) -> dict[str, Any]:
    """Return a row; what the language learned later counts where it is used."""
    row: dict[str, Any] = msgspec.to_builtins(rule)
    return {key: value for key, value in row.items() if value or key not in _LATER}


def record_path(mapping: Mapping) -> Path | None:
    """Return where the record of a mapping is; ``None`` for a mapping without a file."""
    if mapping.path is None:
        return None
    return mapping.path.parent / FOLDER / f"{mapping.name}.json"


def read_proof(mapping: Mapping) -> Proof | None:
    """Return the record of a mapping, or ``None`` where there is none.

    Raises:
        MappingFileError: If there is one that cannot be read.
    """
    path = record_path(mapping)
    if path is None or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES)
        return msgspec.json.decode(content, type=Proof)
    except (OSError, ValueError, RecursionError) as error:
        text = f"is no record of a proof: {str(error).splitlines()[0]}"
        raise MappingFileError(
            f"cannot use '{path}': 1 problem", [Problem("invalid", "", text)]
        ) from error


def write_proof(mapping: Mapping, proof: Proof) -> Path:
    """Write the record of a mapping, and return its path.

    Raises:
        ValueError: If the mapping has no file.
    """
    path = record_path(mapping)
    if path is None:
        raise ValueError(f"'{mapping.name}' has no file to put a record beside")
    path.parent.mkdir(exist_ok=True)
    content = msgspec.json.format(msgspec.json.encode(proof, order="sorted"), indent=2)
    path.write_bytes(content + b"\n")
    return path


def find_unproved(mapping: Mapping) -> Iterator[Problem]:
    """Yield what no run has shown about a mapping."""
    command = f"prove it: converter mappings prove {mapping.path or mapping.name}"
    if not mapping.proofs:
        text = "is not proved: the file names no small models to compare"
        yield Problem("unproved", "proofs", text, hint="mappings/README.md, minute 9")
        return
    proof = read_proof(mapping)
    if proof is None:
        yield Problem("unproved", "proofs", "is not proved: no run is on record", hint=command)
        return
    if proof.digest != digest(mapping):
        text = "is not proved: it has changed since the run on record"
        yield Problem("unproved", "proofs", text, hint=command)
        return
    for name, case in mapping.proofs.items():
        found = proof.cases.get(name)
        if found is None:
            yield Problem("unproved", f"proofs.{name}", "no run is on record", hint=command)
        elif found.floors > MOST_FLOORS and not case.deviates:
            text = f"the outputs differ by {found.floors:,.0f} noise floors"
            yield Problem("unproved", f"proofs.{name}", text)
        elif found.own is False:
            text = "keras_hub's own converter gives other values"
            yield Problem("unproved", f"proofs.{name}", text)
    if all(case.deviates for case in mapping.proofs.values()):
        text = "is not proved: no small models must give equal outputs"
        yield Problem("unproved", "proofs", text)
