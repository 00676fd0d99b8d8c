"""Hold other values in a module for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from converter.live.torch_module import TorchModuleCheckpoint, from_array
from converter.tensors.dtype import Array


@contextlib.contextmanager
def replaced(view: TorchModuleCheckpoint, values: Mapping[str, Array]) -> Iterator[None]:
    """Set some tensors of a module, and put back what they held.

    Args:
        view: The module.
        values: Manifest name to value; they share no memory with the module.
    """
    import torch

    state = view.module.state_dict(keep_vars=True)
    tensors = {name: state[view.keys[name]] for name in values}
    with torch.no_grad():
        before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    try:
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(from_array(values[name]))
        yield
    finally:
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(before[name])
