"""Why numbers are coarse: weights that were rounded, products of reduced precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from converter.tensors.dtype import Array
from converter.validation.causes.trial import Suspect, Trial


def trials(suspect: Suspect, module: Any) -> Iterator[Trial]:
    """Yield what reduced precision, or weights that are not the plan's, may have done."""
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
    plain = _plain(module)
    if plain is not None:
        yield Trial(_compute(suspect), lambda copy: plain(copy, suspect.args[0].float()))


def is_bfloat16(array: Array) -> bool:
    """Whether the low half of every float32 is zero."""
    return not (np.ascontiguousarray(array, np.float32).view(np.uint32) & 0xFFFF).any()


def is_float16(array: Array) -> bool:
    """Whether every value survives float16."""
    with np.errstate(over="ignore"):
        return bool(np.array_equal(array.astype(np.float16).astype(np.float32), array))


def _rounded(arrays: Mapping[str, Array], planned: Mapping[str, Array]) -> str:
    if all(is_bfloat16(one) and not is_bfloat16(planned[n]) for n, one in arrays.items()):
        return "bfloat16_weights"
    if all(is_float16(one) and not is_float16(planned[n]) for n, one in arrays.items()):
        return "float16_weights"
    return ""


def _compute(suspect: Suspect) -> str:
    found = suspect.found.astype(np.float32)
    if is_bfloat16(found):
        return "bfloat16_compute"
    return "float16_compute" if is_float16(found) else "tf32"


def _planned(copy: Any, suspect: Suspect) -> Any:
    import torch

    state = copy.state_dict()
    for name, value in suspect.planned.items():
        if name in state:
            state[name].copy_(torch.from_numpy(np.array(value)))
    return copy.forward(*suspect.args, **suspect.kwargs)


def _plain(module: Any) -> Any:
    """Return the module's function without what a subclass adds, where it is a known one."""
    import torch

    for base in (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Conv1d):
        if isinstance(module, base) and type(module) is not base:
            return base.forward
    return None
