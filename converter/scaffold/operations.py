"""Operations: functions that a model calls outside any layer (``x * 2``, ``keras.ops.mean``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from converter.errors import UnsupportedFileError
from converter.graph.nodes import Constant, ValueRef
from converter.scaffold.activations import activated, is_known
from converter.scaffold.merging import common_order, joined
from converter.scaffold.program import Code, Literal, Part, Use, call, listed
from converter.scaffold.reshaping import reshaped
from converter.scaffold.scope import Order, Translation, axis_in, literal

_UNARY: Mapping[str, str] = {
    "Absolute": "torch.abs", "Abs": "torch.abs", "Cos": "torch.cos", "Erf": "torch.erf",
    "Exp": "torch.exp", "Expm1": "torch.expm1", "Log": "torch.log", "Log1p": "torch.log1p",
    "Negative": "-", "Reciprocal": "torch.reciprocal", "Rsqrt": "torch.rsqrt",
    "Sign": "torch.sign", "Sin": "torch.sin", "Sqrt": "torch.sqrt", "Square": "torch.square",
    "Floor": "torch.floor", "Ceil": "torch.ceil",
}  # fmt: skip
_ACTIVATIONS: Mapping[str, str] = {
    "Celu": "celu", "Elu": "elu", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu",
    "HardTanh": "hard_tanh", "LogSigmoid": "log_sigmoid", "Relu": "relu", "Relu6": "relu6",
    "Selu": "selu", "Sigmoid": "sigmoid", "Silu": "silu", "Softplus": "softplus",
    "Softsign": "softsign", "Swish": "silu", "Tanh": "tanh", "Mish": "mish",
}  # fmt: skip
_INFIX: Mapping[str, str] = {
    "Add": "+", "Subtract": "-", "Multiply": "*", "Divide": "/", "TrueDivide": "/",
    "FloorDivide": "//", "Power": "**", "Mod": "%", "Equal": "==", "NotEqual": "!=",
    "Greater": ">", "GreaterEqual": ">=", "Less": "<", "LessEqual": "<=",
}  # fmt: skip
_REDUCED: Mapping[str, str] = {
    "Any": "any", "All": "all", "Mean": "mean", "Sum": "sum",
    "Max": "amax", "Min": "amin", "Amax": "amax", "Amin": "amin",
}  # fmt: skip


def operation(t: Translation) -> None:
    """Any operation that has a translation here."""
    name = t.layer.class_name.partition(".")[2]
    if name in _UNARY:
        _unary(t, _UNARY[name])
    elif name in _ACTIVATIONS and is_known(_ACTIVATIONS[name]):
        _activation(t, _ACTIVATIONS[name])
    elif name in _INFIX:
        _infix(t, _INFIX[name])
    elif name in _REDUCED:
        _reduced(t, _REDUCED[name])
    elif name in _OTHERS:
        _OTHERS[name](t)
    else:
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': the operation {name} is not known")


def _setting(t: Translation, key: str, default: Any = None) -> Any:
    return t.config.get(key, t.call.keywords.get(key, default))


def _unary(t: Translation, function: str) -> None:
    order = t.first.own
    use = t.use(order)
    code: Code = ("-", use) if function == "-" else call(function, use)
    t.give(t.write(code), order, channels=t.first.channels)


def _activation(t: Translation, name: str) -> None:
    order = t.first.own
    number = activated(t, t.use(order).value, name, order, t.first.rank)
    t.give(number, order, channels=t.first.channels)


def _operands(t: Translation) -> tuple[list[Part | Code], Order]:
    """Return the arguments of an operation on values, numbers and arrays in one order."""
    values = t.values()
    arrays = any(isinstance(one, Constant) and _is_array(one) for one in _given(t))
    order = "keras" if arrays else common_order(values)
    parts: list[Part | Code] = []
    for one in _given(t):
        if isinstance(one, ValueRef):
            parts.append(t.scope.use(t.scope.value(one), order))
        else:
            parts.append(literal(one))
    return parts, order


def _given(t: Translation) -> list[Any]:
    return [*t.call.arguments, *t.call.keywords.values()]


def _is_array(one: Constant) -> bool:
    return isinstance(one.value, list)


def _infix(t: Translation, operator: str) -> None:
    (first, second, *_), order = _operands(t)
    one = first if isinstance(first, tuple) else (first,)
    two = second if isinstance(second, tuple) else (second,)
    channels = t.first.channels if order == "flat" else None
    t.give(t.write((*one, f" {operator} ", *two)), order, channels=channels)


def _pairwise(function: str) -> Callable[[Translation], None]:
    def made(t: Translation) -> None:
        parts, order = _operands(t)
        t.give(t.write(call(function, *map(_as_tensor, parts))), order)

    return made


def _as_tensor(part: Part | Code) -> Part | Code:
    if isinstance(part, Literal):
        return call("torch.tensor", part)
    return part


def _reduced(t: Translation, function: str) -> None:
    axes = _setting(t, "axis")
    rank = t.first.rank
    keep = bool(_setting(t, "keepdims"))
    axes = list(range(rank)) if axes is None else [axes] if isinstance(axes, int) else list(axes)
    order = t.first.own if keep or _leaves_vector(t, axes) else "keras"
    order = "keras" if order == "flat" else order
    places = tuple(sorted(axis_in(axis, rank, order) for axis in axes))
    dims = Literal(places[0] if len(places) == 1 else places)
    kept = (", keepdim=True",) if keep else ()
    number = t.write((t.use(order), f".{function}(", dims, *kept, ")"))
    t.give(number, order if keep else "keras")


def _leaves_vector(t: Translation, axes: list[int]) -> bool:
    """Whether what is left has one order only: the batch and the channels."""
    rank = t.first.rank
    return {axis % rank for axis in axes} == set(range(1, rank - 1))


def _softmax(t: Translation, function: str = "F.softmax") -> None:
    order = t.first.own
    place = axis_in(_setting(t, "axis", -1), t.first.rank, order)
    dim = Literal(-1 if place == t.first.rank - 1 else place)
    t.give(t.write(call(function, t.use(order), dim=dim)), order, channels=t.first.channels)


def _gelu(t: Translation) -> None:
    # keras.ops.gelu is approximate by default, the activation "gelu" is not.
    approximate = _setting(t, "approximate", default=True)
    settings = {"approximate": Literal("tanh")} if approximate else {}
    order = t.first.own
    t.give(t.write(call("F.gelu", t.use(order), **settings)), order, channels=t.first.channels)


def _leaky_relu(t: Translation) -> None:
    order = t.first.own
    slope = Literal(_setting(t, "negative_slope", 0.2), "negative_slope")
    t.give(t.write(call("F.leaky_relu", t.use(order), slope)), order)


def _clip(t: Translation) -> None:
    order = t.first.own
    given = list(t.call.arguments[1:])
    low = _setting(t, "x_min", given[0] if given else None)
    high = _setting(t, "x_max", given[1] if len(given) > 1 else None)
    code = (t.use(order), ".clamp(", Literal(low), ", ", Literal(high), ")")
    t.give(t.write(code), order, channels=t.first.channels)


def _get_item(t: Translation) -> None:
    key = t.call.arguments[1]
    items = list(key) if isinstance(key, list | tuple) else [key]
    shown = ", ".join(_index_text(item) for item in items)
    t.give(t.write((t.use("keras"), f"[{shown}]")), "keras")


def _index_text(item: Any) -> str:
    if isinstance(item, slice):
        text = ":".join("" if one is None else str(one) for one in (item.start, item.stop))
        return text if item.step in (None, 1) else f"{text}:{item.step}"
    if item is Ellipsis:
        return "..."
    if isinstance(item, int) or item is None:
        return str(item)
    raise UnsupportedFileError(f"cannot scaffold an index of type {type(item).__name__}")


def _reshape(t: Translation) -> None:
    t.give(t.write(reshaped(t.use("keras"), t.output())), "keras")


def _transpose(t: Translation) -> None:
    axes = _setting(t, "axes") or list(reversed(range(t.first.rank)))
    t.give(t.write((t.use("keras"), ".permute", *listed(axes, "axis"))), "keras")


def _swap(t: Translation) -> None:
    one, two = _setting(t, "axis1"), _setting(t, "axis2")
    t.give(t.write((t.use("keras"), f".transpose({one}, {two})")), "keras")


def _expand(t: Translation) -> None:
    axes = _setting(t, "axis")
    number = t.use("keras").value
    for axis in axes if isinstance(axes, list) else [axes]:
        number = t.write((Use(number), f".unsqueeze({axis})"))
    t.give(number, "keras")


def _squeeze(t: Translation) -> None:
    axes = _setting(t, "axis")
    axes = axes if isinstance(axes, list) else [axes]
    t.give(t.write((t.use("keras"), ".squeeze(", Literal(tuple(axes)), ")")), "keras")


def _cast(t: Translation) -> None:
    dtype = str(_setting(t, "dtype", "float32"))
    order = t.first.own
    t.give(t.write((t.use(order), f".to(torch.{dtype})")), order, channels=t.first.channels)


def _same(t: Translation) -> None:
    t.scope.put(ValueRef(t.call.name, 0), t.first)


def _concatenate(t: Translation) -> None:
    joined(t, int(_setting(t, "axis", -1)))


def _stack(t: Translation) -> None:
    uses = [t.scope.use(value, "keras") for value in t.values()]
    parts: list[Part] = ["["]
    for index, use in enumerate(uses):
        parts += [", "] if index else []
        parts.append(use)
    code = call("torch.stack", (*parts, "]"), Literal(int(_setting(t, "axis", 0))))
    t.give(t.write(code), "keras")


def _split(t: Translation) -> None:
    axis = int(_setting(t, "axis", 0))
    sizes = tuple(spec.shape[axis] for spec in t.call.outputs if spec.shape is not None)
    code = (t.use("keras"), ".split(", Literal(list(sizes)), ", ", Literal(axis), ")")
    for index, number in enumerate(t.scope.write_several(code, len(sizes), t.call.name)):
        t.give(number, "keras", index)


_OTHERS: Mapping[str, Callable[[Translation], None]] = {
    "Softmax": _softmax,
    "LogSoftmax": lambda t: _softmax(t, "F.log_softmax"),
    "Gelu": _gelu,
    "LeakyRelu": _leaky_relu,
    "Clip": _clip,
    "Maximum": _pairwise("torch.maximum"),
    "Minimum": _pairwise("torch.minimum"),
    "Matmul": _pairwise("torch.matmul"),
    "GetItem": _get_item,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Swapaxes": _swap,
    "ExpandDims": _expand,
    "Squeeze": _squeeze,
    "Cast": _cast,
    "Identity": _same,
    "StopGradient": _same,
    "Concatenate": _concatenate,
    "Stack": _stack,
    "Split": _split,
}
