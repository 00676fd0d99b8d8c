"""From two manifests to a proposed mapping: candidates, evidence, assignment, rules, and the rest.

Nothing is converted here and nothing is proved: what comes out is a proposal, with what speaks for
each of its rows and with everything that is left over.
"""

from __future__ import annotations

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from converter.drafting.assignment import Assignment, Pair, assign, choose_units
from converter.drafting.candidates import Candidate, Fitter, Usual
from converter.drafting.certainty import Certainty, certainty_of
from converter.drafting.evidence import Evidence, weigh
from converter.drafting.hints import Hint, heeded
from converter.drafting.induction import induce
from converter.drafting.numbering import Row
from converter.drafting.units import Units, find_units
from converter.drafting.values import Fingerprints, share_values
from converter.drafting.writing import Heading, Written, compose, spell
from converter.errors import MappingError
from converter.formats.base import Checkpoint
from converter.mapping.by_kind import pair_by_kind
from converter.mapping.catalogue import load_catalogue
from converter.mapping.document import parse_mapping
from converter.mapping.expansion import expand
from converter.mapping.rules import Mapping

# The order of tensors in these is alphabetical or that of their sizes, never that of the model.
_UNORDERED = frozenset({"safetensors", "safetensors_index"})


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
        nearest: The names on the other side that are most like it and are left over too.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A proposed mapping.

    Attributes:
        text: The mapping file.
        mapping: The same, read.
        rules: Its rows with their evidence.
        pairs: What is paired.
        layers: Keras layers without a module.
        tensors: PyTorch tensors that nothing takes.
        candidates: How many pairings kinds and shapes allow.
    """

    text: str
    mapping: Mapping
    rules: tuple[DraftedRule, ...]
    pairs: tuple[Pair, ...] = field(repr=False)
    layers: tuple[Leftover, ...] = ()
    tensors: tuple[Leftover, ...] = ()
    candidates: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether every tensor of both sides is accounted for."""
        return not self.layers and not self.tensors


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a draft may be told.

    Attributes:
        heading: What stands around the rows.
        hints: What belongs together.
        orders: Layer path and module name to their place in the order of execution.
        pinned: Keras path to the PyTorch module that experiments found for it.
        compare_values: Whether both sides may hold the same weights.
    """

    heading: Heading
    hints: Sequence[Hint] = ()
    orders: tuple[Dict[str, float], Dict[str, float]] | None = None
    pinned: Dict[str, str] = field(default_factory=dict)
    compare_values: bool = False


def make_draft(keras: Checkpoint, torch: Checkpoint, wishes: Wishes) -> Draft:
    """Propose a mapping.

    Args:
        keras: The Keras side.
        torch: The PyTorch side.
        wishes: Everything else.

    Raises:
        UsageError: If a hint cannot be followed.
        MissingDependencyError: If SciPy is not installed.
    """
    catalogue = load_catalogue()
    first = keras.manifest.of_family("keras")
    second = torch.manifest.of_family("torch")
    kinds = catalogue.kinds.values()
    units = find_units(first, second, kinds, is_ordered=torch.format not in _UNORDERED)
    usual = {
        one.layer: Usual(one.kind, one.sizes) for one in pair_by_kind(first, catalogue, {}).pairings
    }
    chosen, found = choose_units(units, Fitter(kinds, usual))
    candidates = [one for one in heeded(found, wishes.hints) if _is_kept(one, wishes.pinned)]
    evidence = weigh(candidates, is_ordered=units.is_ordered, orders=wishes.orders)
    if wishes.compare_values:
        shared = share_values(candidates, Fingerprints(keras), Fingerprints(torch))
        evidence = replace(evidence, values=shared)
    assignment = assign(chosen, evidence, units)
    return _Composer(units, evidence, assignment, wishes).draft()


def _is_kept(one: Candidate, pinned: Dict[str, str]) -> bool:
    wanted = pinned.get(one.unit.path)
    if wanted is not None:
        return one.place.module == wanted
    return one.place.module not in set(pinned.values())


class _Composer:
    """Rules, their evidence and the leftovers of one assignment."""

    def __init__(
        self, units: Units, evidence: Evidence, assignment: Assignment, wishes: Wishes
    ) -> None:
        self._units = units
        self._evidence = evidence
        self._assignment = assignment
        self._wishes = wishes
        self._certainty = {
            pair.candidate.unit.path: certainty_of(pair, evidence) for pair in assignment.pairs
        }

    def draft(self) -> Draft:
        rows = induce(self._assignment.pairs, self._faulty)
        written = spell(rows)
        rules = tuple(
            self._rule(row, columns) for row, columns in zip(rows, written.rows, strict=True)
        )
        layers, tensors = self._leftovers()
        heading = replace(self._wishes.heading, leftovers=_told(layers, tensors))
        text = compose(rows, written, heading, [_note(rule) for rule in rules])
        return Draft(
            text,
            parse_mapping(text),
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
        return bad | {one.rule.index for one in found.unfilled}

    def _read(self, rows: Sequence[Row], written: Written) -> Mapping | set[int]:
        """Return the rows as a mapping, or the positions of those that cannot be read."""
        heading = Heading("draft", "Keras", "PyTorch")
        try:
            return parse_mapping(compose(rows, written, heading, [""] * len(rows)))
        except MappingError as error:
            places = {
                int(problem.where.partition("[")[2].partition("]")[0])
                for problem in getattr(error, "problems", ())
                if problem.where.startswith("rules[")
            }
            if not places:
                raise
            return places

    def _rule(self, row: Row, columns: tuple[str, str, str]) -> DraftedRule:
        pairs = {pair.candidate.unit.path: pair for pair in self._assignment.pairs}
        paths = [path for path, _ in row.pairs]
        worst = max(paths, key=lambda path: self._certainty[path][0])
        certainty, why = self._certainty[worst]
        rivals = pairs[worst].rivals if certainty is Certainty.OPEN else ()
        return DraftedRule(*columns, len(paths), certainty, why, rivals)

    def _leftovers(self) -> tuple[tuple[Leftover, ...], tuple[Leftover, ...]]:
        from converter.drafting.names import Likeness

        torch = self._units.manifests[1]
        units = self._assignment.units
        dropped = self._derived()
        names = [name for name in self._assignment.names if name not in dropped]
        alike = Likeness([unit.path for unit in units], names)

        def near(key: str, others: Sequence[str], *, turned: bool) -> tuple[str, ...]:
            scored = [
                (alike(other, key) if turned else alike(key, other), other) for other in others
            ]
            return tuple(name for score, name in sorted(scored, reverse=True)[:3] if score > 0)

        paths = [unit.path for unit in units]
        return (
            tuple(
                Leftover(
                    unit.path,
                    tuple(spec.shape for spec in unit.tensors.values()),
                    near(unit.path, names, turned=False),
                )
                for unit in units
            ),
            tuple(
                Leftover(name, (torch[name].shape,), near(name, paths, turned=True))
                for name in names
            ),
        )

    def _derived(self) -> set[str]:
        """Return PyTorch tensors that a kind makes at the target (``num_batches_tracked``)."""
        found = set()
        for pair in self._assignment.pairs:
            one = pair.candidate
            for slot in one.kind.slots:
                if slot.operation == "derived":
                    found |= {
                        one.place.tensors[name].name
                        for name in slot.torch
                        if name in one.place.tensors
                    }
        return found


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
