"""What is known of Keras classes: their variables, their sub-layers, and when these are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.mapping.naming import snake_case

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a layer of a known class, sub-layers included.

    Attributes:
        slot: What the catalogue calls it (``"forward/kernel"``).
        path: Its canonical Keras 3 path below the layer (``"forward_lstm/lstm_cell/kernel"``).
        store: Where a weights file keeps it below the layer's group
            (``"forward_layer/cell/vars/0"``).
        also: Further places that hold the same values.
    """

    slot: str
    path: str
    store: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Presence:
    """When something is there.

    Attributes:
        key: Entry of the config; ``None``: always.
        negated: There when the entry is false.
        equals: There when the entry is this text, rather than when it is true.
    """

    key: str | None = None
    negated: bool = False
    equals: str | None = None

    def holds(self, config: Config) -> bool | None:
        """Whether it is there; ``None`` where the config does not say."""
        if self.key is None:
            return True
        if self.key not in config:
            return None
        value = config[self.key]
        truth = bool(value) if self.equals is None else value == self.equals
        return truth is not self.negated


@dataclass(frozen=True, slots=True)
class Child:
    """A sub-layer with variables.

    Attributes:
        class_name: Its class, or ``""`` where the config of the layer says.
        layer: Entry of the config that describes it; for ``many``, a list of them.
        otherwise: Entry used where ``layer`` is not there.
        many: Whether the entry is a list.
        name: Its Keras name, where it is fixed.
        prefix: What Keras puts before the name of the described layer.
        store: Attribute under which a weights file keeps it.
        slot: What comes before its slots, or ``""``.
        presence: When it is there.
    """

    class_name: str
    layer: str
    otherwise: str
    many: bool
    name: str
    prefix: str
    store: str
    slot: str
    presence: Presence


@dataclass(frozen=True, slots=True)
class KerasClass:
    """One Keras class.

    Attributes:
        name: Its name now.
        variables: Names of its own variables in ``get_weights()`` order, and when they are there.
        children: Its sub-layers, after its own variables.
        aliases: Older names of the class.
        copies: Names of the only child's variables that are saved a second time as its own, first.
        config: Entries of a fixed child's config, and of which entry of this one they are made;
            empty: the child gets all.
        defaults: What an entry means that the config lacks.
        before: What an entry means that a written config lacks: it came with a later Keras.
        renamed: Older name of a variable to its name now.
        is_keyed: Whether a file keeps its variables under names of their own, not numbers.
    """

    name: str
    variables: tuple[tuple[str, Presence], ...] = ()
    children: tuple[Child, ...] = ()
    aliases: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    defaults: Config = field(default_factory=dict)
    before: Config = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    is_keyed: bool = False

    @property
    def wraps(self) -> bool:
        """Whether it holds layers that its config describes."""
        return any(not child.class_name for child in self.children)

    @property
    def is_transparent(self) -> bool:
        """Whether it has exactly the variables of the one layer that it holds."""
        return (
            len(self.children) == 1
            and not self.variables
            and not self.children[0].class_name
            and not self.children[0].slot
            and not self.children[0].many
        )


class KerasClasses:
    """All known classes.

    Args:
        classes: Every class once.
    """

    def __init__(self, classes: Iterable[KerasClass]) -> None:
        self.by_name: dict[str, KerasClass] = {}
        for one in classes:
            for name in (one.name, *one.aliases):
                self.by_name[name] = one
        self._by_snake = {snake_case(one.name): one.name for one in self.by_name.values()}

    def find(self, class_name: str | None) -> KerasClass | None:
        """Return the class of this name, also of an older or a registered one."""
        if class_name is None:
            return None
        return self.by_name.get(class_name.rpartition(">")[2])

    def of_snake(self, name: str) -> str | None:
        """Return the class whose unnamed layers Keras calls so."""
        return self._by_snake.get(name)

    def of_automatic(self, name: str) -> str | None:
        """Return the class whose unnamed layers Keras calls so, with or without a number."""
        base, _, digits = name.rpartition("_")
        known = self._by_snake.get(name)
        if known is None and base and digits.isdigit():
            known = self._by_snake.get(base)
        return known

    def around(self, cell: str | None) -> str | None:
        """Return the class whose one fixed child is of class ``cell``: LSTM for LSTMCell."""
        found = {
            one.name
            for one in self.by_name.values()
            if [child.class_name for child in one.children] == [cell]
        }
        return found.pop() if len(found) == 1 else None
