"""A bias that one side lacks and the normalisation behind it takes in: which rows say so.

Keras' convolution has a bias, PyTorch's has none, and a BatchNorm follows in both. Drafted row by
row the bias could only be zero; together the two rows lose nothing, whatever it is. That is right
only where nothing stands between the two layers and nothing else takes what the first one gives,
so it is proposed only where the graph of the Keras model shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from converter.drafting.assignment import Pair
from converter.drafting.candidates import Candidate
from converter.drafting.numbering import Piece, Row
from converter.graph.nested import found_in
from converter.graph.nodes import Call, Graph, Layer, ValueRef
from converter.mapping.rules import Kind
from converter.mapping.slots import BESIDE


@dataclass(frozen=True, slots=True)
class Absorbing:
    """What takes a bias in, and of what layer.

    Attributes:
        pairs: All pairs; those of a layer that gives a bias up, and of the one that takes it in,
            have the kinds that say so.
        taken: Path of each layer that takes something in, to the layer that gives it up.
        without: Path of each layer that gives something up, to its slots.
    """

    pairs: tuple[Pair, ...]
    taken: Mapping[str, str]
    without: Mapping[str, tuple[str, ...]]

    def told(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows with what each gives up, or takes in, and of what layer."""
        return [self._told(row, rows) for row in rows]

    def _told(self, row: Row, rows: Sequence[Row]) -> Row:
        names = [keras for keras, _ in row.pairs]
        if all(name in self.without for name in names):
            return replace(row, without=self.without[names[0]])
        if not all(name in self.taken for name in names):
            return row
        wanted = {self.taken[name] for name in names}
        for other in rows:
            given = {keras for keras, _ in other.pairs}
            if given == wanted and _holes(other.keras) == _holes(row.keras):
                return replace(row, beside=other.keras)
        return row


def absorbing(pairs: Sequence[Pair], graph: Graph | None, kinds: Iterable[Kind]) -> Absorbing:
    """Return what takes a bias in.

    Args:
        pairs: The pairs of a draft.
        graph: The Keras model, or ``None`` where its configuration does not tell.
        kinds: Every layer kind.
    """
    every = tuple(kinds)
    found = {pair.candidate.unit.layer.path: pair for pair in pairs}
    changed: dict[str, Kind] = {}
    taken, without = {}, {}
    for path, source in ({} if graph is None else normalised_directly(graph)).items():
        if path not in found or source not in found:
            continue
        kind = _absorbing(found[path].candidate.kind, every)
        given = kind and _without(found[source].candidate, _given_up(kind), every)
        if kind and given:
            changed |= {path: kind, source: given}
            taken[path], without[source] = source, _given_up(kind)
    return Absorbing(tuple(_of_kind(pair, changed) for pair in pairs), taken, without)


def _of_kind(pair: Pair, changed: Mapping[str, Kind]) -> Pair:
    one = pair.candidate
    kind = changed.get(one.unit.layer.path)
    return pair if kind is None else replace(pair, candidate=replace(one, kind=kind))


def normalised_directly(graph: Graph) -> dict[str, str]:
    """Return each normalisation to the layer whose features it takes, and nobody else does.

    Nothing stands between the two, no activation either, and the axis is that of the features.
    Layers that are called more than once are left out.
    """
    found: dict[str, str] = {}
    layers = {layer.path: layer for layer in graph.layers}
    calls = {call.name: call for call in graph.calls}
    times = Counter(call.layer for call in graph.calls)
    taken = Counter(ref for call in graph.calls for ref in _taken(call))
    taken.update(graph.outputs)
    for call in graph.calls:
        layer, refs = layers[call.layer], _taken(call)
        if layer.model is not None:
            found |= normalised_directly(layer.model)
        if len(refs) != 1 or times[call.layer] > 1 or refs[0].call not in calls:
            continue
        before = calls[refs[0].call]
        source = layers[before.layer]
        if (
            taken[refs[0]] == 1
            and times[source.path] == 1
            and _is_of_features(layer, source, before)
        ):
            found[layer.path] = source.path
    return found


def _is_of_features(layer: Layer, source: Layer, before: Call) -> bool:
    """Whether a layer normalises what another gives as it is, along the axis of its biases."""
    shape = before.outputs[0].shape if before.outputs else None
    is_wrapped = source.model is not None or source.inner is not None
    if shape is None or is_wrapped or source.config.get("activation") not in (None, "linear"):
        return False
    rank = len(shape)
    features = 1 if source.config.get("data_format") == "channels_first" else rank - 1
    return layer.config.get("axis") in (features, features - rank)


def _taken(call: Call) -> list[ValueRef]:
    return list(found_in((call.arguments, dict(call.keywords)), ValueRef))


def _absorbing(plain: Kind, kinds: Iterable[Kind]) -> Kind | None:
    """Return the kind that is another one, but for what it takes of a layer beside it."""
    for kind in kinds:
        if kind.keras == plain.keras and kind.torch == plain.torch and _given_up(kind):
            own = [
                replace(slot, keras=_own(slot.keras), operation=None)
                if len(_own(slot.keras)) < len(slot.keras)
                else slot
                for slot in kind.slots
            ]
            if own == list(plain.slots):
                return kind
    return None


def _own(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if not name.startswith(BESIDE))


def _given_up(kind: Kind) -> tuple[str, ...]:
    """Return the slots of the layer beside it that a kind takes."""
    names = (name for slot in kind.slots for name in slot.keras)
    return tuple(name.removeprefix(BESIDE) for name in names if name.startswith(BESIDE))


def _without(one: Candidate, slots: Sequence[str], kinds: Iterable[Kind]) -> Kind | None:
    """Return the usual kind of a layer that gives up slots which PyTorch lacks; ``None`` if not."""
    given = [slot for slot in one.kind.slots if set(slot.keras) & set(slots)]
    is_known = {*slots} <= {name for slot in given for name in slot.keras}
    is_there = any(name in one.place.tensors for slot in given for name in slot.torch)
    if is_there or not is_known or not {*slots} <= one.unit.tensors.keys():
        return None
    kept = [slot for slot in one.kind.slots if slot not in given]
    for kind in kinds:
        is_same = kept == [slot for slot in kind.slots if not set(slot.keras) & set(slots)]
        is_of_both = (kind.keras, kind.torch) == (one.kind.keras, one.kind.torch)
        if kind.automatic and is_of_both and is_same:
            return kind
    return one.kind


def _holes(pieces: Iterable[Piece]) -> list[Piece]:
    return [piece for piece in pieces if not isinstance(piece, str)]
