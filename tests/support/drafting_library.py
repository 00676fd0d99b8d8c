"""Pairs of the mapping library with their mappings hidden: which tensors belong together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import oracles
from support.drafting_bench import Measured, scrambled

import converter
from converter.drafting.propose import Proposal
from converter.formats.base import Checkpoint
from converter.live.opening import open_live
from converter.live.sources import build_source
from converter.mapping import library
from converter.mapping.catalogue import load_catalogue
from converter.mapping.claims import claimed
from converter.mapping.expansion import expand
from converter.mapping.rules import Mapping
from converter.proving.prove import meet_requirements

Together = dict[str, frozenset[str]]


@dataclass(frozen=True)
class Drafted:
    """A draft of a pair of the library.

    Attributes:
        measured: How much of it is right.
        rows: Rules of the draft.
        own_rows: Rules of the library's mapping that pair something here.
        wrong: Keras layers that are wrong.
        why_not: Why it is not proved.
        seconds: How long drafting took, without building the models.
        runs: How often PyTorch was run to find out who is who; 0 where the evidence was enough.
    """

    measured: Measured
    rows: int
    own_rows: int
    wrong: tuple[str, ...]
    why_not: str
    seconds: float
    runs: int


def together(mapping: Mapping, keras: Checkpoint, torch: Checkpoint) -> tuple[Together, int]:
    """Return Keras tensor to the PyTorch tensors it goes to, and the number of rules used."""
    first, second = keras.manifest.of_family("keras"), torch.manifest.of_family("torch")
    found = expand(mapping, load_catalogue(), keras=first, torch=second)
    pairs: dict[str, set[str]] = {}
    rules = set()
    for one in found.pairings:
        ours = claimed(one, first, "keras")
        theirs = claimed(one, second, "torch", found.torch_names)
        for here, there in zip(ours, theirs, strict=True):
            names = {second.ties.get(name, name) for name in there if name is not None}
            for name in here:
                if name is not None and names:
                    pairs.setdefault(name, set()).update(names)
                    rules.add(one.rule.index)
    return {name: frozenset(names) for name, names in pairs.items()}, len(rules)


def draft_case(name: str, case: str, *, named: bool, run: bool) -> Drafted:
    """Draft a pair anew and compare it with what the library's mapping says."""
    import keras
    import torch

    mapping = library.get(name)
    oracles.prepare(mapping.proofs[case])
    keras.backend.clear_session()
    torch.manual_seed(0)
    model: Any = build_source(mapping.proofs[case].keras, family="keras")
    module: Any = build_source(mapping.proofs[case].torch, family="torch")
    if not mapping.proofs[case].deviates:  # as in a proof: such a twin may not run with them
        meet_requirements(mapping, model, module)
    first, second = open_live(model), open_live(module)
    assert first is not None
    assert second is not None
    truth, own_rows = together(mapping, first, second)
    if not named:
        before = list(second.manifest.tensors)
        module, _ = scrambled(module)
        second = open_live(module)
        assert second is not None
        new = dict(zip(before, second.manifest.tensors, strict=True))
        truth = {key: frozenset(map(new.__getitem__, names)) for key, names in truth.items()}
    began = time.perf_counter()
    found = converter.draft(model, module, prove=run)
    seconds = time.perf_counter() - began
    said, _ = together(found.draft.mapping, first, second)
    layers: dict[str, bool] = {}
    for tensor, names in truth.items():
        layer = tensor.rpartition("/")[0]
        layers[layer] = layers.get(layer, True) and said.get(tensor) == names
    measured = Measured(sum(layers.values()), len(layers), found.is_proved)
    wrong = tuple(layer for layer, is_right in layers.items() if not is_right)
    why_not = _why_not(found)
    rows = len(found.draft.rules)
    return Drafted(measured, rows, own_rows, wrong, why_not, round(seconds, 1), found.proof.runs)


def _why_not(found: Proposal) -> str:
    """Return a few words on why a draft is not proved."""
    if found.is_proved:
        return ""
    if not found.draft.is_complete:
        left = [one.name for one in (*found.draft.layers, *found.draft.tensors)]
        return f"{len(left)} left over, such as {left[0]}"
    report = found.proof.report
    if report is None or found.proof.why_not:
        return found.proof.why_not
    rows = [f"{one.name} {one.verdict}" for one in report.rows if one.verdict != "pass"]
    blind = [one.what for one in report.controls if not (one.is_detected or one.note)]
    return ", ".join([*rows, *(f"not seen: {one}" for one in blind)])
