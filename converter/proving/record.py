"""Put what a run showed on record, beside the mapping file.

A record is of one mapping as it is: what an earlier content of the file was proved with goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from converter.mapping.proofs import CaseProof, Proof, digest, read_proof, write_proof
from converter.mapping.rules import Mapping as ArchitectureMapping
from converter.proving.prove import prove_case, prove_variant


def prove(mapping: ArchitectureMapping, progress: Callable[[str], None]) -> Proof:
    """Run everything that a mapping file names and record what was seen.

    Args:
        mapping: A mapping with a file.
        progress: Called with the name of each variant before it is built.

    Raises:
        ProofError: If a run shows that the mapping is wrong; nothing of that run is recorded.
        PlanError: If two models do not fit together.
        UsageError: If a model cannot be built or run.
    """
    cases, variants = {}, {}
    for name in mapping.proofs:
        progress(name)
        cases[name] = prove_case(mapping, name)
    for name in mapping.variants:
        progress(name)
        variants[name] = prove_variant(mapping, name)
    return add(mapping, cases=cases, variants=variants)


def add(
    mapping: ArchitectureMapping,
    *,
    cases: Mapping[str, CaseProof] | None = None,
    variants: Mapping[str, int] | None = None,
) -> Proof:
    """Add to the record of a mapping and return the whole; what the file no longer names goes."""
    known = read_proof(mapping)
    if known is None or known.digest != digest(mapping):
        known = Proof(digest(mapping))
    all_cases = {**known.cases, **(cases or {})}
    all_variants = {**known.variants, **(variants or {})}
    proof = Proof(
        known.digest,
        {name: all_cases[name] for name in mapping.proofs if name in all_cases},
        {name: all_variants[name] for name in mapping.variants if name in all_variants},
    )
    write_proof(mapping, proof)
    return proof
