"""A graph becomes classes: inputs, every call in order, outputs; models in it are classes too."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from converter.errors import UnsupportedFileError
from converter.graph.nodes import Call, Graph, Layer, ValueRef
from converter.mapping.naming import module_name
from converter.scaffold.dense import called_parts
from converter.scaffold.orders import input_order, output_order
from converter.scaffold.program import (
    Attr,
    Code,
    Literal,
    Part,
    Program,
    Statement,
    Use,
    applied,
    call,
)
from converter.scaffold.scope import Order, Scope, Shared, Translation, Value, ordered
from converter.scaffold.table import KEEP_MASK, translator

_WRAPPERS = frozenset({"TimeDistributed", "SpectralNormalization"})


def translate(graph: Graph, name: str, shared: Shared, prefix: str = "") -> Program:
    """Return the class of a model; those of models in it are finished before it.

    Args:
        graph: The model.
        name: Name of its class.
        shared: What all classes of the file share.
        prefix: Path of the model, with a slash at its end; empty for the outermost.
    """
    shared.class_names.add(name)
    scope = Scope(graph, Program(name), prefix, shared)
    _arguments(scope)
    for one in graph.calls:
        layer = scope.layers[one.layer]
        if layer.class_name != "InputLayer":
            _call(scope, one, layer)
    _returns(scope)
    scope.program.doc = _doc(scope)
    shared.programs.append(scope.program)
    return scope.program


def _arguments(scope: Scope) -> None:
    graph = scope.graph
    taken: set[str] = set()
    for ref in graph.inputs:
        shape = _spec(graph, ref)
        name = "x" if len(graph.inputs) == 1 else _argument_name(scope, ref, taken)
        taken.add(name)
        scope.argument(ref, name, shape, input_order(graph, ref))


def _argument_name(scope: Scope, ref: ValueRef, taken: set[str]) -> str:
    path = next(call.layer for call in scope.graph.calls if call.name == ref.call)
    name = module_name(path.removeprefix(scope.prefix)).rpartition(".")[2]
    while name in taken:
        name += "_"
    return name


def _spec(graph: Graph, ref: ValueRef) -> tuple[int | None, ...]:
    found = next(call for call in graph.calls if call.name == ref.call)
    shape = found.outputs[ref.index].shape
    if shape is None:
        raise UnsupportedFileError(f"cannot scaffold '{graph.name}': an input has no shape")
    return shape


def _call(scope: Scope, one: Call, layer: Layer) -> None:
    t = Translation(scope, one, layer, layer.path)
    marks = len(scope.program.statements), len(scope.program.members)
    try:
        _translated(t)
    except UnsupportedFileError as error:
        del scope.program.statements[marks[0] :]
        del scope.program.members[marks[1] :]
        _stub(t, error.summary)
        return
    made = scope.value(ValueRef(one.name, 0))
    if layer.class_name in KEEP_MASK and made.mask is None and t.refs():
        made.mask = t.first.mask


def _translated(t: Translation) -> None:
    layer = t.layer
    own = t.scope.shared.custom.get(layer.class_name)
    if own is not None:
        own(t)
        return
    if layer.untranslatable:
        raise UnsupportedFileError(layer.untranslatable)
    if layer.model is not None:
        _model(t, layer.model)
        return
    if layer.class_name in _WRAPPERS and layer.inner is not None:
        _wrapped(t, layer.inner)
        return
    found = translator(layer.class_name)
    if found is None:
        raise UnsupportedFileError(f"the class {layer.class_name} has no translation")
    found(t)


def _wrapped(t: Translation, inner: Layer) -> None:
    """Translate the layer that a wrapper holds, under the wrapper's name."""
    if t.layer.class_name == "SpectralNormalization":
        _translated(replace(t, layer=inner))
        return
    if inner.class_name in ("Dense", "Activation", "Dropout", "LayerNormalization"):
        _translated(replace(t, layer=inner))  # they work on the last axis anyway
        return
    _each_step(t, inner)


def _each_step(t: Translation, inner: Layer) -> None:
    """Run a layer on every step: time is folded into the batch."""
    shape, result = t.first.shape, t.output()
    scope = t.scope
    folded = scope.write((t.use("keras"), ".flatten(0, 1)"), t.call.name)
    before, after = ValueRef(f"{t.call.name} steps", 0), f"{t.call.name} step"
    scope.put(before, Value((None, *shape[2:]), "keras", {"keras": folded}))
    spec = replace(t.call.outputs[0], shape=(None, *result[2:]))
    step = Call(after, t.call.layer, (before,), {}, (spec,))
    _translated(replace(t, call=step, layer=inner))
    made = scope.use(scope.value(ValueRef(after, 0)), "keras")
    steps = shape[1] if shape[1] is not None else -1
    whole: tuple[Part, ...] = (made, f".unflatten(0, (-1, {steps}))")
    if steps == -1:
        whole = (made, ".unflatten(0, ", t.use("keras"), ".shape[:2])")
    t.give(t.write(whole), "keras")


def _model(t: Translation, graph: Graph) -> None:
    """Translate a model in the model: a class of its own, one member, one call."""
    scope = t.scope
    name = class_name(graph.name, scope.shared.class_names)
    known = {member.name for member in scope.program.members}
    attribute = module_name(t.path.removeprefix(scope.prefix))
    if attribute not in known:
        translate(graph, name, scope.shared, f"{t.layer.path}/")
    orders = [input_order(graph, ref) for ref in graph.inputs]
    uses: list[Part | Code] = [
        t.scope.use(value, order) for value, order in zip(t.values(), orders, strict=True)
    ]
    if t.layer.path == t.path:
        code = applied(t.member(call(name)), *uses)
    else:  # inside a wrapper, whose name comes before its own
        below = module_name(t.layer.path).rpartition(".")[2]
        member = t.member(called_parts({below: call(name)}))
        code = (Attr(member), f'["{below}"]', *call("", *uses)[1:])
    outputs: list[Order] = [output_order(graph, ref) for ref in graph.outputs]
    if len(outputs) == 1:
        t.give(t.write(code), outputs[0])
        return
    numbers = scope.write_several(code, len(outputs), t.call.name)
    for index, (number, order) in enumerate(zip(numbers, outputs, strict=True)):
        t.give(number, order, index)


def class_name(name: str, taken: set[str]) -> str:
    """Return a name for the class of a model."""
    words = re.findall(r"[A-Za-z0-9]+", name)
    made = "".join(word[:1].upper() + word[1:] for word in words) or "Model"
    made = made if made[0].isalpha() else f"Model{made}"
    while made in taken:
        made += "_"
    return made


def _stub(t: Translation, why: str) -> None:
    """Put a module in the place of a layer that says what it was and does nothing."""
    scope = t.scope
    name = class_name(f"{t.layer.class_name} {t.path} stub", scope.shared.class_names)
    if t.path not in scope.shared.stubs:  # a layer may be called several times
        scope.shared.stubs[t.path] = why
        scope.shared.class_names.add(name)
        t.snippet("Untranslated")
        lines = [f"{t.layer.class_name} '{t.path}': {why}.", "", "Its configuration:", ""]
        lines += [f"    {key}: {_shown(value)}" for key, value in t.config.items()]
        scope.shared.programs.append(Program(name, lines))
    member = t.member(call(name, *_weights(t)))
    uses: list[Part | Code] = [scope.use(value, value.own) for value in t.values()]
    number = t.write(applied(member, *uses))
    for index, spec in enumerate(t.call.outputs or ()):
        shape = spec.shape if spec.shape is not None else t.first.shape
        order: Order = "first" if len(shape) in (4, 5) else "keras"
        value = Value(shape, order, {order: number})
        scope.put(ValueRef(t.call.name, index), value)


def _weights(t: Translation) -> list[Code]:
    """Return names and shapes of the converted weights of a layer, as an argument if there are."""
    above = f"{module_name(t.path)}."
    held = {
        name.removeprefix(above): shape
        for name, shape in t.scope.shared.state().items()
        if name.startswith(above)
    }
    parts: list[Part] = []
    for name, shape in held.items():
        parts += [", " if parts else "{", f'"{name}": ', Literal(shape)]
    return [(*parts, "}")] if parts else []


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    text = text.encode("ascii", "backslashreplace").decode().replace('"""', "'''")
    return text.replace("\\", "/") if len(text) <= 70 else text[:67].replace("\\", "/") + "..."


def _returns(scope: Scope) -> None:
    graph = scope.graph
    parts: list[Part] = []
    for index, ref in enumerate(graph.outputs):
        parts += [", "] if index else []
        parts.append(scope.use(scope.value(ref), output_order(graph, ref)))
    scope.program.returns = tuple(parts)


def _doc(scope: Scope) -> list[str]:
    """Return the docstring: what goes in, what comes out."""
    graph = scope.graph
    lines = [f"The Keras model '{graph.name}'.", ""]
    lines += [
        f"Input{_named(argument.name, len(scope.program.arguments))}: {argument.shape}."
        for argument in scope.program.arguments
    ]
    for ref in graph.outputs:
        shape = ordered(scope.value(ref).shape, output_order(graph, ref))
        sizes = ", ".join(["batch", *("*" if size is None else str(size) for size in shape[1:])])
        lines.append(f"Output: ({sizes}).")
    return lines


def _named(name: str, count: int) -> str:
    return f" {name}" if count > 1 else ""


def unused(statements: list[Statement], returns: Code) -> list[Statement]:
    """Return the statements without those whose values nobody reads."""
    wanted = {part.value for part in returns if isinstance(part, Use)}
    kept: list[Statement] = []
    for one in reversed(statements):
        if any(target in wanted for target in one.targets):
            wanted |= set(one.uses())
            targets = tuple(target if target in wanted else None for target in one.targets)
            kept.append(replace(one, targets=targets))
    return kept[::-1]
