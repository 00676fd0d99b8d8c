"""Which variables a layer of a known class has, from its config and what a file shows.

A composite (an LSTM around its cell, a Bidirectional around two LSTMs) is followed down to its last
variable, so that a reader can name tensors that a file knows only by position. What a config does
not say is left open, and if more than one possibility fits there is no answer: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from converter.mapping.keras_classes import (
    Config,
    KerasClass,
    KerasClasses,
    Presence,
    Variable,
)
from converter.mapping.quantized import quantized_variables, scheme_of
from converter.mapping.sub_layers import Part, sub_layers


@dataclass(frozen=True, slots=True)
class Leaf:
    """A variable with the names that it may have been written under.

    Attributes:
        variable: The variable.
        places: The layers on the way down.
        names: The variable's own names, the present one first.
    """

    variable: Variable
    places: tuple[Part, ...]
    names: tuple[str, ...]


def variables_in_store(
    classes: KerasClasses,
    class_name: str,
    config: Config,
    stores: Collection[str],
    names: Mapping[str, str],
) -> tuple[Variable, ...] | None:
    """Return the variables of a layer that a file keeps at exactly these places.

    Args:
        classes: All known classes.
        class_name: Class of the layer.
        config: Its config, as far as known.
        stores: All datasets below the layer's group, relative to it.
        names: Names of sub-layers as written, by their group relative to the layer's.

    Returns:
        In ``get_weights()`` order; ``None`` where the class is not known, or not exactly one
        possibility fits.
    """
    one = classes.find(class_name)
    if one is None:
        return None
    if scheme_of(config) is not None:
        return quantized_variables(one.name, config, stores)
    if one.is_keyed:
        return _keyed(stores)
    actual = {_public(store): store for store in stores}
    if len(actual) < len(stores):
        return None
    public_names = {_public(store): name for store, name in names.items()}
    fitting = {
        tuple(_placed(leaf.variable, actual) for leaf in leaves)
        for leaves in _alternatives(classes, one, config, public_names)
        if _places(leaves) == actual.keys()
    }
    return fitting.pop() if len(fitting) == 1 else None


def variables_by_name(
    classes: KerasClasses, class_name: str, config: Config, names: Sequence[str]
) -> dict[str, Variable] | None:
    """Return the variables of a layer that were written under exactly these names.

    Args:
        classes: All known classes.
        class_name: Class of the layer.
        config: Its config, as far as known.
        names: Names relative to the layer; names of sub-layers may be left out or numbered.

    Returns:
        In the order of ``names``; ``None`` where the class is not known, or not exactly one
        possibility fits.
    """
    one = classes.find(class_name)
    if one is None or scheme_of(config) is not None:
        return None
    if one.is_keyed:
        return {name: Variable(name, name, f"vars/{name}") for name in names}
    found: list[dict[str, Variable]] = []
    for leaves in _alternatives(classes, one, config, layer_names(classes, one, names)):
        matched = _match(names, leaves)
        if matched is not None and matched not in found:
            found.append(matched)
    return found[0] if len(found) == 1 else None


def layer_names(classes: KerasClasses, one: KerasClass, names: Sequence[str]) -> dict[str, str]:
    """Return what the names of a layer's variables say of its sub-layers' names.

    Returns:
        Group, relative to the layer, to name as written.
    """
    found: dict[str, str] = {}
    for child in one.children:
        if child.class_name or child.many:
            continue
        below = [name.split("/", 1) for name in names if "/" in name]
        below = [parts for parts in below if parts[0].startswith(child.prefix)]
        if not below:
            continue
        given = below[0][0]
        rest = [parts[1] for parts in below if parts[0] == given]
        found[child.store] = given
        inner = classes.find(classes.of_automatic(given.removeprefix(child.prefix)))
        if inner is not None:
            below_names = layer_names(classes, inner, rest)
            found |= {f"{child.store}/{store}": name for store, name in below_names.items()}
        if "/" in rest[0]:
            found.setdefault(f"{child.store}/cell", rest[0].partition("/")[0])
    return found


def _keyed(stores: Collection[str]) -> tuple[Variable, ...] | None:
    if not all(store.startswith("vars/") for store in stores):
        return None
    keys = [store.removeprefix("vars/") for store in stores]
    return tuple(Variable(key, key, f"vars/{key}") for key in keys)


def _places(leaves: Sequence[Leaf]) -> set[str]:
    return {
        _public(place) for leaf in leaves for place in (leaf.variable.store, *leaf.variable.also)
    }


def _public(store: str) -> str:
    """Return a path with attributes written as public ones.

    A layer is saved under the alphabetically first public attribute that holds it, and under a
    private one only where there is no other: ``_query_dense`` became ``query_dense`` when Keras got
    a property of that name.

    Source: keras 3.15.1, keras/src/saving/saving_lib.py, ``_name_key``; tf_keras 2.21,
    tf_keras/src/layers/attention/multi_head_attention.py.
    """
    return "/".join(part.removeprefix("_") for part in store.split("/"))


def _placed(variable: Variable, actual: Mapping[str, str]) -> Variable:
    """Return a variable with its places as the file writes them."""
    also = tuple(actual[_public(place)] for place in variable.also)
    return replace(variable, store=actual[_public(variable.store)], also=also)


def _alternatives(
    classes: KerasClasses, one: KerasClass, config: Config, names: Mapping[str, str]
) -> Iterator[list[Leaf]]:
    """Yield every set of variables that a layer may have as far as its config tells."""
    for settled in _settled(_open(classes, one), config):
        parts = sub_layers(classes, one, settled, names)
        if parts is None:
            return
        present = [part for part in parts if part.child.presence.holds(settled)]
        below = [list(_below(classes, part, names)) for part in present]
        own = [name for name, presence in one.variables if presence.holds(settled)]
        for chosen in product(*below):
            yield _joined(one, own, [leaf for leaves in chosen for leaf in leaves])


def _below(classes: KerasClasses, part: Part, names: Mapping[str, str]) -> Iterator[list[Leaf]]:
    one = classes.find(part.class_name)
    if one is None or one.is_keyed:
        return
    prefix = f"{part.store}/"
    inner = {
        name.removeprefix(prefix): given for name, given in names.items() if name.startswith(prefix)
    }
    for leaves in _alternatives(classes, one, part.config, inner):
        yield [_lifted(leaf, part) for leaf in leaves]


def _open(classes: KerasClasses, one: KerasClass) -> list[Presence]:
    """Return what presence depends on, in the class and in its fixed sub-layers."""
    found = [presence for _, presence in one.variables]
    found += [child.presence for child in one.children]
    for child in one.children:
        inner = classes.find(child.class_name) if child.class_name else None
        for _, presence in inner.variables if inner is not None else ():
            key = one.config.get(presence.key or "", presence.key)
            found.append(Presence(key, presence.negated, presence.equals))
    return found


def _settled(presences: Sequence[Presence], config: Config) -> Iterator[Config]:
    """Yield the config with every entry that it lacks decided, in each way."""
    choices: dict[str, list[bool | str]] = {}
    for one in presences:
        if one.key is not None and one.holds(config) is None:
            choices.setdefault(one.key, [False]).append(one.equals or True)
    for chosen in product(*(dict.fromkeys(values) for values in choices.values())):
        yield {**config, **dict(zip(choices, chosen, strict=True))}


def _lifted(leaf: Leaf, part: Part) -> Leaf:
    """Return a sub-layer's variable as one of the layer around it."""
    inner = leaf.variable
    variable = Variable(
        f"{part.slot}/{inner.slot}" if part.slot else inner.slot,
        f"{part.name}/{inner.path}",
        f"{part.store}/{inner.store}",
        tuple(f"{part.store}/{place}" for place in inner.also),
    )
    return Leaf(variable, (part, *leaf.places), leaf.names)


def _joined(one: KerasClass, own: Sequence[str], below: list[Leaf]) -> list[Leaf]:
    """Return a layer's own variables and those of its sub-layers, in ``get_weights()`` order."""
    # A variable that the layer tracks as its own comes first, and is saved here too.
    copied = [leaf for leaf in below if leaf.variable.slot in one.copies]
    first = [
        Leaf(
            Variable(leaf.variable.slot, leaf.variable.path, leaf.variable.store, (f"vars/{at}",)),
            leaf.places,
            leaf.names,
        )
        for at, leaf in enumerate(copied)
    ]
    leaves = [
        Leaf(
            Variable(name, name, f"vars/{at}"),
            (),
            (name, *(old for old, new in one.renamed.items() if new == name)),
        )
        for at, name in enumerate(own, start=len(first))
    ]
    return [*first, *leaves, *(leaf for leaf in below if leaf not in copied)]


def _match(names: Sequence[str], leaves: Sequence[Leaf]) -> dict[str, Variable] | None:
    if len(names) != len(leaves):
        return None
    matched: dict[str, Variable] = {}
    for name in names:
        fitting = [leaf.variable for leaf in leaves if _is_name_of(name, leaf)]
        exact = [one for one in fitting if one.path == name]
        fitting = exact or fitting
        if len(fitting) != 1:
            return None
        matched[name] = fitting[0]
    return matched if len(set(matched.values())) == len(leaves) else None


def _is_name_of(name: str, leaf: Leaf) -> bool:
    """Whether a variable may have been written under a name, layers on the way left out."""
    *layers, own = name.split("/")
    if not any(_is_numbered(own, one) for one in leaf.names):
        return False
    places = iter(leaf.places)
    return all(any(_is_layer(layer, place) for place in places) for layer in layers)


def _is_layer(name: str, part: Part) -> bool:
    if part.child.many:
        return name == (part.given or part.name)
    return name == part.given or _is_numbered(name, part.name)


def _is_numbered(name: str, base: str) -> bool:
    return name == base or re.fullmatch(f"{re.escape(base)}_[0-9]+", name) is not None
