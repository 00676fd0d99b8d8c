"""Hyperparameters that a mapping requires, compared with those of both models.

What a model has is taken down as plain values first, since the Keras one may be in another process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Dict
from functools import reduce
from typing import Any

from converter.live.keras_names import name_all
from converter.live.keras_structure import record
from converter.live.keras_walk import walk
from converter.mapping.catalogue import load_catalogue
from converter.mapping.rules import Mapping, Requirement
from converter.mapping.template import Template

_ABSENT = object()
Parts = Dict[str, Dict[str, Any]]


def keras_parts(model: Any, attributes: Iterable[str]) -> Parts:
    """Return path of each layer of a live Keras model to those attributes that it has."""
    named = name_all(walk(model), record(model), load_catalogue()).objects
    return _parts(named, attributes)


def torch_parts(module: Any, attributes: Iterable[str]) -> Parts:
    """Return name of each part of a live ``torch.nn.Module`` to those attributes that it has."""
    return _parts(dict(module.named_modules()), attributes)


def _parts(named: Dict[str, Any], attributes: Iterable[str]) -> Parts:
    paths = list(attributes)
    found = {name: {path: _attribute(one, path) for path in paths} for name, one in named.items()}
    return {
        name: {path: value for path, value in values.items() if value is not _ABSENT}
        for name, values in found.items()
    }


def attributes_of(mapping: Mapping, side: str) -> list[str]:
    """Return every attribute of one side that a mapping requires something of."""
    return sorted({one.attribute for one in mapping.requirements if one.side == side} - {""})


def unmet_requirements(mapping: Mapping, keras_model: Any, torch_module: Any) -> list[str]:
    """Return what two live models lack; see :func:`unmet`."""
    keras = keras_parts(keras_model, attributes_of(mapping, "keras"))
    return unmet(mapping, keras, torch_parts(torch_module, attributes_of(mapping, "torch")))


def unmet(mapping: Mapping, keras: Parts, torch: Parts) -> list[str]:
    """Return what equal weights need and one of the models does not have, as whole sentences.

    A requirement about layers that the models lack, or about an attribute that its object lacks,
    is not met either, as nothing shows that it is.

    Args:
        mapping: The mapping with its requirements.
        keras: What the Keras model has of :func:`attributes_of`, see :func:`keras_parts`.
        torch: What the PyTorch module has of them, see :func:`torch_parts`.
    """
    named = {"keras": keras, "torch": torch}
    sentences = []
    for requirement in mapping.requirements:
        differences = list(_differences(requirement, mapping, named[requirement.side]))
        if differences:
            more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
            sentences.append(f"{differences[0]}{more}: {requirement.why}.")
    return sentences


def concerned(requirement: Requirement, mapping: Mapping, names: Iterable[str]) -> list[str]:
    """Return the names of layers or modules that a requirement is about.

    Args:
        requirement: By name, or by the kind of the rules that name what it is about.
        mapping: The mapping that it is of.
        names: Paths of all layers, or names of all modules, of its side.
    """
    texts = [requirement.name]
    if requirement.kind is not None:
        side = requirement.side
        texts = [
            rule.keras if side == "keras" else rule.torch
            for rule in mapping.rules
            if rule.kind == requirement.kind
        ]
    templates = [Template.parse(text, mapping.tables, requirement.side) for text in texts]
    prefixes = mapping.prefixes if requirement.side == "torch" else mapping.keras_prefixes
    return [
        name
        for name in names
        if any(
            one.match(bare) is not None
            for one in templates
            for bare in (name, *_without(name, prefixes))
        )
    ]


def _without(name: str, prefixes: Iterable[str]) -> list[str]:
    return [name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)]


def _differences(requirement: Requirement, mapping: Mapping, named: Parts) -> Iterator[str]:
    wanted = f"'{requirement.attribute}' must be {requirement.equals!r}"
    matched = concerned(requirement, mapping, named)
    if requirement.is_absent:
        yield from (f"there must be no '{name}'" for name in matched)
        return
    if not matched:
        what = f"is called '{requirement.name}'" if requirement.kind is None else "has that kind"
        yield f"no part of the model {what}, whose {wanted}"
    for name in matched:
        found = named[name].get(requirement.attribute, _ABSENT)
        if found is _ABSENT:
            yield f"'{name}' does not show its '{requirement.attribute}'; {wanted}"
        elif _plain(found) != _plain(requirement.equals):
            yield f"'{name}': {wanted}, and is {found!r}"


def _attribute(value: Any, path: str) -> Any:
    return reduce(lambda found, part: getattr(found, part, _ABSENT), path.split("."), value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
