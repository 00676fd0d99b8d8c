"""From two manifests to a proposed mapping: candidates, evidence, assignment, rules, and the rest.

Nothing is converted here and nothing is proved: what comes out is a proposal, with what speaks for
each of its rows and with everything that is left over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from functools import cached_property

from converter.drafting.assignment import assign, choose_units
from converter.drafting.candidates import Candidate, Fitter, Usual
from converter.drafting.composing import Composer
from converter.drafting.draft import Draft
from converter.drafting.evidence import Evidence, Orders, weigh
from converter.drafting.flow import Flow
from converter.drafting.fusions import find_fusions
from converter.drafting.hints import Hint, heeded
from converter.drafting.keras_flow import keras_flow
from converter.drafting.keras_run import flow_of_units
from converter.drafting.recording import Trace
from converter.drafting.splitting import with_splits
from converter.drafting.torch_flow import torch_flow
from converter.drafting.units import find_units
from converter.drafting.values import Fingerprints, share_values
from converter.drafting.writing import Heading
from converter.errors import UsageError
from converter.formats.base import Checkpoint
from converter.graph.nodes import Graph
from converter.mapping.by_kind import pair_by_kind
from converter.mapping.catalogue import load_catalogue

# The order of tensors in these is alphabetical or that of their sizes, never that of the model.
_UNORDERED = frozenset({"safetensors", "safetensors_index"})


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a draft may be told.

    Attributes:
        heading: What stands around the rows.
        hints: What belongs together.
        compare_values: Whether both sides may hold the same weights.
        classes: PyTorch module name to the name of its class, where live modules tell.
        graph: The Keras graph, where its configuration tells.
        trace: What the PyTorch module does with its tensors, where it could be found out.
        trace_keras: Finds out the same of the Keras model, where that is live.
    """

    heading: Heading
    hints: Sequence[Hint] = ()
    compare_values: bool = False
    classes: Dict[str, str] = field(default_factory=dict)
    graph: Graph | None = None
    trace: Trace | None = None
    trace_keras: Callable[[], Trace | None] = lambda: None


class Drafter:
    """Makes drafts for two checkpoints; what does not change between two of them is kept.

    Args:
        keras: The Keras side.
        torch: The PyTorch side.
        wishes: What the drafts are told.

    Attributes:
        evidence: Of all candidates, without what experiments found.

    Raises:
        UsageError: If a hint cannot be followed.
    """

    def __init__(self, keras: Checkpoint, torch: Checkpoint, wishes: Wishes) -> None:
        catalogue = load_catalogue()
        first, second = keras.manifest.of_family("keras"), torch.manifest.of_family("torch")
        kinds = tuple(catalogue.kinds.values())
        usual = {
            one.layer: Usual(one.kind, one.sizes)
            for one in pair_by_kind(first, catalogue, {}).pairings
        }
        self._wishes = wishes
        known, is_ordered = catalogue.classes, torch.format not in _UNORDERED
        units = find_units(first, second, kinds, is_ordered=is_ordered)
        self._units = with_splits(units, kinds, known)
        fitter = Fitter(kinds, usual, known, wishes.classes)
        fusions = find_fusions(self._units, kinds)
        self._chosen, found = choose_units(self._units, fitter, fusions)
        self._candidates = heeded(found, wishes.hints)
        self.evidence = self._weighed(self._candidates, None)
        if wishes.compare_values:
            self.evidence.values = share_values(
                self._candidates, Fingerprints(keras), Fingerprints(torch)
            )

    def draft(self) -> Draft:
        """Return the draft that the evidence gives.

        Raises:
            MissingDependencyError: If SciPy is not installed.
        """
        return self._composed(self.evidence, frozenset())

    def redraft(self, pinned: Dict[str, str], orders: Orders) -> Draft:
        """Return the draft that follows what experiments found.

        Args:
            pinned: Keras path to the PyTorch module that got the layer's own input.
            orders: Layer path and module name to their place in the order of execution.
        """
        kept = [one for one in self._candidates if _is_kept(one, pinned)]
        return self._composed(self._weighed(kept, orders), frozenset(pinned))

    def _weighed(self, candidates: Sequence[Candidate], orders: Orders | None) -> Evidence:
        return weigh(
            candidates,
            is_ordered=self._units.is_ordered,
            orders=orders,
            flows=self._flows(candidates),
        )

    def _flows(self, candidates: Sequence[Candidate]) -> tuple[Flow, Flow] | None:
        trace = self._wishes.trace
        if trace is None:
            return None
        return self._keras_flow, torch_flow(trace, {one.taken for one in candidates})

    @cached_property
    def _keras_flow(self) -> Flow:
        """What the configuration says, or what a run shows where layers are made of layers."""
        graph, paths = self._wishes.graph, [unit.path for unit in self._chosen]
        said = Flow({}) if graph is None else keras_flow(graph, paths)
        if all(path in said.before for path in paths):
            return said
        shown = self._wishes.trace_keras()
        return said if shown is None else flow_of_units(shown, self._chosen)

    def _composed(self, evidence: Evidence, recognised: frozenset[str]) -> Draft:
        assignment = assign(self._chosen, evidence, self._units)
        if not assignment.pairs:
            heading = self._wishes.heading
            raise UsageError(
                f"cannot draft a mapping: no layer of '{heading.keras}' can be a module of "
                f"'{heading.torch}'",
                facts=[("because", "no layer kind pairs their shapes")],
            )
        heading = self._wishes.heading
        graph = self._wishes.graph
        return Composer(self._units, evidence, assignment, heading, recognised, graph=graph).draft()


def _is_kept(one: Candidate, pinned: Dict[str, str]) -> bool:
    wanted = pinned.get(one.unit.path)
    if wanted is not None:
        return one.place.module == wanted
    return one.place.module not in set(pinned.values())
