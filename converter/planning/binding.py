"""A slot of a kind and known shapes become one operation, always from Keras to PyTorch.

The other direction is that operation's inverse, so every axis size is put into it: an inverse must
not depend on shapes that are seen only on the way there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from converter.algebra.base import Operation
from converter.algebra.chain import chain
from converter.algebra.computed import Computed, Count, Frequencies
from converter.algebra.copies import TakeOne
from converter.algebra.joins import PadRows, SignedSum, SplitSum, Unstack
from converter.algebra.pattern import Pattern
from converter.algebra.rearrange import Rearrange, identity
from converter.algebra.row_parts import JoinRows
from converter.algebra.shared_rows import ShareRow
from converter.algebra.values import Constant, Derive, Discard, Expect, Offset, Scale
from converter.errors import OperationError, UndeterminedError, shape_text
from converter.mapping.slots import Scalar, Slot
from converter.tensors.dtype import DType, Shape, get_dtype
from converter.tensors.spec import TensorSpec


def bind_slot(
    slot: Slot,
    *,
    keras: Sequence[TensorSpec] | None,
    torch: Sequence[TensorSpec] | None,
    sizes: Mapping[str, int],
) -> Operation:
    """Return the operation from the Keras tensors of a slot to the PyTorch ones.

    Args:
        slot: The slot.
        keras: Specs of the Keras tensors, ``()`` where that side lacks them, ``None`` where it is
            not known yet.
        torch: Specs of the PyTorch tensors, likewise.
        sizes: Sizes of pattern axes; names of other axes are passed over.

    Raises:
        OperationError: If the shapes do not fit the slot or each other, leave the size of an axis
            open, or if the Keras tensors are those of a quantised layer.

    Examples:
        >>> kernel = TensorSpec("dense/kernel", (5, 3), get_dtype("float32"))
        >>> slot = Slot(("kernel",), ("weight",), "in out -> out in")
        >>> operation = bind_slot(slot, keras=[kernel], torch=None, sizes={})
        >>> operation.infer([kernel.shape])
        ((3, 5),)
    """
    if slot.pattern is not None:
        _refuse_quantized(keras or ())
    one_sided = _one_sided(slot, keras, torch, sizes)
    if one_sided is not None:
        return one_sided
    keras_shapes, torch_shapes = _shapes(keras), _shapes(torch)
    if slot.operation in {None, "constant"}:
        return _moved(slot, len(slot.torch), keras_shapes, torch_shapes, sizes)
    join = _JOINS.get(slot.operation)
    if join is not None:
        return join(slot, keras_shapes, torch_shapes, sizes)
    make_rows = _ROWS.get(slot.operation or "")
    if make_rows is not None:
        count = int(_number(slot))
        inner = _without_rows(torch_shapes, count)
        return chain(_moved(slot, 1, keras_shapes, inner, sizes), make_rows(count))
    make = _ELEMENTWISE.get(slot.operation or "")
    if make is None:
        raise OperationError(f"no operation is called '{slot.operation}'")
    return chain(_moved(slot, 1, keras_shapes, torch_shapes, sizes), make(_number(slot)))


def _stacked(
    slot: Slot,
    keras: Sequence[Shape] | None,
    torch: Sequence[Shape] | None,
    sizes: Mapping[str, int],
) -> Operation:
    """Return the operation where the PyTorch tensors are the entries of one tensor's first axis."""
    count = len(slot.torch)
    inner = [(count, *torch[0])] if torch else None
    return chain(_moved(slot, 1, keras, inner, sizes), Unstack(count))


def _copied(
    slot: Slot,
    keras: Sequence[Shape] | None,
    torch: Sequence[Shape] | None,
    sizes: Mapping[str, int],
) -> Operation:
    """Return the operation where Keras keeps one tensor several times."""
    count = len(slot.keras)
    if keras is not None:
        keras = TakeOne(count).infer(keras)
    single = replace(slot, keras=slot.keras[:1])
    return chain(TakeOne(count), _moved(single, 1, keras, torch, sizes))


_ROWS: Mapping[str, Callable[[int], Operation]] = {"rows": PadRows, "shared_row": ShareRow}
_ELEMENTWISE: Mapping[str, Callable[[float], Operation]] = {"offset": Offset, "scale": Scale}


def _shapes(specs: Sequence[TensorSpec] | None) -> list[Shape] | None:
    return None if specs is None else [spec.shape for spec in specs]


def _moved(
    slot: Slot,
    num_targets: int,
    keras: Sequence[Shape] | None,
    torch: Sequence[Shape] | None,
    sizes: Mapping[str, int],
) -> Operation:
    """Return the part of the operation that the pattern says."""
    if slot.pattern is not None:
        pattern = Pattern.parse(slot.pattern, len(slot.keras), num_targets)
        return Rearrange(pattern, pattern.unify(keras, torch, sizes))
    if len(slot.keras) != 1 or num_targets != 1:
        raise OperationError("tensors cannot be joined without an axis pattern")
    known = keras if keras is not None else torch
    if known is None:
        return chain()
    if keras is not None and torch is not None and list(keras) != list(torch):
        raise OperationError(
            "the shapes must be equal, and are not",
            facts=[("Keras", shape_text(keras[0])), ("PyTorch", shape_text(torch[0]))],
        )
    return identity(known[0])


def _refuse_quantized(specs: Sequence[TensorSpec]) -> None:
    """Raise for weights of a quantised layer, which mean nothing without their scale.

    Without a config a quantised Dense looks like a plain one: two arrays, the second a vector.

    Source: keras 3.15.1, keras/src/layers/core/dense.py, ``variable_serialization_spec``.
    """
    for spec in specs:
        if spec.dtype.name in {"int8", "uint8"}:
            raise OperationError(
                f"'{spec.name}' holds {spec.dtype} values, so its layer is quantised: without "
                "the scale beside them they are no weights"
            )


def _summed(
    slot: Slot,
    keras: Sequence[Shape] | None,
    torch: Sequence[Shape] | None,
    sizes: Mapping[str, int],
) -> Operation:
    """Return the operation where one side has several tensors that are added up."""
    if slot.operation == "difference":
        return SignedSum((1, *(-1 for _ in slot.keras[1:])))
    inner = torch[:1] if torch is not None else None
    return chain(_moved(slot, 1, keras, inner, sizes), SplitSum((1,) * len(slot.torch)))


def _joined(
    slot: Slot,
    keras: Sequence[Shape] | None,
    torch: Sequence[Shape] | None,
    sizes: Mapping[str, int],
) -> Operation:
    """Return the operation where the Keras tensors are groups of rows, of different size."""
    pattern = Pattern.parse(slot.pattern or "")
    axis, names = slot.uneven_axis, slot.uneven_sizes
    given: list[dict[str, int]] = [{axis: sizes[one]} if one in sizes else {} for one in names]
    if keras is None:
        missing = " and ".join(repr(one) for one in names if one not in sizes)
        if missing:
            raise UndeterminedError(
                f"cannot fit '{pattern}': nothing determines the size of {missing}",
                hint=f"give the size of {missing}",
            )
        total = sum(one[axis] for one in given)
        common = pattern.unify(None, torch, {**sizes, axis: total})
        found = [{**common, **one} for one in given]
    else:
        found = [
            pattern.unify([shape], None, {**sizes, **one})
            for shape, one in zip(keras, given, strict=True)
        ]
    joined = JoinRows(tuple(Rearrange(pattern, one) for one in found))
    shapes = joined.infer([pattern.source_shapes(one)[0] for one in found])
    if torch is not None and shapes[0] != tuple(torch[0]):
        raise OperationError(
            f"cannot fit '{joined.describe()}': the PyTorch tensor has another shape",
            facts=[("Keras", shape_text(shapes[0])), ("PyTorch", shape_text(torch[0]))],
        )
    return joined


_JOINS: Mapping[str, Callable[..., Operation]] = {
    "sum": _summed,
    "difference": _summed,
    "stack": _stacked,
    "join_rows": _joined,
    "copies": _copied,
}


def _without_rows(shapes: Sequence[Shape] | None, count: int) -> list[Shape] | None:
    if shapes is None:
        return None
    shape = shapes[0]
    if not shape or shape[0] < count:
        raise OperationError(f"the PyTorch tensor {shape_text(shape)} lacks {count} rows in front")
    return [(shape[0] - count, *shape[1:])]


def _one_sided(
    slot: Slot,
    keras: Sequence[TensorSpec] | None,
    torch: Sequence[TensorSpec] | None,
    sizes: Mapping[str, int],
) -> Operation | None:
    """Return the operation of a slot whose tensor one side lacks, or ``None`` for any other."""
    if slot.is_computed:
        own = keras if slot.keras else torch
        made = computed(slot, own[0] if own else None, sizes)
        return made.inverse() if slot.keras else made
    if slot.operation == "derived":
        return _derived(slot, keras, torch)
    if slot.operation == "constant" and not all(side is None or side for side in (keras, torch)):
        return _constant(slot, keras, torch)
    return None


def _derived(
    slot: Slot, keras: Sequence[TensorSpec] | None, torch: Sequence[TensorSpec] | None
) -> Operation:
    why = slot.why or "it is no part of the model"
    value = _number(slot)
    if not slot.keras:
        shape, dtype = _like(torch, value)
        return Derive(value, shape, dtype, why)
    if keras:
        return Discard(why, value, keras[0].shape, keras[0].dtype)
    return Discard(why)


def _constant(
    slot: Slot, keras: Sequence[TensorSpec] | None, torch: Sequence[TensorSpec] | None
) -> Operation:
    value = _number(slot)
    if keras:
        return Expect(value, keras[0].shape, keras[0].dtype)
    if not torch:
        raise OperationError("nothing determines the shape of a tensor that the source lacks")
    return Constant(value, torch[0].shape, torch[0].dtype)


def computed(slot: Slot, spec: TensorSpec | None, sizes: Mapping[str, int]) -> Computed:
    """Return how the tensor of a slot is computed that one side does not have.

    Args:
        slot: The slot, of an operation that computes.
        spec: The spec of the tensor, or ``None`` where its side is not known yet.
        sizes: Sizes of the pattern's axes, and of what the operation takes.

    Raises:
        OperationError: If the shape does not fit the pattern and the sizes, or nothing determines
            it.
    """
    shape, default = _computed_shape(slot, spec, sizes), _COMPUTED_DTYPES[slot.operation or ""]
    dtype = get_dtype(default) if spec is None else spec.dtype
    if slot.operation == "count":
        return Count(shape, dtype)
    base = sizes.get(str(slot.value))
    if base is None:
        raise UndeterminedError(f"nothing determines '{slot.value}'")
    return Frequencies(base, shape, dtype)


_COMPUTED_DTYPES = {"count": "int64", "frequencies": "float32"}


def _computed_shape(slot: Slot, spec: TensorSpec | None, sizes: Mapping[str, int]) -> Shape:
    if slot.full_pattern is None:
        if spec is None:
            raise UndeterminedError("nothing determines the shape of a tensor that is computed")
        return spec.shape
    pattern = Pattern.parse(slot.full_pattern)
    found = pattern.unify(None if spec is None else [spec.shape], None, sizes)
    return pattern.source_shapes(found)[0]


def _like(specs: Sequence[TensorSpec] | None, value: Scalar) -> tuple[Shape, DType]:
    """Return shape and dtype of a tensor; of a new counter or number where there is none."""
    if specs:
        return specs[0].shape, specs[0].dtype
    return (), get_dtype("int64" if isinstance(value, int) else "float32")


def _number(slot: Slot) -> float | int:
    if not isinstance(slot.value, int | float):
        raise OperationError(f"the operation '{slot.operation}' needs a number: {slot.value!r}")
    return slot.value
