"""The assignment as a whole: each layer to one module, no tensor taken twice, least cost in sum.

A layer made of layers is paired as a whole where a kind of the catalogue can do so, otherwise its
parts are. What an assignment shows of the two ways of naming goes into the next one, until
nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from converter._optional import require
from converter.drafting.candidates import Candidate, Fitter
from converter.drafting.evidence import Evidence
from converter.drafting.fusions import Fusion, without
from converter.drafting.learned import Learned
from converter.drafting.units import Place, Unit, Units
from converter.tensors.dtype import Array

_ROUNDS = 6
_IMPOSSIBLE = 1e6


@dataclass(frozen=True, slots=True)
class Pair:
    """A layer and the module it was assigned to.

    Attributes:
        candidate: The two, and the kind.
        cost: Its cost in the last round.
        margin: By how much the whole gets worse when it is exchanged with the cheapest other pair;
            infinite where no exchange is possible.
        rivals: Modules it could be exchanged with at a cost below :data:`CLOSE`.
    """

    candidate: Candidate
    cost: float
    margin: float = float("inf")
    rivals: tuple[str, ...] = ()


# An exchange that costs less than this is a matter of opinion.
CLOSE = 0.25


@dataclass(frozen=True, slots=True)
class Assignment:
    """What is paired, and what is left over.

    Attributes:
        pairs: In the order of the Keras model.
        units: Keras layers without a module.
        names: PyTorch tensors that no pair takes.
    """

    pairs: tuple[Pair, ...]
    units: tuple[Unit, ...] = ()
    names: tuple[str, ...] = field(default=())


def choose_units(
    units: Units, fitter: Fitter, fusions: Sequence[Fusion] = ()
) -> tuple[tuple[Unit, ...], list[Candidate]]:
    """Return the units to pair, whole or in parts, and every candidate of theirs.

    Args:
        units: Both sides.
        fitter: Says which candidates there are.
        fusions: What may be one module together; those are chosen that leave the least over.
    """
    possible = {
        place: fitting
        for place, fusion in enumerate(fusions)
        if (fitting := _fitting(fusion, units.torch, fitter)).units
    }
    best = _chosen(units, fitter, [])
    if not possible:
        return best
    taken: list[Fusion] = []
    left = _left_over(*best, units)
    while True:
        names = frozenset().union(*(fusion.names for fusion in taken))
        found = [
            (_left_over(*chosen, units), place, chosen)
            for place, fusion in possible.items()
            if not fusion.names & names
            for chosen in [_chosen(units, fitter, [*taken, fusion])]
        ]
        least, place, chosen = min(found, default=(left, -1, best), key=lambda one: one[:2])
        if least >= left:
            return best
        left, best = least, chosen
        taken.append(possible.pop(place))


def _fitting(fusion: Fusion, places: Sequence[Place], fitter: Fitter) -> Fusion:
    """Return a fusion without the units that can be no module."""
    return Fusion(
        tuple(unit for unit in fusion.units if next(fitter.candidates(unit, places), None))
    )


def _chosen(
    units: Units, fitter: Fitter, fusions: Sequence[Fusion]
) -> tuple[tuple[Unit, ...], list[Candidate]]:
    names = frozenset().union(*(fusion.names for fusion in fusions))
    every = [rest for unit in units.keras for rest in without(unit, names)]
    every += [unit for fusion in fusions for unit in fusion.units]
    chosen: list[Unit] = []
    candidates: list[Candidate] = []
    for unit in sorted(every, key=lambda one: one.rank):
        for one, found in _settled(unit, units.torch, fitter):
            chosen.append(one)
            candidates += found
    return tuple(chosen), candidates


def _left_over(chosen: Sequence[Unit], candidates: Sequence[Candidate], units: Units) -> int:
    """Return how many tensors of both sides are left over at best."""
    sizes = [-float(len(one.unit.names) + len(one.taken)) for one in candidates]
    taken = _Solver(chosen, candidates).solve(np.array(sizes))
    every = sum(len(unit.names) for unit in chosen) + len(units.manifests[1].tensors)
    return every + round(sum(sizes[one] for one in taken))


def _settled(
    unit: Unit, places: Sequence[Place], fitter: Fitter
) -> list[tuple[Unit, list[Candidate]]]:
    found = list(fitter.candidates(unit, places))
    if found or not unit.parts:
        return [(unit, found)]
    return [one for part in unit.parts for one in _settled(part, places, fitter)]


def assign(chosen: Sequence[Unit], evidence: Evidence, units: Units) -> Assignment:
    """Return the best assignment.

    Args:
        chosen: The units to pair.
        evidence: Of all their candidates.
        units: Both sides.

    Raises:
        MissingDependencyError: If SciPy, whose solver is used, is not installed.
    """
    solver = _Solver(chosen, evidence.candidates)
    costs = evidence.costs()
    taken = solver.solve(costs)
    for _ in range(_ROUNDS):
        pairs = [evidence.candidates[one] for one in taken]
        learned = Learned((one.unit.path, one.place.module) for one in pairs)
        costs = evidence.costs(learned)
        again = solver.solve(costs)
        if again == taken:
            break
        taken = again
    return _result(taken, costs, chosen, evidence.candidates, units)


class _Solver:
    """The assignment problem of a draft, with SciPy's solver of linear sums.

    Args:
        chosen: Units, the rows.
        candidates: Whose taken tensors are the columns.
    """

    def __init__(self, chosen: Sequence[Unit], candidates: Sequence[Candidate]) -> None:
        scipy = require("scipy.optimize", why="cannot draft a mapping", extra="draft")
        self._solve = scipy.linear_sum_assignment
        self._candidates = candidates
        rows = {unit.path: row for row, unit in enumerate(chosen)}
        columns: dict[frozenset[str], int] = {}
        for one in candidates:
            columns.setdefault(one.taken, len(columns))
        self._shape = (len(rows), len(columns))
        self._row = np.array([rows[one.unit.path] for one in candidates], dtype=int)
        self._column = np.array([columns[one.taken] for one in candidates], dtype=int)

    def solve(self, costs: Array) -> tuple[int, ...]:
        """Return positions of the candidates that are taken, in the order of the rows."""
        if not len(self._row):
            return ()
        matrix = np.full(self._shape, _IMPOSSIBLE)
        best = np.full(self._shape, -1)
        # The cheapest comes last and stays; of two alike, the first.
        for position in np.lexsort((-np.arange(len(costs)), -costs)):
            cell = self._row[position], self._column[position]
            matrix[cell] = costs[position]
            best[cell] = position
        rows, columns = self._solve(matrix)
        found = [int(best[cell]) for cell in zip(rows, columns, strict=True)]
        return self._without_overlap([one for one in found if one >= 0], costs)

    def _without_overlap(self, found: Iterable[int], costs: Array) -> tuple[int, ...]:
        """Leave out the dearer of two candidates that take a tensor in common."""
        kept: list[int] = []
        seen: set[str] = set()
        for position in sorted(found, key=lambda one: float(costs[one])):
            taken = self._candidates[position].taken
            if not taken & seen:
                seen |= taken
                kept.append(position)
        return tuple(sorted(kept, key=lambda one: int(self._row[one])))


def _result(
    taken: Sequence[int],
    costs: Array,
    chosen: Sequence[Unit],
    candidates: Sequence[Candidate],
    units: Units,
) -> Assignment:
    pairs = _with_margins(taken, costs, candidates)
    paired = {pair.candidate.unit.path for pair in pairs}
    used = {name for pair in pairs for name in pair.candidate.taken}
    return Assignment(
        tuple(pairs),
        tuple(unit for unit in chosen if unit.path not in paired),
        tuple(name for name in units.manifests[1].tensors if name not in used),
    )


def _with_margins(
    taken: Sequence[int], costs: Array, candidates: Sequence[Candidate]
) -> list[Pair]:
    """Return the pairs, each with the price of the cheapest exchange of two modules."""
    cost: dict[tuple[str, frozenset[str]], float] = {}
    for position, one in enumerate(candidates):
        key = (one.unit.path, one.taken)
        cost[key] = min(cost.get(key, _IMPOSSIBLE), float(costs[position]))
    owner = {candidates[one].taken: candidates[one] for one in taken}
    other: dict[str, list[frozenset[str]]] = {}
    for path, columns in cost:
        other.setdefault(path, []).append(columns)
    pairs = []
    for position in taken:
        one = candidates[position]
        prices = dict(_prices(one, owner, other, cost))
        close = tuple(sorted(name for name, price in prices.items() if price < CLOSE))
        margin = min(prices.values(), default=float("inf"))
        pairs.append(Pair(one, float(costs[position]), margin, close))
    return pairs


def _prices(
    one: Candidate,
    owner: dict[frozenset[str], Candidate],
    other: dict[str, list[frozenset[str]]],
    cost: dict[tuple[str, frozenset[str]], float],
) -> Iterable[tuple[str, float]]:
    """Yield each module that a pair could have instead, with what the exchange costs."""
    now = cost[one.unit.path, one.taken]
    for columns in other[one.unit.path]:
        if columns == one.taken:
            continue
        rival = owner.get(columns)
        if rival is None:  # a module that nobody has
            yield min(columns), cost[one.unit.path, columns] - now
            continue
        swapped = cost.get((rival.unit.path, one.taken))
        if swapped is not None:
            before = now + cost[rival.unit.path, rival.taken]
            after = cost[one.unit.path, columns] + swapped
            yield rival.place.module, after - before
