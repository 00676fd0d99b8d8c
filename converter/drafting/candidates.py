"""Which layer can be which module at all: what the catalogue's kinds and the shapes allow.

A pairing that no kind explains is impossible, never merely unlikely: it is no candidate. Models
repeat their layers, so the question is asked once for each form of layer and of module.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from converter.drafting.units import Place, Unit
from converter.errors import OperationError
from converter.mapping.notes import is_entry
from converter.mapping.rules import Kind
from converter.mapping.slots import Slot
from converter.planning.binding import bind_slot
from converter.tensors.spec import TensorSpec

_Form = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pairing that kinds and shapes allow.

    Attributes:
        unit: The Keras layer.
        place: The PyTorch module.
        kind: The kind that explains it.
        sizes: Sizes of pattern axes that shapes do not determine.
        taken: PyTorch tensors that it takes.
        is_usual: Whether conversion without a mapping would choose this kind for the layer.
    """

    unit: Unit
    place: Place
    kind: Kind
    sizes: Mapping[str, int] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    is_usual: bool = True


@dataclass(frozen=True, slots=True)
class Usual:
    """What conversion by kind says of one layer: its kind, and sizes that only the graph shows."""

    kind: Kind
    sizes: Mapping[str, int] = field(default_factory=dict)


class Fitter:
    """Answers which kinds pair a unit with a place.

    Args:
        kinds: Every kind of the catalogue.
        usual: Layer path to what conversion by kind says of it.
        known: Keras classes that the catalogue knows: the others may be of any kind.
        classes: PyTorch module name to the name of its class, where live modules tell.
    """

    def __init__(
        self,
        kinds: Iterable[Kind],
        usual: Mapping[str, Usual],
        known: Collection[str],
        classes: Mapping[str, str] | None = None,
    ) -> None:
        self._kinds = tuple(kind for kind in kinds if kind.slots)
        self._named = {kind.name for kind in self._kinds}
        self._usual = usual
        self._known = known
        self._classes = classes or {}
        self._special = {kind.torch for kind in self._kinds if _is_special(kind.torch)}
        self._fits: dict[tuple[str, _Form, _Form, tuple[tuple[str, int], ...]], bool] = {}
        self._forms: dict[str, _Form] = {}
        self._open: dict[str, frozenset[str]] = {}

    def candidates(self, unit: Unit, places: Sequence[Place]) -> Iterator[Candidate]:
        """Yield every candidate of a unit.

        Args:
            unit: The layer.
            places: All places of the PyTorch side; the same ones at every call.
        """
        chosen = [(*one, self._places_of(one[0], places)) for one in self._chosen(unit)]
        form = _form(unit.tensors)
        for place in places:
            for kind, sizes, usual, modules in chosen:
                if place.module in modules and self._fit(kind, unit, form, place, sizes):
                    taken = frozenset(
                        spec.name for name, spec in place.tensors.items() if name in _own(kind)
                    )
                    if taken:
                        yield Candidate(unit, place, kind, sizes, taken, is_usual=usual)

    def _chosen(self, unit: Unit) -> list[tuple[Kind, Mapping[str, int], bool]]:
        """Return the kinds that may serve a layer, with sizes, the usual one first."""
        usual = self._usual.get(unit.path)
        found: list[tuple[Kind, Mapping[str, int], bool]] = []
        # A kind whose slots are made for one layer cannot be written as a rule.
        if usual is not None and usual.kind.keras and usual.kind.name in self._named:
            found.append((usual.kind, usual.sizes, True))
        for kind in self._kinds:
            if usual is not None and kind.name == usual.kind.name:
                continue
            if serves(kind, unit, self._known) and _has_slots(kind, unit):
                found.append((kind, {}, False))
        return found

    def _places_of(self, kind: Kind, places: Sequence[Place]) -> frozenset[str]:
        """Return the modules that have what a kind needs, whatever the layer is."""
        if kind.name not in self._open:
            self._open[kind.name] = frozenset(
                place.module
                for place in places
                if _has_all(kind, place) and self._is_of_class(kind, place)
            )
        return self._open[kind.name]

    def _fit(
        self, kind: Kind, unit: Unit, form: _Form, place: Place, sizes: Mapping[str, int]
    ) -> bool:
        if place.module not in self._forms:
            self._forms[place.module] = _form(place.tensors)
        key = (kind.name, form, self._forms[place.module], tuple(sizes.items()))
        if key not in self._fits:
            self._fits[key] = _fits(kind, unit.tensors, place.tensors, sizes)
        return self._fits[key]

    def _is_of_class(self, kind: Kind, place: Place) -> bool:
        """Whether the class of a live module does not speak against a kind.

        Shapes do not tell the two linear layers of transformers and PyTorch apart where they are
        square: one keeps the axes of Keras, the other exchanges them.
        """
        name = self._classes.get(place.module)
        if name is None or not kind.torch:
            return True
        if name in self._special:
            return kind.torch == name
        return not (_is_special(kind.torch) and name.startswith("torch.nn."))


def _is_special(name: str) -> bool:
    """Whether a class is one of a library, and none of PyTorch itself."""
    return bool(name) and not name.startswith("torch.nn.") and "{" not in name


def _form(tensors: Mapping[str, TensorSpec]) -> _Form:
    return tuple((name, spec.shape) for name, spec in tensors.items())


def _own(kind: Kind) -> frozenset[str]:
    return frozenset(name for slot in kind.slots for name in slot.torch)


def serves(kind: Kind, unit: Unit, known: Collection[str]) -> bool:
    """Whether a kind is for layers of this class and config; a class that is not known may be."""
    name = unit.layer.class_name
    classes = {one.partition("(")[0] for one in kind.keras}
    if name is not None and name in known and classes and name not in classes:
        return False
    config = unit.layer.config
    return all(is_entry(config[key], one) for key, one in kind.when.items() if key in config)


def needed_slots(kind: Kind) -> frozenset[str]:
    """Return the slots that a layer of a kind must have."""
    return frozenset(name for slot in kind.slots if not slot.may_lack for name in slot.keras)


def _has_slots(kind: Kind, unit: Unit) -> bool:
    known = {name for slot in kind.slots for name in slot.keras}
    return needed_slots(kind) <= unit.tensors.keys() <= known


def _has_all(kind: Kind, place: Place) -> bool:
    """Whether a place has what a kind must find, and nothing beside it that the kind leaves."""
    own = _own(kind)
    for slot in kind.slots:
        if not slot.may_lack and any(name not in place.tensors for name in slot.torch):
            return False
    if "" in own or any(_is_numbered(name) for name in own):
        return True  # a bare tensor, or one layer of a recurrent module that holds several
    beside = {name.rpartition(".")[0] for name in own if name in place.tensors}
    return all(name in own for name in place.tensors if name.rpartition(".")[0] in beside)


def _is_numbered(name: str) -> bool:
    return "_l" in name and name.rpartition("_l")[2][:1].isdigit()


def _fits(
    kind: Kind,
    keras: Mapping[str, TensorSpec],
    torch: Mapping[str, TensorSpec],
    sizes: Mapping[str, int],
) -> bool:
    if any(name not in {one for slot in kind.slots for one in slot.keras} for name in keras):
        return False
    return all(_slot_fits(slot, keras, torch, sizes) for slot in kind.slots)


def _slot_fits(
    slot: Slot,
    keras: Mapping[str, TensorSpec],
    torch: Mapping[str, TensorSpec],
    sizes: Mapping[str, int],
) -> bool:
    first = [keras[name] for name in slot.keras if name in keras]
    second = [torch[name] for name in slot.torch if name in torch]
    if slot.operation == "derived" or not (slot.keras and slot.torch):
        return True
    has_first, has_second = len(first) == len(slot.keras), len(second) == len(slot.torch)
    if not first and not second:
        return slot.may_lack
    if slot.operation == "constant" and (has_first != has_second) and not (first and second):
        return True
    if not (has_first and has_second):
        return False
    try:
        bind_slot(slot, keras=first, torch=second, sizes=sizes)
    except OperationError:
        return False
    return True
