"""Prove a draft by the outputs of both models, and let the models settle what names left open.

Random weights go through the drafted mapping, both models run on the same inputs, and the outputs
are judged by the noise floor (see :mod:`converter.validation`). Only a draft whose outputs agree
is proved; whatever happens, both models get their own weights back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from converter.drafting.activations import Recorded, record_keras
from converter.drafting.calling import Call, calls_to_try, find_outputs, unmasked
from converter.drafting.candidates import Candidate
from converter.drafting.draft import Draft
from converter.drafting.evidence import Evidence
from converter.drafting.experiment import Aligned, Aligner, write_tensors
from converter.drafting.leftovers import constants, values_of_others
from converter.drafting.random_values import random_values
from converter.errors import ConverterError
from converter.execution.executor import to_arrays
from converter.live.keras_model import KerasModelCheckpoint
from converter.live.torch_module import TorchModuleCheckpoint
from converter.mapping.rules import Mapping as ArchitectureMapping
from converter.mapping.rules import ModelValue
from converter.planning.matching import make_request
from converter.planning.plan import Plan
from converter.planning.planner import make_plan
from converter.planning.sides import Side
from converter.tensors.dtype import Array
from converter.validation.inputs import Input, make_inputs
from converter.validation.keras_side import LiveKeras, facts_of
from converter.validation.report import Report
from converter.validation.running import run_keras, run_torch
from converter.validation.validate import Options, compare_sides

BUDGET = 24  # runs of the PyTorch side, at most

# Axes of an input without its batch, by rank.
_AXES = {2: "n c", 3: "h w c", 4: "d h w c"}

# Given what is pinned, and the order of execution, makes a draft anew.
Redraft = Callable[[Mapping[str, str], tuple[Mapping[str, float], Mapping[str, float]]], Draft]


@dataclass(frozen=True, slots=True)
class Proof:
    """What running both models showed.

    Attributes:
        report: The comparison of the outputs of the last draft, or ``None`` where it could not be
            made.
        runs: How often the PyTorch side was run to find out who is who.
        budget: How often it might have been.
        why_not: Why nothing was compared, or where the run could recognise no further module; empty
            otherwise.
        call: How PyTorch was called.
        inputs: What a mapping file says of the inputs; empty where that is the usual.
        outputs: What it says of the outputs, likewise.
        kept: Buffers among what was left over that had their own values.
    """

    report: Report | None
    runs: int = 0
    why_not: str = ""
    call: Call = field(default_factory=Call)
    inputs: tuple[ModelValue, ...] = ()
    outputs: tuple[ModelValue, ...] = ()
    kept: frozenset[str] = frozenset()
    budget: int = BUDGET

    @property
    def is_proved(self) -> bool:
        """Whether the outputs agree; a warning is not enough, and nor are inputs too weak.

        What was exchanged on purpose and holds equal values (two biases that Keras does not have
        are both zero) could not have been seen, and is no weakness.
        """
        return (
            self.report is not None
            and self.report.compared > 0
            and all(row.verdict == "pass" for row in self.report.rows)
            and all(level.status in ("pass", "not run") for level in self.report.levels)
            and all(one.is_detected or one.note for one in self.report.controls)
        )


@dataclass(slots=True)
class Bench:
    """Both models on the bench: filled with random weights, and given back as they were.

    Attributes:
        model: A live Keras model.
        module: A live PyTorch module.
        seed: Of weights and inputs.
        budget: Runs of the PyTorch side, at most.
        inputs: What both sides take, where a run without values has shown in which sizes.
    """

    model: Any
    module: Any
    seed: int = 0
    budget: int = BUDGET
    inputs: tuple[Input, ...] = ()
    _runs: int = 0
    _call: Call = field(default_factory=Call)
    _outputs: tuple[ModelValue, ...] = ()
    _kept: frozenset[str] = frozenset()

    def prove(self, draft: Draft, evidence: Evidence, redraft: Redraft) -> tuple[Draft, Proof]:
        """Prove a draft; where it fails, find out who is who and prove the better one.

        Args:
            draft: The draft that names, shapes and order gave.
            evidence: Of its candidates.
            redraft: Makes a draft with what was found out.
        """
        with self._borrowed():
            why = ""
            for call in calls_to_try(facts_of(self.model), self.module):
                self._call = call
                try:
                    self._outputs = self._found_outputs()
                    left = [one.name for one in draft.tensors]
                    self._kept = constants(self.module, left, self._given(self._arrays()))
                    proof = self._compared(draft)
                    if not proof.is_proved:
                        draft, proof = self._searched(draft, proof, evidence, redraft)
                    told = (self._told_inputs(), self._outputs)
                    proof = replace(proof, call=call, budget=self.budget)
                    return draft, replace(proof, inputs=told[0], outputs=told[1])
                except ConverterError as error:
                    why = why or error.summary
            return draft, Proof(None, self._runs, why, budget=self.budget)

    def _found_outputs(self) -> tuple[ModelValue, ...]:
        """Run both sides once, whatever their weights, and tell the outputs by their shapes."""
        arrays = self._arrays()
        expected = run_keras(self.model, arrays)
        return find_outputs(expected, run_torch(self.module, *self._given(arrays)))

    def _arrays(self) -> dict[str, Array]:
        inputs = unmasked(facts_of(self.model).inputs)
        if len(self.inputs) == len(inputs):
            # Names are those of the live model: one that was built from a file may have others.
            pairs = zip(inputs, self.inputs, strict=True)
            inputs = tuple(replace(one, shape=sized.shape) for one, sized in pairs)
        return make_inputs(inputs, seed=self.seed, batch=Options().batch)

    def _given(self, arrays: Mapping[str, Array]) -> tuple[list[Array], dict[str, Array]]:
        return self._call.arrays(arrays, facts_of(self.model), self.module)

    def _told_inputs(self) -> tuple[ModelValue, ...]:
        """Return the inputs as a mapping file says them, where they are not the usual."""
        call = self._call
        if not call.layouts:
            return call.inputs
        axes = {
            one.name: _unmoved(len(one.shape)) if one.name in call.layouts else None
            for one in facts_of(self.model).inputs
        }
        said = call.inputs or tuple(map(ModelValue, axes))
        return tuple(replace(one, axes=axes[one.keras]) for one in said)

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[None]:
        keras, torch = KerasModelCheckpoint(self.model), TorchModuleCheckpoint(self.module)
        ours = {name: keras.read(name) for name in keras.manifest.tensors}
        theirs = {name: torch.read(name).copy() for name in torch.manifest.tensors}
        try:
            yield
        finally:
            keras.load(ours)
            torch.load(theirs)

    def _compared(self, draft: Draft) -> Proof:
        """Compare the outputs under random weights that went through the draft.

        What is left over has random values of its own on either side, so that outputs can agree
        only where they do not depend on it; buffers that training does not change are kept.
        """
        keras, torch = KerasModelCheckpoint(self.model), TorchModuleCheckpoint(self.module)
        keras.load(random_values(keras.manifest, self.seed))
        plan = self._plan(draft.dropping(self._kept).mapping)
        left = [one.name for one in draft.tensors]
        others = values_of_others(self.module, left, self._kept, self.seed + 1)
        torch.load(to_arrays(plan, keras) | others)
        options = Options(
            seed=self.seed,
            inputs=self._call.inputs,
            outputs=self._outputs,
            layouts=self._call.layouts,
            explain=False,  # it takes minutes, and the next draft is tried in the meantime
        )
        report = compare_sides(
            LiveKeras(self.model), self.module, options=options, inputs=self._arrays(), plan=plan
        )
        return Proof(report, self._runs, kept=self._kept)

    def _plan(self, mapping: ArchitectureMapping) -> Plan:
        keras = Side("keras", KerasModelCheckpoint(self.model).manifest, label="Keras")
        torch = Side("torch", TorchModuleCheckpoint(self.module).manifest, label="PyTorch")
        return make_plan(make_request(keras, torch, mapping=mapping))

    def _searched(
        self, draft: Draft, proof: Proof, evidence: Evidence, redraft: Redraft
    ) -> tuple[Draft, Proof]:
        aligner, recorded = self._aligner(draft, evidence)
        first = draft, proof
        best = self._run(aligner, {})
        tried: set[tuple[str, str]] = set()
        forced: dict[str, str] = {}
        while True:
            draft = redraft(best.found, (recorded.order, best.order))
            proof = replace(self._compared(draft), runs=self._runs)
            if proof.is_proved:
                return draft, proof
            better = self._next(aligner, best, forced, tried)
            if better is None:
                if first[0].left_over <= draft.left_over:  # nothing speaks against it
                    draft, proof = first
                why = f"'{best.stopped_at}' gets what no layer gets" if best.stopped_at else ""
                return draft, replace(proof, runs=self._runs, why_not=why or proof.why_not)
            best, forced = better

    def _next(
        self,
        aligner: Aligner,
        best: Aligned,
        forced: dict[str, str],
        tried: set[tuple[str, str]],
    ) -> tuple[Aligned, dict[str, str]] | None:
        """Return the first other choice that gets at least as far, the latest choices first.

        What lies before the module where recognition stopped is to blame, so the nearest choice
        before it is.
        """
        for choice in reversed(best.choices):
            for other in choice.others:
                if self._runs >= self.budget:
                    return None
                if (choice.module, other) in tried:
                    continue
                tried.add((choice.module, other))
                wanted = {**forced, choice.module: other}
                found = self._run(aligner, wanted)
                further = len(found.found) > len(best.found)
                if further or (best.stopped_at is None and len(found.found) == len(best.found)):
                    return found, wanted
        return None

    def _run(self, aligner: Aligner, forced: Mapping[str, str]) -> Aligned:
        self._runs += 1
        return aligner.run(forced)

    def _aligner(self, draft: Draft, evidence: Evidence) -> tuple[Aligner, Recorded]:
        keras = KerasModelCheckpoint(self.model)
        torch = TorchModuleCheckpoint(self.module)
        values = random_values(keras.manifest, self.seed)
        keras.load(values)
        arrays = self._arrays()
        units = list({one.unit.path: one.unit for one in evidence.candidates}.values())
        recorded = record_keras(keras, units, arrays)
        given = self._given(arrays)
        if draft.is_complete:  # for what is no module of its own: bare parameters
            write_tensors(self.module, to_arrays(self._plan(draft.mapping), keras))
        candidates = _likeliest_first(draft, evidence)
        manifests = (keras.manifest, torch.manifest)
        return Aligner(candidates, recorded, values, manifests, self.module, given), recorded


def _unmoved(rank: int) -> str:
    """Return the pattern that leaves the axes of an input where they are.

    Examples:
        >>> _unmoved(3)
        'b h w c -> b h w c'
    """
    axes = f"b {_AXES.get(rank) or ' '.join(f'a{place}' for place in range(rank))}"
    return f"{axes} -> {axes}"


def _likeliest_first(draft: Draft, evidence: Evidence) -> Sequence[Candidate]:
    """Return all candidates, those of the draft first, then by their cost."""
    taken = {(pair.candidate.unit.path, pair.candidate.place.module) for pair in draft.pairs}
    costs = evidence.costs()
    order = sorted(
        range(len(costs)),
        key=lambda one: (
            (
                evidence.candidates[one].unit.path,
                evidence.candidates[one].place.module,
            )
            not in taken,
            float(costs[one]),
        ),
    )
    return [evidence.candidates[one] for one in order]
