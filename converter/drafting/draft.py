"""From two manifests to a proposed mapping: candidates, evidence, assignment, rules, and the rest.

Nothing is converted here and nothing is proved: what comes out is a proposal, with what speaks for
each of its rows and with everything that is left over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field, replace

from converter.drafting.assignment import Assignment, Pair, assign, choose_units
from converter.drafting.candidates import Candidate, Fitter, Usual
from converter.drafting.certainty import Certainty, certainty_of
from converter.drafting.evidence import Evidence, Orders, weigh
from converter.drafting.flow import Flow
from converter.drafting.hints import Hint, heeded
from converter.drafting.induction import induce
from converter.drafting.keras_flow import keras_flow
from converter.drafting.numbering import Row
from converter.drafting.torch_flow import Trace, torch_flow
from converter.drafting.units import Units, find_units
from converter.drafting.values import Fingerprints, share_values
from converter.drafting.writing import Heading, Written, compose, spell
from converter.errors import MappingError, UsageError
from converter.formats.base import Checkpoint
from converter.graph.nodes import Graph
from converter.mapping.by_kind import pair_by_kind
from converter.mapping.catalogue import load_catalogue
from converter.mapping.document import parse_mapping
from converter.mapping.expansion import expand
from converter.mapping.rules import Mapping

# The order of tensors in these is alphabetical or that of their sizes, never that of the model.
_UNORDERED = frozenset({"safetensors", "safetensors_index"})
_NEAREST = 3  # names shown for each leftover


@dataclass(frozen=True, slots=True)
class DraftedRule:
    """One row of a draft and what speaks for it.

    Attributes:
        kind: Layer kind.
        keras: Left column.
        torch: Right column.
        count: Number of pairs that it stands for.
        certainty: How sure it is, by its least certain pair.
        why: What speaks for it, a few words.
        rivals: Modules that the least certain pair could have instead.
    """

    kind: str
    keras: str
    torch: str
    count: int
    certainty: Certainty
    why: str
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leftover:
    """A layer without a module, or a tensor that no layer takes.

    Attributes:
        name: The layer's path, or the tensor's name.
        shapes: What it holds.
        nearest: Layers, or modules, that are left over on the other side, the likest name first.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A proposed mapping.

    Attributes:
        rows: The rows of the mapping.
        heading: What stands around them in the file.
        rules: The rows as written, with their evidence.
        pairs: What is paired.
        layers: Keras layers without a module.
        tensors: PyTorch tensors that nothing takes.
        candidates: How many pairings kinds and shapes allow.
    """

    rows: tuple[Row, ...] = field(repr=False)
    heading: Heading = field(repr=False)
    rules: tuple[DraftedRule, ...]
    pairs: tuple[Pair, ...] = field(repr=False)
    layers: tuple[Leftover, ...] = ()
    tensors: tuple[Leftover, ...] = ()
    candidates: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether every tensor of both sides is accounted for."""
        return not self.layers and not self.tensors

    @property
    def text(self) -> str:
        """The mapping file."""
        notes = [_note(rule) for rule in self.rules]
        return compose(self.rows, spell(self.rows), self.heading, notes)

    @property
    def mapping(self) -> Mapping:
        """The mapping file, read."""
        return parse_mapping(self.text)

    def named(self, name: str) -> Draft:
        """Return the draft under another name."""
        return replace(self, heading=replace(self.heading, name=name))

    def commented(self, lines: Sequence[str]) -> Draft:
        """Return the draft with other comments at the top of its file."""
        return replace(self, heading=replace(self.heading, comments=tuple(lines)))

    def reading(self, inputs: Sequence[tuple[str, str]]) -> Draft:
        """Return the draft whose file says in which order of axes the inputs are taken."""
        return replace(self, heading=replace(self.heading, inputs=tuple(inputs)))

    def certain(self, certainty: Certainty, why: str) -> Draft:
        """Return the draft with one certainty for all rules."""
        rules = tuple(replace(rule, certainty=certainty, why=why, rivals=()) for rule in self.rules)
        return replace(self, rules=rules)


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
    """

    heading: Heading
    hints: Sequence[Hint] = ()
    compare_values: bool = False
    classes: Dict[str, str] = field(default_factory=dict)
    graph: Graph | None = None
    trace: Trace | None = None


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
        kinds = catalogue.kinds.values()
        usual = {
            one.layer: Usual(one.kind, one.sizes)
            for one in pair_by_kind(first, catalogue, {}).pairings
        }
        self._wishes = wishes
        self._units = find_units(first, second, kinds, is_ordered=torch.format not in _UNORDERED)
        self._chosen, found = choose_units(self._units, Fitter(kinds, usual, wishes.classes))
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
        graph, trace = self._wishes.graph, self._wishes.trace
        if trace is None:
            return None
        paths = [unit.path for unit in self._chosen]
        keras = Flow({}) if graph is None else keras_flow(graph, paths)
        return keras, torch_flow(trace, {one.taken for one in candidates})

    def _composed(self, evidence: Evidence, recognised: frozenset[str]) -> Draft:
        assignment = assign(self._chosen, evidence, self._units)
        if not assignment.pairs:
            heading = self._wishes.heading
            raise UsageError(
                f"cannot draft a mapping: no layer of '{heading.keras}' can be a module of "
                f"'{heading.torch}'",
                facts=[("because", "no layer kind pairs their shapes")],
            )
        return _Composer(self._units, evidence, assignment, self._wishes, recognised).draft()


def _is_kept(one: Candidate, pinned: Dict[str, str]) -> bool:
    wanted = pinned.get(one.unit.path)
    if wanted is not None:
        return one.place.module == wanted
    return one.place.module not in set(pinned.values())


class _Composer:
    """Rules, their evidence and the leftovers of one assignment."""

    def __init__(
        self,
        units: Units,
        evidence: Evidence,
        assignment: Assignment,
        wishes: Wishes,
        recognised: frozenset[str],
    ) -> None:
        self._units = units
        self._evidence = evidence
        self._assignment = assignment
        self._wishes = wishes
        self._certainty = {
            pair.candidate.unit.path: certainty_of(
                pair, evidence, is_recognised=pair.candidate.unit.path in recognised
            )
            for pair in assignment.pairs
        }

    def draft(self) -> Draft:
        rows = induce(self._assignment.pairs, self._faulty)
        written = spell(rows)
        rules = tuple(
            self._rule(row, columns) for row, columns in zip(rows, written.rows, strict=True)
        )
        layers, tensors = self._leftovers()
        heading = replace(self._wishes.heading, leftovers=_told(layers, tensors))
        return Draft(
            tuple(rows),
            heading,
            rules,
            self._assignment.pairs,
            layers,
            tensors,
            len(self._evidence.candidates),
        )

    def _faulty(self, rows: Sequence[Row]) -> set[int]:
        """Return the positions of rows that do not stand for their pairs alone."""
        mapping = self._read(rows, spell(rows))
        if isinstance(mapping, set):
            return mapping
        keras, torch = self._units.manifests
        found = expand(mapping, load_catalogue(), keras=keras, torch=torch)
        wanted = {(index, *pair) for index, row in enumerate(rows) for pair in row.pairs}
        made = {(one.rule.index, one.layer, one.module) for one in found.pairings}
        bad = {index for index, *_ in wanted ^ made}
        bad |= {one.rule.index for one in found.unfilled}
        return bad | _rules_named(problem.rule for problem in found.problems)

    def _read(self, rows: Sequence[Row], written: Written) -> Mapping | set[int]:
        """Return the rows as a mapping, or the positions of those that cannot be read."""
        heading = Heading("draft", "Keras", "PyTorch")
        try:
            return parse_mapping(compose(rows, written, heading, [""] * len(rows)))
        except MappingError as error:
            places = _rules_named(problem.where for problem in getattr(error, "problems", ()))
            if not places:
                raise
            return places

    def _rule(self, row: Row, columns: tuple[str, str, str]) -> DraftedRule:
        pairs = {
            (pair.candidate.unit.layer.path, pair.candidate.place.module): pair
            for pair in self._assignment.pairs
        }
        found = [pairs[names] for names in row.pairs]
        worst = max(found, key=lambda pair: self._certainty[pair.candidate.unit.path][0])
        certainty, why = self._certainty[worst.candidate.unit.path]
        rivals = worst.rivals if certainty is Certainty.OPEN else ()
        return DraftedRule(*columns, len(found), certainty, why, rivals)

    def _leftovers(self) -> tuple[tuple[Leftover, ...], tuple[Leftover, ...]]:
        from converter.drafting.names import Likeness

        torch = self._units.manifests[1]
        units = self._assignment.units
        dropped = self._derived()
        names = [name for name in self._assignment.names if name not in dropped]
        modules = list(dict.fromkeys(module_of(name) for name in names))
        paths = [unit.path for unit in units]
        alike = Likeness(paths, modules)

        def nearest(key: str, others: Sequence[str], *, turned: bool) -> tuple[str, ...]:
            scores = {one: alike(one, key) if turned else alike(key, one) for one in others}
            return tuple(sorted(others, key=lambda one: -scores[one])[:_NEAREST])

        return (
            tuple(
                Leftover(
                    unit.path,
                    tuple(spec.shape for spec in unit.tensors.values()),
                    nearest(unit.path, modules, turned=False),
                )
                for unit in units
            ),
            tuple(
                Leftover(name, (torch[name].shape,), nearest(module_of(name), paths, turned=True))
                for name in names
            ),
        )

    def _derived(self) -> set[str]:
        """Return PyTorch tensors that a kind makes at the target (``num_batches_tracked``)."""
        found = set()
        for pair in self._assignment.pairs:
            one = pair.candidate
            for slot in one.kind.slots:
                if slot.operation == "derived" or slot.is_computed:
                    found |= {
                        one.place.tensors[name].name
                        for name in slot.torch
                        if name in one.place.tensors
                    }
        return found


def module_of(name: str) -> str:
    """Return the module that a PyTorch tensor lies in; a tensor of the root is its own.

    Examples:
        >>> module_of("net.11.weight"), module_of("token")
        ('net.11', 'token')
    """
    return name.rpartition(".")[0] or name


def _rules_named(texts: Iterable[str]) -> set[int]:
    """Return the positions in texts that begin with ``rules[7]``."""
    return {
        int(text.partition("[")[2].partition("]")[0]) for text in texts if text.startswith("rules[")
    }


def _note(rule: DraftedRule) -> str:
    text = f"{rule.certainty.label}: {rule.why}"
    if rule.rivals:
        shown = ", ".join(rule.rivals[:3])
        text += f"; or {shown}" + (
            f" and {len(rule.rivals) - 3} more" if len(rule.rivals) > 3 else ""
        )
    return text


def _told(layers: Sequence[Leftover], tensors: Sequence[Leftover]) -> list[str]:
    """Return what is left over as comments of the file."""
    if not layers and not tensors:
        return []
    lines = ["Left over, for a person: a rule, or a drop with its reason."]
    lines += [f"  Keras    {one.name}  {list(one.shapes)}" for one in layers]
    lines += [f"  PyTorch  {one.name}  {list(one.shapes)}" for one in tensors]
    return lines
