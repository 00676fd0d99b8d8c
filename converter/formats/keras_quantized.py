"""Values of quantised Keras layers as the numbers that they stand for, in float32.

The rules differ by scheme: int8 and int4 with one scale for each channel divide by the scale, int4
with blocks subtracts a zero point and multiplies. Two 4-bit codes share a byte, the lower half
first, along the last axis (a reversed embedding: along the first).

Source: keras 3.15.1 ``quantizers/quantizers.py``, ``unpack_int4`` and
``dequantize_with_sz_map``; ``layers/core/dense.py``, ``einsum_dense.py``, ``embedding.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from converter.errors import CorruptFileError, UnsupportedFileError, UsageError
from converter.formats.hdf5_assembly import Assembly
from converter.formats.hdf5_types import ElementType, Hdf5Dataset
from converter.formats.keras_calibrated import (
    SLOT,
    calibrated_parts,
    calibrated_shape,
    combine_calibrated,
    kernel_shape,
)
from converter.formats.keras_tree import NamedTree
from converter.formats.wording import quoted
from converter.mapping.quantized import DEQUANTIZED, scheme_of
from converter.tensors.dtype import Array, Shape, find_dtype
from converter.tensors.spec import LayerSpec

_CODES = ("kernel", "embeddings", "reverse_embeddings", SLOT)
_FLOAT32 = ElementType(find_dtype("float32"), swapped=False, text="float32")


def wants_dequantized(name: str, select: str | None) -> bool:
    """Whether the numbers that codes stand for are asked for.

    Raises:
        UsageError: If something else is.
    """
    if select in (None, DEQUANTIZED):
        return select is not None
    raise UsageError(
        f"cannot select {quoted(select)} in {quoted(name)}: a Keras file is one model",
        hint="only the values of quantised layers can be chosen: --dequantize",
    )


def dequantize(
    tree: NamedTree, datasets: Mapping[str, Hdf5Dataset], name: str
) -> dict[str, Assembly]:
    """Put numbers in place of the codes of every quantised layer in ``tree``.

    Returns:
        What is made of the datasets, by path.

    Raises:
        UsageError: If no layer says that it is quantised.
        UnsupportedFileError: If a layer is quantised in a way that nothing is known of.
    """
    made: dict[str, Assembly] = {}
    changed = []
    for index, layer in enumerate(tree.layers):
        scheme = scheme_of(layer.config)
        if scheme is None or not layer.tensors:
            continue
        changed.append(layer.path)
        values = {slot: datasets[tree.datasets[one]] for slot, one in layer.tensors.items()}
        codes = [slot for slot in _CODES if slot in values]
        if not codes:
            raise _unknown(name, layer, scheme)
        for slot in codes if scheme != "float8" else ():
            path = f"{tree.datasets[layer.tensors[slot]]} as numbers"
            made[path] = _numbers(name, layer, scheme, slot, values)
            tree.datasets[layer.tensors[slot]] = path
        kept = {slot: one for slot, one in layer.tensors.items() if slot in (*codes, "bias")}
        for slot in layer.tensors.keys() - kept:
            del tree.datasets[layer.tensors[slot]]
            tree.store.pop(layer.tensors[slot], None)
        if "bias" in kept or SLOT in kept:
            kept = _as_unquantised(tree, kept)
        tree.layers[index] = replace(
            layer, tensors=kept, config={**layer.config, "dtype": "float32"}
        )
    if not changed:
        raise UsageError(f"cannot dequantise {quoted(name)}: no layer is quantised")
    shown = ", ".join(map(quoted, changed[:5]))
    tree.notices.append(f"codes of quantised layers are given as the numbers they mean: {shown}.")
    return made


def _as_unquantised(tree: NamedTree, tensors: Mapping[str, str]) -> dict[str, str]:
    """Call the numbers the kernel, and put them before the bias, as in the layer itself."""
    slot = SLOT if SLOT in tensors else "kernel"
    old = tensors[slot]
    new = f"{old.removesuffix(slot)}kernel"
    bias = tensors.get("bias")
    for found in (tree.datasets, tree.store):
        names = [new if name == old else name for name in found]
        if bias in names and new in names and names.index(bias) < names.index(new):
            names.remove(new)
            names.insert(names.index(bias), new)
        values = {new if name == old else name: path for name, path in found.items()}
        found.clear()
        found.update((name, values[name]) for name in names)
    others = {name: one for name, one in tensors.items() if name != slot}
    return {"kernel": new, **others}


def _calibrated(
    name: str, layer: LayerSpec, scheme: str, values: Mapping[str, Hdf5Dataset]
) -> Assembly:
    """Return the numbers of a kernel of GPTQ or AWQ."""
    if "kernel_zero" not in values:
        raise UnsupportedFileError(
            f"cannot read {quoted(name)} as numbers: it lacks the zero points of "
            f"{quoted(layer.path)}, a {layer.class_name} quantised by {scheme}",
            facts=[("reason", "Keras 3.15 does not save them, and cannot use such a file itself")],
        )
    parts = calibrated_parts(values, scheme)
    flat = calibrated_shape(parts, layer.config) if parts is not None else None
    shape = kernel_shape(flat, layer.config) if flat is not None else None
    if parts is None or flat is None or shape is None:
        raise _unknown(name, layer, scheme)
    combine = combine_calibrated(name, layer.path, flat, shape)
    return Assembly(tuple(part.path for part in parts), shape, combine, _FLOAT32)


def _numbers(
    name: str, layer: LayerSpec, scheme: str, slot: str, values: Mapping[str, Hdf5Dataset]
) -> Assembly:
    if slot == SLOT:
        return _calibrated(name, layer, scheme, values)
    codes, scale = values[slot], values.get(f"{slot}_scale")
    zero, index = values.get(f"{slot}_zero"), values.get("g_idx")
    if scale is None or (zero is not None and index is None):
        raise _unknown(name, layer, scheme)
    rule = _Rule(
        scheme, is_reverse=slot.startswith("reverse"), is_rows=slot == "embeddings",
        equation=str(layer.config.get("equation", ""))
        if slot == "kernel" and scheme == "int8" else "",
    )  # fmt: skip
    blocks = zero is not None
    said = layer.config.get("output_dim")
    width = index.shape[0] if index is not None else said if isinstance(said, int) else None
    shape = rule.shape(codes.shape, scale.shape, width if rule.is_rows or rule.is_reverse else None)
    parts = [codes, scale, *([zero, index] if zero is not None and index is not None else [])]
    whole_shape = kernel_shape(shape, layer.config) if shape and scheme == "int4" else shape
    if shape is None or whole_shape is None or not rule.fits(shape, parts):
        raise _unknown(name, layer, scheme)

    def combine(arrays: Sequence[Array]) -> Array:
        whole = rule.unpack(arrays[0], shape)
        if blocks:
            if not np.isin(arrays[3], np.arange(arrays[1].shape[rule.block_axis])).all():
                raise CorruptFileError(
                    f"cannot read {quoted(name)}: {quoted(layer.path)} names blocks that it lacks"
                )
            return rule.blocks(whole, *arrays[1:]).reshape(whole_shape)
        return (whole.astype(np.float32) / rule.aligned(arrays[1], shape)).reshape(whole_shape)

    return Assembly(tuple(part.path for part in parts), whole_shape, combine, _FLOAT32)


@dataclass(frozen=True, slots=True)
class _Rule:
    """How codes of one tensor become numbers.

    Attributes:
        scheme: The scheme.
        is_reverse: Whether they are packed along the first axis.
        is_rows: Whether a scale belongs to a row, not to a column.
        equation: The equation of an EinsumDense, whose scales lie as its outputs do.
    """

    scheme: str
    is_reverse: bool
    is_rows: bool
    equation: str

    def shape(self, codes: Shape, scale: Shape, width: int | None) -> Shape | None:
        """Return the shape of the numbers, ``None`` where it cannot be known."""
        if self.scheme == "int8":
            return codes
        if self.equation or len(codes) != 2 or not scale:
            return None
        if self.is_reverse:
            size = width if width is not None else 2 * codes[0]
            return (size, codes[1]) if -(-size // 2) == codes[0] else None
        size = (2 * codes[1] if width is None else width) if self.is_rows else scale[-1]
        return (codes[0], size) if -(-size // 2) == codes[1] else None

    @property
    def block_axis(self) -> int:
        """The axis of scales and zero points along which blocks lie."""
        return 1 if self.is_rows else 0

    def fits(self, shape: Shape, parts: Sequence[Hdf5Dataset]) -> bool:
        """Whether codes, scales, zero points and blocks are of types and shapes for each other."""
        types = [part.element.dtype.name if part.element.dtype else "" for part in parts]
        if types[0] != "int8" or not {"float32", "int8"}.issuperset(types[1:]):
            return False
        if len(parts) == 2:
            ones = np.broadcast_to(np.float32(1), parts[1].shape)
            try:
                return np.broadcast_shapes(self.aligned(ones, shape).shape, shape) == shape
            except (ValueError, KeyError):
                return False
        axis = self.block_axis
        scale, zero, index = (part.shape for part in parts[1:])
        across = (scale[0] == shape[0]) if axis else (scale[-1] == shape[-1])
        return len(scale) == 2 and scale == zero and across and index == (shape[axis],)

    def unpack(self, codes: Array, shape: Shape) -> Array:
        """Return one code in each place."""
        if self.scheme == "int8":
            return codes
        axis = 0 if self.is_reverse else -1
        low, high = (codes << 4).astype(np.int8) >> 4, codes >> 4
        both = np.stack([low, high], axis=axis if axis == -1 else 1)
        both = both.reshape(-1, codes.shape[1]) if self.is_reverse else both.reshape(len(codes), -1)
        return both[: shape[0], : shape[1]]

    def blocks(self, codes: Array, scale: Array, zero: Array, index: Array) -> Array:
        """Return numbers whose scale and zero point belong to a block."""
        group = index.astype(np.int64)
        zeros = zero.astype(np.float32).take(group, self.block_axis)
        return (codes.astype(np.float32) - zeros) * scale.take(group, self.block_axis)

    def aligned(self, scale: Array, shape: Shape) -> Array:
        """Return scales with the axes of the codes."""
        if self.is_rows:
            return scale.reshape(-1, *(1,) * (len(shape) - 1))
        if not self.equation:
            return scale
        inputs, _, output = self.equation.replace(" ", "").partition("->")
        kernel = inputs.split(",")[-1]
        sizes = dict(zip(reversed(output), reversed(scale.shape), strict=False))
        kept = [axis for axis in output if axis in kernel]
        values = scale.reshape([sizes[axis] for axis in kept])
        order = [axis for axis in kernel if axis in kept]
        values = values.transpose([kept.index(axis) for axis in order])
        return values.reshape([sizes[axis] if axis in kept else 1 for axis in kernel])


def _unknown(name: str, layer: LayerSpec, scheme: str) -> UnsupportedFileError:
    return UnsupportedFileError(
        f"cannot read {quoted(name)} as numbers: no rule is known for {quoted(layer.path)}, a "
        f"{layer.class_name} quantised by {scheme}"
    )
