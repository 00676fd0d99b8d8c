"""Kernels that GPTQ and AWQ quantised, and kernels that were flattened before they were packed.

Both schemes keep a kernel transposed, (columns, rows), as unsigned codes: two 4-bit ones share a
byte along the columns, the lower half first. A code minus its zero point times its scale is a
number, scale and zero point by column and block of rows; AWQ divides by a scale for each row too.
An EinsumDense flattens its kernel to two axes, so its own shape comes from its equation and from
the sizes of its outputs; where these leave more than one axis open there is no rule.

Source: keras 3.15.1 ``layers/core/dense.py``, ``einsum_dense.py`` (``_gptq_call``, ``_awq_call``,
``_int4_call``), ``quantizers/quantizers.py`` (``dequantize_with_sz_map``, ``unpack_int4``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from converter.errors import CorruptFileError
from converter.formats.hdf5_types import Hdf5Dataset
from converter.formats.wording import quoted
from converter.mapping.quantized import bits_of
from converter.tensors.dtype import Array, Shape

SLOT: Final = "quantized_kernel"
_PARTS: Final = (SLOT, "kernel_scale", "kernel_zero", "g_idx", "awq_scales")


def calibrated_parts(values: Mapping[str, Hdf5Dataset], scheme: str) -> list[Hdf5Dataset] | None:
    """Return the arrays that the numbers are made of, ``None`` where one is missing."""
    wanted = _PARTS if scheme == "awq" else _PARTS[:-1]
    return [values[slot] for slot in wanted] if values.keys() >= set(wanted) else None


def calibrated_shape(parts: Sequence[Hdf5Dataset], config: Mapping[str, Any]) -> Shape | None:
    """Return rows and columns, ``None`` where types or shapes do not fit each other."""
    codes, scale, zero, index = (part.shape for part in parts[:4])
    types = [part.element.dtype.name if part.element.dtype else "" for part in parts]
    if types != ["uint8", "float32", "uint8", "float32", "float32"][: len(parts)]:
        return None
    if len(codes) != 2 or len(scale) != 2 or scale != zero or index != (codes[1],):
        return None
    columns = scale[0]
    stored = -(-columns // 2) if bits_of(config) == 4 else columns
    if codes[0] != stored or any(part.shape != index for part in parts[4:]):
        return None
    return codes[1], columns


def combine_calibrated(
    name: str, path: str, flat: Shape, shape: Shape
) -> Callable[[Sequence[Array]], Array]:
    """Return what makes the numbers of its arrays.

    Args:
        name: Name of the file, for messages.
        path: Path of the layer, for messages.
        flat: Rows and columns.
        shape: Shape of the kernel.
    """

    def combine(arrays: Sequence[Array]) -> Array:
        codes, scale, zero, index = arrays[:4]
        if not np.isin(index, np.arange(scale.shape[1])).all():
            raise CorruptFileError(
                f"cannot read {quoted(name)}: {quoted(path)} names blocks that it lacks"
            )
        if codes.shape[0] != flat[1]:
            codes = np.stack([codes & 15, codes >> 4], axis=1).reshape(-1, flat[0])[: flat[1]]
        group = index.astype(np.int64)
        zeros = zero.astype(np.float32).take(group, 1)
        whole = ((codes.astype(np.float32) - zeros) * scale.take(group, 1)).T
        if len(arrays) > 4:
            whole = whole / arrays[4][:, None]
        return np.ascontiguousarray(whole).reshape(shape)

    return combine


def kernel_shape(flat: Shape, config: Mapping[str, Any]) -> Shape | None:
    """Return the shape of a kernel that was flattened; that of a Dense is flat itself.

    Args:
        flat: Rows and columns.
        config: The layer's configuration.

    Examples:
        >>> config = {"equation": "abc,cde->abde", "output_shape": [None, 2, 5]}
        >>> kernel_shape((12, 10), config)
        (12, 2, 5)
        >>> kernel_shape((12, 7), {"equation": "abcd,cde->abe", "output_shape": [None, 7]}) is None
        True
    """
    equation = config.get("equation")
    if equation is None:
        return flat
    outputs = config.get("output_shape")
    outputs = outputs if isinstance(outputs, list) else [outputs]
    inputs, _, output = str(equation).replace(" ", "").partition("->")
    sizes = {
        axis: size
        for axis, size in zip(reversed(output), reversed(outputs), strict=False)
        if type(size) is int and size > 0
    }
    axes = inputs.rpartition(",")[2]
    known = math.prod(sizes[axis] for axis in axes if axis in sizes)
    open_axes = [axis for axis in axes if axis not in sizes]
    if not axes or math.prod(flat) % known:
        return None
    # Of several open axes each gets the whole, which then is too much.
    sizes.update(dict.fromkeys(open_axes, math.prod(flat) // known))
    shape = tuple(sizes[axis] for axis in axes)
    return shape if math.prod(shape) == math.prod(flat) else None
