"""From an assignment to a draft: rules that stand for its pairs alone, and what is left over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from converter.drafting.absorbing import absorbing
from converter.drafting.assignment import Assignment
from converter.drafting.certainty import Certainty, certainty_of
from converter.drafting.draft import Draft, DraftedRule, Leftover
from converter.drafting.evidence import Evidence
from converter.drafting.induction import induce
from converter.drafting.names import Likeness
from converter.drafting.numbering import Row
from converter.drafting.units import Units
from converter.drafting.writing import Heading, Written, compose, spell
from converter.errors import MappingError
from converter.graph.nodes import Graph
from converter.mapping.catalogue import load_catalogue
from converter.mapping.document import parse_mapping
from converter.mapping.expansion import expand
from converter.mapping.rules import Mapping

_NEAREST = 3  # names shown for each leftover


class Composer:
    """Rules, their evidence and the leftovers of one assignment.

    Args:
        units: Both sides.
        evidence: Of all candidates.
        assignment: What is paired.
        heading: What stands around the rows in the file.
        recognised: Keras paths that experiments have recognised.
        graph: The Keras graph, where its configuration tells.
    """

    def __init__(
        self,
        units: Units,
        evidence: Evidence,
        assignment: Assignment,
        heading: Heading,
        recognised: frozenset[str],
        *,
        graph: Graph | None = None,
    ) -> None:
        self._units = units
        self._evidence = evidence
        self._assignment = assignment
        self._heading = heading
        kinds = load_catalogue().kinds.values()
        self._absorbing = absorbing(assignment.pairs, graph, kinds)
        self._certainty = {
            pair.candidate.unit.path: certainty_of(
                pair, evidence, is_recognised=pair.candidate.unit.path in recognised
            )
            for pair in assignment.pairs
        }

    def draft(self) -> Draft:
        """Return the draft."""
        rows = self._absorbing.told(induce(self._absorbing.pairs, self._faulty))
        written = spell(rows)
        rules = tuple(
            self._rule(row, columns) for row, columns in zip(rows, written.rows, strict=True)
        )
        layers, tensors = self._leftovers()
        heading = replace(self._heading, leftovers=_told(layers, tensors))
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
        rows = self._absorbing.told(rows)
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
                    tuple(spec.name for spec in unit.tensors.values()),
                    nearest(unit.path, modules, turned=False),
                )
                for unit in units
            ),
            tuple(
                Leftover(
                    name,
                    (torch[name].shape,),
                    (name,),
                    nearest(module_of(name), paths, turned=True),
                )
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


def _told(layers: Sequence[Leftover], tensors: Sequence[Leftover]) -> list[str]:
    """Return what is left over as comments of the file."""
    if not layers and not tensors:
        return []
    lines = ["Left over, for a person: a rule, or a drop with its reason."]
    lines += [f"  Keras    {one.name}  {list(one.shapes)}" for one in layers]
    lines += [f"  PyTorch  {one.name}  {list(one.shapes)}" for one in tensors]
    return lines
