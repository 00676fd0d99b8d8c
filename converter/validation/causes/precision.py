"""Why numbers are coarse: weights that were rounded, products of reduced precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from converter.tensors.dtype import Array, get_dtype
from converter.validation.causes.trial import Suspect, Trial
from converter.validation.fitting import distance

_TF32_BITS = 13  # of the 23 of float32's mantissa, those that TF32 does not have
_CLEAR = 10.0
UNKNOWN = ""


def trials(suspect: Suspect, module: Any) -> Iterator[Trial]:
    """Yield what weights that are not the plan's may have done."""
    own = {
        name: value.detach().float().cpu().numpy()
        for name, value in module.state_dict().items()
        if name in suspect.planned and value.is_floating_point()
    }
    wrong = [n for n, a in own.items() if not np.array_equal(a, suspect.planned[n])]
    if wrong:
        cause = _rounded({name: own[name] for name in wrong}, suspect.planned)
        yield Trial(
            cause or "other_weights", lambda copy: _planned(copy, suspect), ", ".join(wrong)
        )


def compute(suspect: Suspect, module: Any, error: float) -> Trial:
    """Return the trial of computing in float64, with the cause that the numbers show.

    A module in 16 bits is given the plan's weights too. The cause is empty where the numbers show
    neither 16 bits nor TF32.

    Args:
        suspect: The module's call.
        module: The module.
        error: How far it is from Keras.
    """
    return Trial(_cause(suspect, module, error), lambda copy: _precisely(copy, suspect))


def is_bfloat16(array: Array) -> bool:
    """Whether the low half of every float32 is zero."""
    return not (np.ascontiguousarray(array, np.float32).view(np.uint32) & 0xFFFF).any()


def is_float16(array: Array) -> bool:
    """Whether every value survives float16."""
    with np.errstate(over="ignore"):
        return bool(np.array_equal(array.astype(np.float16).astype(np.float32), array))


def half_of(array: Array) -> Any | None:
    """Return the dtype of 16 bits that every value has, ``None`` where some need more."""
    if array.dtype.kind not in "fV" or array.dtype.itemsize > 4:  # bfloat16 has the kind V
        return None
    single = array.astype(np.float32)
    if is_bfloat16(single):
        return get_dtype("bfloat16").numpy
    return np.dtype(np.float16) if is_float16(single) else None


def _rounded(arrays: Mapping[str, Array], planned: Mapping[str, Array]) -> str:
    if all(is_bfloat16(one) and not is_bfloat16(planned[n]) for n, one in arrays.items()):
        return "bfloat16_weights"
    if all(is_float16(one) and not is_float16(planned[n]) for n, one in arrays.items()):
        return "float16_weights"
    return ""


def _cause(suspect: Suspect, module: Any, error: float) -> str:
    kind = half_of(suspect.found)
    if kind is not None:
        return f"{kind.name}_compute"
    for is_nearest in (True, False):
        if _is_near(suspect, module, error, is_nearest=is_nearest):
            return "tf32"
    return UNKNOWN


def _is_near(suspect: Suspect, module: Any, error: float, *, is_nearest: bool) -> bool:
    """Whether a module gives what was found when the factors of its products have 10 bits."""
    import copy

    import torch

    plain = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    if not isinstance(module, plain) or module.weight.dtype != torch.float32:
        return False
    other = copy.deepcopy(module).double()
    with torch.no_grad():
        other.weight.data = _coarse(module.weight.data, is_nearest=is_nearest).double()
        made = other.forward(_coarse(suspect.args[0], is_nearest=is_nearest).double())
    return distance(suspect.found, made.numpy()) <= error / _CLEAR


def _coarse(tensor: Any, *, is_nearest: bool) -> Any:
    """Return a float32 tensor with 10 bits after the point, rounded or cut off.

    Source: NVIDIA's white paper of the A100: TF32 has the exponent of float32 and the mantissa of
    float16. Whether the rest is rounded or cut off is the library's choice, so both are tried.
    """
    import torch

    bits = tensor.contiguous().view(torch.int32)
    if is_nearest:
        half = (1 << (_TF32_BITS - 1)) - 1
        bits = bits + half + ((bits >> _TF32_BITS) & 1)
    return (bits & -(1 << _TF32_BITS)).view(torch.float32)


def _precisely(copy: Any, suspect: Suspect) -> Any:
    is_half = any(one.element_size() == 2 for one in copy.parameters())
    copy.double()
    if is_half:
        _fill(copy, suspect)
    args = [_double(one) for one in suspect.exact or suspect.args]
    return copy.forward(*args, **{name: _double(one) for name, one in suspect.kwargs.items()})


def _double(value: Any) -> Any:
    is_floating = hasattr(value, "is_floating_point") and value.is_floating_point()
    return value.double() if is_floating else value


def _planned(copy: Any, suspect: Suspect) -> Any:
    _fill(copy, suspect)
    return copy.forward(*suspect.args, **suspect.kwargs)


def _fill(copy: Any, suspect: Suspect) -> None:
    import torch

    state = copy.state_dict()
    for name, value in suspect.planned.items():
        if name in state:
            state[name].copy_(torch.from_numpy(np.array(value)))
