"""Build a model as a mapping file says: a factory, arguments that are built too, parts replaced.

Constructors take other objects (a classifier its backbone, torchvision's ConvNeXt a list of block
configurations), and a twin's head may have to go; TOML says both without a line of Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converter.errors import UsageError
from converter.live.factory import build, find
from converter.mapping.rules import Source
from converter.tensors.manifest import Family

_FACTORY = frozenset({"factory", "arguments"})
_OBJECT = frozenset({"object"})


def build_source(source: Source, *, family: Family, meta: bool = False) -> Any:
    """Build one side of a mapping.

    Args:
        source: The factory. An argument ``{ factory = ..., arguments = ... }`` is built first, also
            inside of lists; ``{ object = "package.module:name" }`` is what the text names.
        family: Which side it is.
        meta: Whether values are not needed, see :func:`converter.live.factory.build`.

    Raises:
        UsageError: If something cannot be built, or a module to be replaced is not there.
        MissingDependencyError: If a package is not installed.
    """
    model = build(source.factory, _arguments(source.arguments, meta=meta), family=family, meta=meta)
    for name, other in source.replace.items():
        try:
            model.get_submodule(name)
        except AttributeError as error:
            raise UsageError(
                f"cannot build '{source.factory}': it has no module '{name}' to be replaced"
            ) from error
        model.set_submodule(name, _made(other.factory, other.arguments, meta=meta))
    return model


def _arguments(arguments: Mapping[str, Any], *, meta: bool) -> dict[str, Any]:
    return {name: _value(value, meta=meta) for name, value in arguments.items()}


def _value(value: Any, *, meta: bool) -> Any:
    if isinstance(value, list):
        return [_value(one, meta=meta) for one in value]
    if not isinstance(value, dict):
        return value
    if "factory" in value and value.keys() <= _FACTORY:
        return _made(value["factory"], value.get("arguments", {}), meta=meta)
    if value.keys() == _OBJECT:
        return find(value["object"])
    return _arguments(value, meta=meta)


def _made(factory: str, arguments: Mapping[str, Any], *, meta: bool) -> Any:
    return build(factory, _arguments(arguments, meta=meta), meta=meta, any_kind=True)
