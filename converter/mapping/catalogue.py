"""The layer catalogue: what is known of Keras classes, and what each becomes in PyTorch.

Three questions are answered here: which variables a layer of a class has and where a file keeps
them, what a kind named in a mapping means, and which kind conversion without a mapping chooses.
Everything known is data in ``mappings/layers.toml``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any

from converter.errors import MappingError
from converter.mapping.catalogue_document import read_catalogue
from converter.mapping.einsum import einsum_patterns
from converter.mapping.keras_classes import Config, KerasClass, KerasClasses, Variable
from converter.mapping.kind_entries import Entry
from converter.mapping.notes import is_entry
from converter.mapping.places import catalogue_path
from converter.mapping.quantized import refuse_quantized
from converter.mapping.rules import Kind
from converter.mapping.slots import Slot
from converter.mapping.sub_layers import Part, sub_layers
from converter.mapping.variables import layer_names, variables_by_name, variables_in_store
from converter.tensors.spec import LayerSpec

__all__ = ["Catalogue", "Variable", "load_catalogue"]


class Catalogue:
    """All known Keras classes and layer kinds.

    Attributes:
        kinds: Name to kind, in the order of the file.
    """

    def __init__(self, classes: KerasClasses, entries: Mapping[str, Entry]) -> None:
        self._classes = classes
        self._entries = entries
        self.kinds: Mapping[str, Kind] = MappingProxyType(
            {name: entry.kind for name, entry in entries.items()}
        )
        self._by_class: dict[str, list[Entry]] = {}
        for entry in entries.values():
            if entry.kind.automatic:
                for key in entry.kind.keras:
                    self._by_class.setdefault(key, []).append(entry)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all known classes, without older ones."""
        return tuple(dict.fromkeys(one.name for one in self._classes.by_name.values()))

    def class_of_snake(self, name: str) -> str | None:
        """Return the class whose unnamed layers Keras calls so, or ``None``.

        Examples:
            >>> load_catalogue().class_of_snake("conv2d_transpose")
            'Conv2DTranspose'
        """
        return self._classes.of_snake(name)

    def variables(
        self,
        class_name: str,
        config: Mapping[str, Any],
        stores: Collection[str],
        names: Mapping[str, str] | None = None,
    ) -> tuple[Variable, ...] | None:
        """Return the variables that a file keeps below the group of one layer.

        Args:
            class_name: Class of the layer.
            config: Its config; may be empty.
            stores: All datasets below the group, relative to it: ``"vars/0"``,
                ``"cell/vars/0"``.
            names: Where the file has them, names of the layers below, by group relative to the
                layer's: ``{"forward_layer": "forward_lstm_3", "forward_layer/cell": "lstm_cell"}``.
                They tell what a wrapper holds whose config is not known.

        Returns:
            In the order of ``get_weights()``; ``None`` where the class is not known, the datasets
            are not those of this class and config, or several possibilities fit (a
            BatchNormalization with three variables and no config).

        Examples:
            >>> [one.path for one in load_catalogue().variables(
            ...     "LSTM", {}, ["cell/vars/0", "cell/vars/1", "cell/vars/2"])]
            ['lstm_cell/kernel', 'lstm_cell/recurrent_kernel', 'lstm_cell/bias']
        """
        return variables_in_store(self._classes, class_name, config, stores, names or {})

    def named_variables(
        self, class_name: str, config: Mapping[str, Any], names: Sequence[str]
    ) -> Mapping[str, Variable] | None:
        """Return the variables that a layer's weights are, given their names in a legacy file.

        Args:
            class_name: Class of the layer.
            config: Its config; may be empty.
            names: All names, relative to the layer, without ``:0``.

        Returns:
            Name to variable; ``None`` in the cases of :meth:`variables`.

        Examples:
            >>> found = load_catalogue().named_variables("GRU", {}, ["kernel", "recurrent_kernel"])
            >>> found["kernel"].path
            'gru_cell/kernel'
        """
        return variables_by_name(self._classes, class_name, config, names)

    def inner(self, class_name: str, config: Mapping[str, Any]) -> tuple[str, Config] | None:
        """Return class and config of the layer that a wrapper holds; ``None`` for no wrapper.

        A Bidirectional gives its forward layer.
        """
        one = self._classes.find(class_name)
        if one is None or not one.wraps:
            return None
        parts = sub_layers(self._classes, one, config, {})
        return (parts[0].class_name, parts[0].config) if parts else None

    def needs_weights(self, class_name: str, config: Mapping[str, Any]) -> bool:
        """Whether layers of a class have weights as a rule; a wrapper, those of what it holds.

        Examples:
            >>> inside = {"layer": {"class_name": "Flatten", "config": {}}}
            >>> load_catalogue().needs_weights("TimeDistributed", inside)
            False
        """
        one = self._classes.find(class_name)
        inside = config.get("layer") if one is not None and one.wraps else None
        if isinstance(inside, Mapping) and isinstance(inside.get("class_name"), str):
            below = inside.get("config")
            return self.needs_weights(
                inside["class_name"], below if isinstance(below, Mapping) else {}
            )
        return one is not None

    def kind_of(self, layer: LayerSpec) -> Kind | None:
        """Return the kind that conversion without a mapping chooses for a layer.

        Returns:
            ``None`` where the class is not known or its config leaves the choice open.

        Raises:
            MappingError: If no PyTorch module can be equal to the layer, or it is quantised; the
                message says why.
        """
        one = self._classes.find(layer.class_name)
        if one is None:
            return None
        refuse_quantized(layer)
        below = [_below(layer, name) for name in layer.tensors.values()]
        names = layer_names(self._classes, one, below)
        return self._choose(layer, one, layer.config, names)

    def _choose(
        self, layer: LayerSpec, one: KerasClass, config: Config, names: Mapping[str, str]
    ) -> Kind | None:
        leaves = list(self._leaves(one, config, names))
        found = [
            entry
            for entry in self._by_class.get(self._key(one, config, names), ())
            if _has_slots(entry, layer) and _agrees(entry, leaves, layer)
        ]
        if len(found) == 1:
            return _resolved(found[0], layer, config)
        if not found and one.is_transparent:
            part = (sub_layers(self._classes, one, config, names) or (None,))[0]
            inner = self._classes.find(part.class_name) if part is not None else None
            if part is not None and inner is not None:
                return self._choose(layer, inner, part.config, _names_below(names, part))
        return None

    def _key(self, one: KerasClass, config: Config, names: Mapping[str, str]) -> str:
        """Return how kinds call a class, with what it holds: ``Bidirectional(LSTM)``."""
        if not one.wraps:
            return one.name
        parts = sub_layers(self._classes, one, config, names)
        if not parts:
            return one.name
        held: list[tuple[str, object]] = []
        for part in parts:
            inner = self._classes.find(part.class_name)
            text = self._key(inner, part.config, _names_below(names, part)) if inner else ""
            held.append((text, part.config.get("units")))
        if len(set(held)) > 1:
            return f"{one.name}({', '.join(text for text, _ in held)})"
        count = f"{len(held)} " if parts[0].child.many else ""
        return f"{one.name}({count}{held[0][0]})"

    def _leaves(
        self, one: KerasClass, config: Config, names: Mapping[str, str]
    ) -> Iterator[tuple[KerasClass, Config]]:
        """Yield class and config of the layers that are not wrappers."""
        parts = sub_layers(self._classes, one, config, names) if one.wraps else ()
        if not parts:
            yield one, config
            return
        for part in parts:
            inner = self._classes.find(part.class_name)
            if inner is not None:
                yield from self._leaves(inner, part.config, _names_below(names, part))


@cache
def load_catalogue() -> Catalogue:
    """Return the catalogue that comes with the program.

    Raises:
        MappingError: If its file is missing or has problems.
    """
    return Catalogue(*read_catalogue(catalogue_path()))


def _below(layer: LayerSpec, name: str) -> str:
    return name.removeprefix(f"{layer.path}/")


def _names_below(names: Mapping[str, str], part: Part) -> dict[str, str]:
    prefix = f"{part.store}/"
    return {
        name.removeprefix(prefix): given for name, given in names.items() if name.startswith(prefix)
    }


def _has_slots(entry: Entry, layer: LayerSpec) -> bool:
    """Whether the kind takes every tensor of the layer, and finds all that it must have."""
    if entry.slots_from or not entry.kind.slots or not layer.tensors:
        return True
    slots = entry.kind.slots
    known = {name for slot in slots for name in slot.keras}
    needed = {name for slot in slots if not slot.optional for name in slot.keras}
    return needed <= layer.tensors.keys() <= known


def _agrees(entry: Entry, leaves: Sequence[tuple[KerasClass, Config]], layer: LayerSpec) -> bool:
    for one, config in leaves:
        for key, expected in entry.kind.when.items():
            if key in config:
                actual = config[key]
            elif config and key in one.before:
                actual = one.before[key]
            elif entry.confirmed_by in layer.tensors and key in one.defaults:
                actual = one.defaults[key]
            else:
                return False
            if not is_entry(actual, expected):
                return False
    return True


def _resolved(entry: Entry, layer: LayerSpec, config: Config) -> Kind:
    kind = entry.kind
    if entry.slots_from == "tensors":
        slots = tuple(Slot((slot,), (slot,)) for slot in layer.tensors)
        return replace(kind, slots=slots, refuse=None)
    if entry.slots_from == "equation" and isinstance(config.get("equation"), str):
        patterns = einsum_patterns(config["equation"], config.get("bias_axes"))
        bias = Slot(("bias",), ("bias",), patterns.bias, optional=True)
        kernel = Slot(("kernel",), ("weight",), patterns.kernel)
        return replace(kind, slots=(kernel, bias), refuse=None)
    if kind.refuse is not None and not kind.slots:
        name = f"'{layer.path}'" if layer.path else "the layer"
        raise MappingError(f"cannot convert {name} ({layer.class_name}): {kind.refuse}")
    return kind
