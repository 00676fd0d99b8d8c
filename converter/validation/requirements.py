"""Hyperparameters that a mapping requires, compared with those of two live models."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

from converter.mapping.rules import Mapping, Requirement
from converter.mapping.template import Template

_ABSENT = object()


def unmet_requirements(mapping: Mapping, keras_model: Any, torch_module: Any) -> list[str]:
    """Return what equal weights need and one of the models does not have, as whole sentences.

    A requirement about layers that the models lack, or about an attribute that its object lacks,
    is not met either, as nothing shows that it is.

    Args:
        mapping: The mapping with its requirements.
        keras_model: A live Keras model.
        torch_module: A live ``torch.nn.Module``.
    """
    named = {"keras": dict(_layers(keras_model)), "torch": dict(torch_module.named_modules())}
    sentences = []
    for requirement in mapping.requirements:
        differences = list(_differences(requirement, mapping, named[requirement.side]))
        if differences:
            more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
            sentences.append(f"{differences[0]}{more}: {requirement.why}.")
    return sentences


def _differences(
    requirement: Requirement, mapping: Mapping, named: dict[str, Any]
) -> Iterator[str]:
    template = Template.parse(requirement.name, mapping.tables, requirement.side)
    wanted = f"'{requirement.attribute}' must be {requirement.equals!r}"
    matched = [name for name in named if template.match(name) is not None]
    if requirement.is_absent:
        yield from (f"there must be no '{name}'" for name in matched)
        return
    if not matched:
        yield f"no part of the model is called '{requirement.name}', whose {wanted}"
    for name in matched:
        found = _attribute(named[name], requirement.attribute)
        if found is _ABSENT:
            yield f"'{name}' does not show its '{requirement.attribute}'; {wanted}"
        elif _plain(found) != _plain(requirement.equals):
            yield f"'{name}': {wanted}, and is {found!r}"


def _layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for layer in getattr(model, "layers", ()):
        path = f"{prefix}{layer.name}"
        yield path, layer
        yield from _layers(layer, f"{path}/")


def _attribute(value: Any, path: str) -> Any:
    return reduce(lambda found, part: getattr(found, part, _ABSENT), path.split("."), value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
