"""The noise floor: how far the PyTorch side is from itself when it computes more precisely.

Two correct implementations in float32 differ by the order of their additions, and by how much
depends on the model: 5e-7 for VGG16, 5e-6 for MobileNetV2. A fixed tolerance is too strict for one
and too lax for another, so the floor is measured, on the same inputs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from converter.tensors.dtype import Array
from converter.validation.compare import compare
from converter.validation.running import run_torch

# Where the floor cannot be measured: what deep convolutional models in float32 show.
TYPICAL_FLOOR = 5e-7
# A floor above these is no rounding: 30 of it would excuse a wrong epsilon.
_LARGEST_FLOOR = 3e-5
_LARGEST_FLOOR_HALF = 3e-2


def noise_floor(
    module: Any,
    positional: Sequence[Array],
    named: Mapping[str, Array],
    outputs: Mapping[str, Array],
) -> dict[str, float] | str:
    """Return the relative L2 error of each output against the same module in float64.

    Args:
        module: The module that gave ``outputs``; it is copied, not changed. A module in float64 is
            compared with itself in float32 instead.
        positional: Its positional inputs.
        named: Its named inputs.
        outputs: What it gave.

    Returns:
        Output name to floor, or the reason why there is none, as the second half of a sentence.
    """
    import torch

    own = next((one for one in module.parameters() if one.is_floating_point()), None)
    to_single = own is not None and own.dtype == torch.float64
    try:
        other = copy.deepcopy(module)
        other = other.float() if to_single else other.double()
        kind = "float32" if to_single else "float64"
        named = {name: _cast(array, kind) for name, array in named.items()}
        twin = run_torch(other, [_cast(array, kind) for array in positional], named)
    except Exception as error:  # whatever a foreign module raises, the comparison goes on without
        text = str(error).splitlines()
        return text[0] if text else type(error).__name__
    floors = {}
    for name, value in outputs.items():
        if name in twin and twin[name].shape == value.shape and value.dtype.kind in "fc":
            pair = (twin[name], value) if to_single else (value, twin[name])
            floors[name] = compare(*pair).relative_l2
    return floors


def largest_floor(module: Any) -> float:
    """Return the highest floor that is believed, by the precision of the module."""
    return _LARGEST_FLOOR_HALF if is_half(module) else _LARGEST_FLOOR


def is_half(module: Any) -> bool:
    """Whether a module computes with 16 bits somewhere."""
    import torch

    kinds = {one.dtype for one in module.parameters()}
    return bool(kinds & {torch.float16, torch.bfloat16})


def _cast(array: Array, kind: str) -> Array:
    # The module casts to its parameters' dtype; this is for modules that have none.
    return array.astype(kind) if array.dtype.kind == "f" else array
