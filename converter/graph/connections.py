"""What ``inbound_nodes`` says, of every Keras: which values each call of a layer takes.

Keras 3 writes the arguments of a call with a ``__keras_tensor__`` in place of each value, and says
its shape there. Keras 1 and 2 write ``[layer, call, output]``, with keywords behind where there are
any, for each value, in lists or dicts as the layer takes them. Both become arguments with a
:class:`Reference` in place of each value.

Source: keras 3.15.1 ``models/functional.py``, ``saving/serialization_lib.py``; tf_keras 2.21
``engine/node.py``, ``Node.serialize``; keras 1.2.2 ``engine/topology.py``, ``get_config``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.graph.nested import found_in
from converter.graph.nodes import Constant, ValueSpec

_CONSTANT = "_CONSTANT_VALUE"  # tf.keras, in place of a layer's name: the value itself follows


class MalformedError(Exception):
    """A configuration that says no graph; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One value, as a configuration names it.

    Attributes:
        layer: Name of the layer that gives it.
        node: Which of the layer's calls, as written.
        tensor: Which of its outputs.
    """

    layer: str
    node: int
    tensor: int


@dataclass(slots=True)
class WrittenCall:
    """One call of a layer, as written.

    Attributes:
        arguments: Its positional arguments.
        keywords: Its keyword arguments.
        said: What the configuration says of values that the call takes.
    """

    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = field(default_factory=dict)
    said: dict[Reference, ValueSpec] = field(default_factory=dict)

    def references(self) -> Iterator[Reference]:
        """Yield every value that the call takes."""
        yield from found_in((self.arguments, self.keywords), Reference)


def written_calls(nodes: object, names: frozenset[str]) -> list[WrittenCall]:
    """Return the calls of a layer.

    Args:
        nodes: Its ``inbound_nodes``.
        names: Names of the layers of the model.

    Raises:
        MalformedError: If they are not such.
    """
    if nodes is None:
        return []
    if not isinstance(nodes, list):
        raise MalformedError(f"its inbound_nodes are a {type(nodes).__name__}, not a list")
    return [_call(node, names) for node in nodes]


def _call(node: object, names: frozenset[str]) -> WrittenCall:
    if isinstance(node, dict) and {"args", "kwargs"} <= node.keys():
        return _call_of_keras_3(node)
    call = WrittenCall()
    argument = _written_before(node, names, call)
    if isinstance(argument, list) and len(argument) == 1:
        argument = argument[0]
    call.arguments = (argument,)
    if not any(True for _ in call.references()):
        raise MalformedError("a call of it takes no value")
    return call


def _call_of_keras_3(node: Mapping[str, Any]) -> WrittenCall:
    args, kwargs = node["args"], node["kwargs"]
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise MalformedError("the arguments of a call are no list and object")
    call = WrittenCall()
    call.arguments = tuple(_revived(item, call.said) for item in args)
    call.keywords = {key: _revived(item, call.said) for key, item in kwargs.items()}
    return call


def _revived(value: Any, said: dict[Reference, ValueSpec]) -> Any:
    """Return an argument as Keras 3 would pass it on, values as references."""
    if isinstance(value, list):
        return [_revived(item, said) for item in value]
    if not isinstance(value, dict):
        return value
    config = value.get("config")
    if isinstance(config, dict) and str(value.get("class_name")).startswith("__"):
        return _revived_object(str(value["class_name"]), config, said)
    return {key: _revived(item, said) for key, item in value.items()}


def _revived_object(kind: str, config: Mapping[str, Any], said: dict[Reference, ValueSpec]) -> Any:
    """Return what JSON has no word for and Keras describes by an object."""
    made: Any = {"class_name": kind, "config": config}
    if kind == "__keras_tensor__":
        made = _reference(config.get("keras_history"))
        said[made] = _said(config)
    elif kind == "__slice__":
        made = slice(*(_revived(config.get(key), said) for key in ("start", "stop", "step")))
    elif kind == "__ellipsis__":
        made = Ellipsis
    elif kind == "__tuple__":
        made = tuple(_revived(item, said) for item in config.get("value") or ())
    elif kind in ("__tensor__", "__numpy__"):
        made = Constant(config.get("value"), str(config.get("dtype")))
    return made


def _reference(value: object) -> Reference:
    if not is_reference(value) or not isinstance(value, list):
        raise MalformedError("a value in it has no keras_history of name and two numbers")
    return Reference(value[0], value[1], value[2])


def _said(config: Mapping[str, Any]) -> ValueSpec:
    shape, dtype = config.get("shape"), config.get("dtype")
    return ValueSpec(read_shape(shape), dtype if isinstance(dtype, str) else "float32")


def read_shape(value: object) -> tuple[int | None, ...] | None:
    """Return a shape that a configuration says; ``None`` where it is none."""
    if isinstance(value, dict):  # tf.keras 2.13 and later: {"class_name": "TensorShape", ...}
        inner = value.get("items") or (value.get("config") or {})
        value = inner if isinstance(inner, list) else None
    if not isinstance(value, list | tuple):
        return None
    if not all(size is None or (type(size) is int and size >= 0) for size in value):
        return None
    return tuple(value)


def is_reference(value: object) -> bool:
    """Whether it is ``[layer name, call, output, ...]``."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and type(value[1]) is int
        and type(value[2]) is int
    )


def _written_before(value: object, names: frozenset[str], call: WrittenCall) -> Any:
    """Return what stands in a node of Keras 1 or 2; keywords go to the call."""
    if isinstance(value, list) and value and value[0] == _CONSTANT and len(value) >= 3:
        _take_keywords(value[3] if len(value) > 3 else None, names, call)
        return value[2]
    if isinstance(value, list) and is_reference(value):
        _take_keywords(value[3] if len(value) > 3 else None, names, call)
        return Reference(value[0], value[1], value[2])
    if isinstance(value, list):
        return [_written_before(item, names, call) for item in value]
    if isinstance(value, dict):
        return {key: _written_before(item, names, call) for key, item in value.items()}
    raise MalformedError(f"a {type(value).__name__} stands where a value is named")


def _take_keywords(value: object, names: frozenset[str], call: WrittenCall) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            call.keywords[key] = _keyword(item, names)


def _keyword(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, list):
        if is_reference(value) and len(value) == 3 and value[0] in names:
            return Reference(value[0], value[1], value[2])
        return [_keyword(item, names) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"start", "stop", "step"}:  # of a SlicingOpLambda
            return slice(*(_keyword(value[key], names) for key in ("start", "stop", "step")))
        return {key: _keyword(item, names) for key, item in value.items()}
    return value
