"""Shapes of what operations give: functions that a model calls outside any layer.

Arguments are those of the operation's call in Keras 3, settings are its config. An operation
without a rule has the shapes that the configuration says of them, where it says any.

Source: keras 3.15.1 ``ops/numpy.py``, ``ops/nn.py``, ``ops/core.py``, ``compute_output_spec``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from converter.graph.nodes import Constant, ValueShape, ValueSpec
from converter.graph.shape_rules import Given, Rule, ShapeError, axis_of, broadcast, shape_of
from converter.graph.shapes_features import concatenated, reshaped

_UNARY = """
    Absolute Abs Celu Clip Cos Elu Erf Exp Expm1 Gelu HardSigmoid HardSilu HardSwish HardTanh Log
    Log1p LogSigmoid LogSoftmax LeakyRelu Negative Reciprocal Relu Relu6 Rsqrt Selu Sigmoid Sign
    Silu Sin Softmax Softplus Softsign Sqrt Square Swish Tanh Floor Ceil Round Identity
    StopGradient Flip
"""
_BINARY = "Add Subtract Multiply Divide TrueDivide Maximum Minimum Power Mod FloorDivide"
_COMPARED = "Equal NotEqual Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr"
_REDUCED = "Mean Sum Max Min Prod Var Std Any All Amax Amin"


def _of(value: Any) -> ValueShape:
    """Return the shape of an argument that may be a plain number or an array."""
    if isinstance(value, ValueSpec):
        return shape_of(value)
    nested = value.value if isinstance(value, Constant) else value
    sizes: list[int | None] = []
    while isinstance(nested, list):
        sizes.append(len(nested))
        nested = nested[0] if nested else None
    return tuple(sizes)


def _operand(given: Given, place: int, name: str) -> Any:
    if place < len(given.arguments):
        return given.arguments[place]
    if name in given.keywords:
        return given.keywords[name]
    raise ShapeError(f"it lacks its argument {name}")


def _pair(given: Given) -> tuple[ValueShape, ValueShape]:
    return _of(_operand(given, 0, "x1")), _of(_operand(given, 1, "x2"))


def _unary(given: Given) -> Sequence[ValueSpec]:
    return (ValueSpec(given.shape, given.first.dtype),)


def _binary(given: Given) -> Sequence[ValueSpec]:
    return (ValueSpec(broadcast(*_pair(given)), _promoted(given)),)


def _compared(given: Given) -> Sequence[ValueSpec]:
    return (ValueSpec(broadcast(*_pair(given)), "bool"),)


def _promoted(given: Given) -> str:
    """Return the type of a result: that of the first float among the values, or of the first."""
    found = [value.dtype for value in given.values]
    floats = [dtype for dtype in found if "float" in dtype]
    if floats:
        return max(floats, key=lambda dtype: int("".join(filter(str.isdigit, dtype)) or 0))
    numbers = (*given.arguments, *given.keywords.values())
    return "float32" if any(isinstance(one, float) for one in numbers) else found[0]


def _setting(given: Given, key: str, default: Any = None) -> Any:
    """Return a setting, which older files have among the arguments."""
    return given.config.get(key, given.keywords.get(key, default))


def _axes(value: Any, rank: int) -> list[int]:
    if value is None:
        return list(range(rank))
    return [axis_of(axis, rank) for axis in (value if isinstance(value, list | tuple) else [value])]


def _reduced(given: Given) -> Sequence[ValueSpec]:
    shape = given.shape
    gone = _axes(_setting(given, "axis"), len(shape))
    kept = bool(_setting(given, "keepdims", default=False))
    made = [
        1 if place in gone else size
        for place, size in enumerate(shape)
        if kept or place not in gone
    ]
    name = given.layer.class_name.rpartition(".")[2]
    dtype = given.first.dtype
    if name in ("Any", "All"):
        dtype = "bool"
    elif name in ("Mean", "Var", "Std") and "float" not in dtype:
        dtype = "float32"
    elif name in ("Sum", "Prod") and dtype in ("bool", "int8", "int16"):
        dtype = "int32"
    return (ValueSpec(tuple(made), dtype),)


def _arg_reduced(given: Given) -> Sequence[ValueSpec]:
    found = _reduced(given)
    return (ValueSpec(found[0].shape, "int32"),)


def _matmul(given: Given) -> Sequence[ValueSpec]:
    one, other = _pair(given)
    if len(one) < 2 or len(other) < 2:
        raise ShapeError(f"it multiplies {one} by {other}")
    if given.keywords.get("transpose_a"):
        one = (*one[:-2], one[-1], one[-2])
    if given.keywords.get("transpose_b"):
        other = (*other[:-2], other[-1], other[-2])
    made = (*broadcast(one[:-2], other[:-2]), one[-2], other[-1])
    return (ValueSpec(made, _promoted(given)),)


def _got(given: Given) -> Sequence[ValueSpec]:
    key = _operand(given, 1, "key")
    left: list[int | None] = list(given.shape)
    keys = list(key) if isinstance(key, list | tuple) else [key]
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    place = keys.index(Ellipsis)
    before, after = keys[:place], keys[place + 1 :]
    taken = sum(one is not None for one in after)
    made = _indexed(left, before)
    if taken > len(left):
        raise ShapeError(f"it indexes {given.shape} by {key!r}")
    middle = left[: len(left) - taken]
    rest = left[len(left) - taken :]
    made += middle + _indexed(rest, after)
    return (ValueSpec(tuple(made), given.first.dtype),)


def _indexed(sizes: list[int | None], keys: list[Any]) -> list[int | None]:
    """Return the sizes that keys leave; those that they consume are taken out of ``sizes``."""
    made: list[int | None] = []
    for key in keys:
        if key is None:
            made.append(1)
            continue
        if not sizes:
            raise ShapeError("it has more indices than axes")
        size = sizes.pop(0)
        if isinstance(key, slice):
            made.append(None if size is None else len(range(*key.indices(size))))
        elif type(key) is not int:
            raise ShapeError(f"it indexes by {key!r}")
    return made


def _joined(given: Given) -> Sequence[ValueSpec]:
    return (ValueSpec(concatenated(given), _promoted(given)),)


def _stacked(given: Given) -> Sequence[ValueSpec]:
    values, axis = given.values, _setting(given, "axis", 0)
    made = list(shape_of(values[0]))
    made.insert(axis_of(axis, len(made) + 1), len(values))
    return (ValueSpec(tuple(made), _promoted(given)),)


def _reshape(given: Given) -> Sequence[ValueSpec]:
    target = _setting(given, "newshape")
    if target is None and len(given.arguments) > 1:
        target = given.arguments[1]
    return (ValueSpec(reshaped(given.shape, target), given.first.dtype),)


def _transposed(given: Given) -> Sequence[ValueSpec]:
    shape, axes = given.shape, _setting(given, "axes")
    order = _axes(axes, len(shape)) if axes is not None else list(range(len(shape)))[::-1]
    if sorted(order) != list(range(len(shape))):
        raise ShapeError(f"it orders the axes of {shape} as {axes!r}")
    return (ValueSpec(tuple(shape[axis] for axis in order), given.first.dtype),)


def _swapped(given: Given) -> Sequence[ValueSpec]:
    made = list(given.shape)
    one, other = (axis_of(_setting(given, key), len(made)) for key in ("axis1", "axis2"))
    made[one], made[other] = made[other], made[one]
    return (ValueSpec(tuple(made), given.first.dtype),)


def _expanded(given: Given) -> Sequence[ValueSpec]:
    axis, made = _setting(given, "axis"), list(given.shape)
    axes = list(axis) if isinstance(axis, list | tuple) else [axis]
    rank = len(made) + len(axes)
    for one in sorted(axis_of(one, rank) for one in axes):
        made.insert(one, 1)
    return (ValueSpec(tuple(made), given.first.dtype),)


def _squeezed(given: Given) -> Sequence[ValueSpec]:
    axis, shape = _setting(given, "axis"), given.shape
    gone = _axes(axis, len(shape)) if axis not in (None, []) else None
    made = [
        size
        for place, size in enumerate(shape)
        if (place not in gone if gone is not None else size != 1)
    ]
    return (ValueSpec(tuple(made), given.first.dtype),)


def _split(given: Given) -> Sequence[ValueSpec]:
    shape = list(given.shape)
    axis = axis_of(_setting(given, "axis", 0), len(shape))
    parts, size = _setting(given, "indices_or_sections"), shape[axis]
    if type(parts) is int and parts > 0:
        sizes = [None if size is None else size // parts] * parts
    elif isinstance(parts, list | tuple) and all(type(one) is int for one in parts):
        ends = [0, *parts, size]
        sizes = [
            None if end is None else end - start
            for start, end in itertools.pairwise(ends)
            if start is not None
        ]
    else:
        raise ShapeError(f"it splits into {parts!r}")
    return [ValueSpec((*shape[:axis], one, *shape[axis + 1 :]), given.first.dtype) for one in sizes]


def _cast(given: Given) -> Sequence[ValueSpec]:
    dtype = _setting(given, "dtype") or (given.arguments[1] if len(given.arguments) > 1 else None)
    return (ValueSpec(given.shape, str(dtype or given.first.dtype)),)


def _where(given: Given) -> Sequence[ValueSpec]:
    shapes = [_of(value) for value in given.arguments[:3]]
    if len(shapes) != 3:
        raise ShapeError("it takes a condition and two values")
    chosen = Given(given.layer, given.arguments[1:], given.keywords)
    dtype = _promoted(chosen) if chosen.values else "float32"
    return (ValueSpec(broadcast(broadcast(shapes[0], shapes[1]), shapes[2]), dtype),)


RULES: dict[str, Rule] = {
    **dict.fromkeys(_UNARY.split(), _unary),
    **dict.fromkeys(_BINARY.split(), _binary),
    **dict.fromkeys(_COMPARED.split(), _compared),
    **dict.fromkeys(_REDUCED.split(), _reduced),
    **dict.fromkeys(("Argmax", "Argmin"), _arg_reduced),
    "Matmul": _matmul,
    "GetItem": _got,
    "Concatenate": _joined,
    "Stack": _stacked,
    "Reshape": _reshape,
    "Transpose": _transposed,
    "Swapaxes": _swapped,
    "ExpandDims": _expanded,
    "Squeeze": _squeezed,
    "Split": _split,
    "Cast": _cast,
    "Where": _where,
}
