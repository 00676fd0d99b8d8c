"""The layers inside a layer of a known class: their class, config, name and place in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from converter.mapping.keras_classes import Child, Config, KerasClass, KerasClasses
from converter.mapping.naming import automatic_number, renumber, snake_case


@dataclass(frozen=True, slots=True)
class Part:
    """A sub-layer of one particular layer.

    Attributes:
        class_name: Its class.
        config: Its config.
        name: Its canonical name.
        given: Its name as written, or ``None`` where nothing says it.
        store: Group below that of the layer.
        slot: What comes before its slots, or ``""``.
        child: What the catalogue says of it.
    """

    class_name: str
    config: Config
    name: str
    given: str | None
    store: str
    slot: str
    child: Child


def sub_layers(
    classes: KerasClasses, one: KerasClass, config: Config, names: Mapping[str, str]
) -> tuple[Part, ...] | None:
    """Return the sub-layers of a layer, in order; ``None`` where one is not described.

    Args:
        classes: All known classes.
        one: The class of the layer.
        config: Its config.
        names: Names of layers as written, by group below that of the layer.
    """
    parts: list[Part] = []
    for child in one.children:
        if child.class_name:
            inner = _fixed_config(one, config)
            parts.append(_fixed(child, inner))
            continue
        found = (
            _listed(classes, child, config, names)
            if child.many
            else _described(classes, child, config, names)
        )
        if found is None:
            return None
        parts.extend(found)
    return tuple(parts)


def _fixed(child: Child, config: Config) -> Part:
    name = child.name
    return Part(child.class_name, config, name, name, child.store, child.slot, child)


def _fixed_config(one: KerasClass, config: Config) -> Config:
    if not one.config:
        return config
    return {inner: config[outer] for inner, outer in one.config.items() if outer in config}


def _described(
    classes: KerasClasses, child: Child, config: Config, names: Mapping[str, str]
) -> tuple[Part] | None:
    own = config.get(child.layer)
    described = own if own is not None else config.get(child.otherwise)
    given = names.get(child.store)
    inner: Config = {}
    if isinstance(described, Mapping):
        class_name = described.get("class_name")
        inner = _config(described)
        given = given or inner.get("name")
    elif isinstance(described, Sequence) and not isinstance(described, str):
        # Keras 2 could write the list of an RNN's cells itself.
        class_name, inner = "StackedRNNCells", {"cells": described}
    else:
        class_name = _class_from_names(classes, child, names)
    one = classes.find(class_name if isinstance(class_name, str) else None)
    if one is None:
        return None
    # Source: keras 3.15.1, keras/src/layers/rnn/bidirectional.py: the prefix is put before the
    # name of `layer`, and not before that of a `backward_layer` that was given.
    as_written = child.store in names or bool(child.otherwise and own is not None)
    name = _canonical(given, one.name, child.prefix, as_written=as_written)
    return (Part(one.name, inner, name, given, child.store, child.slot, child),)


def _config(described: Mapping[str, object]) -> Config:
    config = described.get("config")
    return config if isinstance(config, Mapping) else {}


def _class_from_names(classes: KerasClasses, child: Child, names: Mapping[str, str]) -> str | None:
    """Tell the class of a sub-layer from its automatic name, or from that of its cell."""
    given = names.get(child.store, "").removeprefix(child.prefix)
    cell = names.get(f"{child.store}/cell", "")
    return classes.of_automatic(given) or classes.around(classes.of_automatic(cell))


def _canonical(given: str | None, class_name: str, prefix: str, *, as_written: bool) -> str:
    """Return the name of a described sub-layer, numbers of unnamed layers left out."""
    base = snake_case(class_name)
    if given is None:
        return prefix + base
    bare = given.removeprefix(prefix)
    if automatic_number(bare, class_name) is not None:
        bare = base
    return bare if as_written and not given.startswith(prefix) else prefix + bare


def _listed(
    classes: KerasClasses, child: Child, config: Config, names: Mapping[str, str]
) -> tuple[Part, ...] | None:
    described = config.get(child.layer)
    if not isinstance(described, Sequence) or isinstance(described, str):
        return None
    found: list[tuple[str, Config]] = []
    for item in described:
        class_name = item.get("class_name") if isinstance(item, Mapping) else None
        one = classes.find(class_name)
        if one is None:
            return None
        found.append((one.name, _config(item)))
    groups = _groups(class_name for class_name, _ in found)
    stores = [f"{child.store}/{group}" for group in groups]
    given = [
        names.get(store) or inner.get("name")
        for store, (_, inner) in zip(stores, found, strict=True)
    ]
    fresh = renumber(
        [
            (name if name is not None else group, class_name)
            for name, group, (class_name, _) in zip(given, groups, found, strict=True)
        ]
    )
    return tuple(
        Part(class_name, inner, name, given[index], stores[index], f"{child.slot}/{index}", child)
        for index, (name, (class_name, inner)) in enumerate(zip(fresh, found, strict=True))
    )


def _groups(class_names: Iterable[str]) -> list[str]:
    """Return the groups that Keras' saving code gives to a list of layers.

    Source: keras 3.15.1, keras/src/saving/saving_lib.py, ``_save_container_state``.
    """
    counts: dict[str, int] = {}
    groups: list[str] = []
    for class_name in class_names:
        base = snake_case(class_name)
        count = counts.get(base, 0)
        groups.append(f"{base}_{count}" if count else base)
        counts[base] = count + 1
    return groups
