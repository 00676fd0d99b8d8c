"""A torch.nn.Module, or a dictionary of tensors, seen as a checkpoint.

The manifest is the state dict: its keys in its order. What wraps a module (``torch.compile``,
DataParallel, averaging) puts a component of its own into every key; for a live module the wrapper
is known by its type, so exactly that component is left out. A tensor that is reached under two
names is one tensor with a tie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converter._optional import require
from converter.errors import CheckpointError, Problem, ProblemsError, shape_text
from converter.formats.base import Checkpoint
from converter.live.kinds import is_keras_layer
from converter.tensors.dtype import Array, find_dtype, get_dtype
from converter.tensors.manifest import Family, Manifest
from converter.tensors.spec import TensorSpec

# Wrapper class to the attribute that holds the wrapped module.
# Source: torch 2.13.0, torch/_dynamo/eval_frame.py, torch/nn/parallel/data_parallel.py and
# distributed.py, torch/optim/swa_utils.py.
_WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
}


class StateDictCheckpoint(Checkpoint):
    """Tensors or arrays by name, in memory.

    Args:
        tensors: Name to torch tensor or NumPy array. Values of other types are left out, with a
            notice.
        family: Whose names these are; by default ``"torch"`` where a torch tensor is among the
            values.
        label: What messages call it.
        keys: Name to the key it had before wrappers were left out; only for messages and loading.

    Raises:
        CheckpointError: If the dictionary holds no tensor, or only nested dictionaries.
    """

    path: Path | None = None
    format = "live"

    def __init__(
        self,
        tensors: Mapping[str, Any],
        *,
        family: Family | None = None,
        label: str = "state dict",
        keys: Mapping[str, str] | None = None,
    ) -> None:
        self._label = label
        self.keys = dict(keys or {name: name for name in tensors})
        kept = {name: value for name, value in tensors.items() if is_tensor(value)}
        if not kept:
            raise _no_tensors(tensors, label)
        notices = [
            f"'{name}' is left out: it is a {type(value).__name__}, not a tensor"
            for name, value in tensors.items()
            if name not in kept
        ]
        ties = dict(_ties(kept))
        self._tensors = {name: value for name, value in kept.items() if name not in ties}
        if family is None and any(not isinstance(value, np.ndarray) for value in kept.values()):
            family = "torch"
        self._manifest = Manifest.of(
            [_spec(name, value) for name, value in self._tensors.items()],
            family=family,
            ties=ties,
            notices=notices,
        )

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes, in the order of the state dict."""
        return self._manifest

    @property
    def label(self) -> str:
        """What messages call this checkpoint."""
        return self._label

    def read(self, name: str) -> Array:
        """Return a copy-free array where the tensor is on the CPU, else a copy.

        Raises:
            KeyError: If there is no such tensor.
            CheckpointError: If the tensor is on the ``meta`` device and so has no values.
        """
        return to_array(self._tensors[name], name)


class TorchModuleCheckpoint(StateDictCheckpoint):
    """The state dict of a live ``torch.nn.Module``.

    Attributes:
        module: The module.
        keys: Manifest name to the module's own key, wrappers included.

    Raises:
        CheckpointError: If the module is, or holds, a Keras layer: its state dict holds Keras
            layouts under names of its own and is no PyTorch checkpoint.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        label = type(module).__name__
        _refuse_keras(module)
        prefixes = list(_wrapper_prefixes(module))
        state = module.state_dict(keep_vars=True)
        _refuse_uninitialized(state, label)
        keys = {_without(key, prefixes): key for key in state}
        if len(keys) < len(state):
            raise CheckpointError(
                f"cannot read {label}: two tensors have one name when wrappers are left out"
            )
        super().__init__(
            {name: state[key] for name, key in keys.items()},
            family="torch",
            label=label,
            keys=keys,
        )

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Set every tensor of the module, in place.

        Args:
            arrays: Manifest name to array. Ties may be left out.

        Raises:
            ProblemsError: If a tensor is missing, unexpected, or of another shape; the module is
                untouched then.
        """
        import torch

        ties = self.manifest.ties
        problems = [
            *_missing(self.manifest, arrays),
            *(
                Problem("unexpected", name, "the module has no such tensor")
                for name in arrays
                if name not in self.manifest and name not in ties
            ),
        ]
        if problems:
            raise ProblemsError(f"cannot load into {self.label}", problems)
        with torch.no_grad():
            for name, tensor in self._tensors.items():
                tensor.copy_(from_array(arrays[name]))


def _missing(manifest: Manifest, arrays: Mapping[str, Array]) -> Iterator[Problem]:
    for spec in manifest:
        if spec.name not in arrays:
            yield Problem("missing", spec.name, f"{shape_text(spec.shape)} {spec.dtype}")
        elif arrays[spec.name].shape != spec.shape:
            found = shape_text(arrays[spec.name].shape)
            text = f"expected {shape_text(spec.shape)}, found {found}"
            yield Problem("mismatched", spec.name, text)


def is_tensor(value: object) -> bool:
    """Whether a value is a torch tensor or a NumPy array of numbers."""
    if isinstance(value, np.ndarray):
        return find_dtype(value.dtype.name) is not None
    return any(
        base.__module__ in {"torch", "torch._tensor"} and base.__name__ == "Tensor"
        for base in type(value).__mro__
    )


def to_array(tensor: Any, name: str) -> Array:
    """Return the values of a torch tensor (or NumPy array), C-contiguous.

    Raises:
        CheckpointError: If the tensor has no values here, or no plain memory.
    """
    if isinstance(tensor, np.ndarray):
        return np.ascontiguousarray(tensor).reshape(tensor.shape)
    import torch

    if tensor.device.type == "meta":
        raise CheckpointError(
            f"cannot read '{name}': it is on the 'meta' device and has no values",
            hint="build the model without meta=True, or move it with to_empty() and load values",
        )
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise CheckpointError(
            f"cannot read '{name}': a tensor of layout {tensor.layout} has no plain memory"
            if tensor.layout != torch.strided
            else f"cannot read '{name}': a quantized tensor has no plain memory"
        )
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    dtype = get_dtype(str(plain.dtype).removeprefix("torch.")).numpy
    if dtype.kind != "V" and dtype.isbuiltin == 1:
        array: Array = plain.numpy()
        return array
    bits = {1: torch.uint8, 2: torch.int16}[dtype.itemsize]
    viewed: Array = plain.view(bits).numpy().view(dtype)
    return viewed


def from_array(array: Array) -> Any:
    """Return a torch tensor with the values of an array; bfloat16 and float8 bit for bit.

    Raises:
        MissingDependencyError: If torch is not installed.
    """
    torch = require("torch", why="cannot make a torch tensor", extra="torch")
    array = np.ascontiguousarray(array).reshape(array.shape)
    if not array.flags.writeable:
        array = array.copy()
    if array.dtype.isbuiltin == 1:
        return torch.from_numpy(array)
    bits = {1: np.uint8, 2: np.int16}[array.dtype.itemsize]
    return torch.from_numpy(array.view(bits)).view(getattr(torch, array.dtype.name))


def _spec(name: str, value: Any) -> TensorSpec:
    text = value.dtype.name if isinstance(value, np.ndarray) else str(value.dtype)
    dtype = find_dtype(text.removeprefix("torch."))
    if dtype is None:
        raise CheckpointError(f"cannot read '{name}': no tensor has elements of type {text!r}")
    return TensorSpec(name, tuple(int(size) for size in value.shape), dtype)


def _ties(tensors: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each further name of one and the same tensor, with the first."""
    first: dict[object, str] = {}
    for name, value in tensors.items():
        key = _identity(value)
        if key in first:
            yield name, first[key]
        else:
            first[key] = name


def _identity(value: Any) -> object:
    if isinstance(value, np.ndarray) or value.device.type == "meta" or value.numel() == 0:
        return id(value)
    try:
        address = value.data_ptr()
    except RuntimeError:  # a tensor without storage (sparse) is only itself
        return id(value)
    return (str(value.device), address, tuple(value.shape), value.stride(), str(value.dtype))


def _wrapper_prefixes(module: Any) -> Iterator[str]:
    for name, child in module.named_modules(remove_duplicate=False):
        for base in type(child).__mro__:
            if base.__module__.startswith("torch.") and base.__name__ in _WRAPPERS:
                yield (
                    f"{name}.{_WRAPPERS[base.__name__]}."
                    if name
                    else _WRAPPERS[base.__name__] + "."
                )


def _without(key: str, prefixes: list[str]) -> str:
    # The longest first: leaving out an outer wrapper would hide the inner one's prefix.
    for prefix in sorted(prefixes, key=len, reverse=True):
        if key.startswith(prefix):
            outer = prefix[: prefix[:-1].rfind(".") + 1]
            key = outer + key[len(prefix) :]
    return key


def _refuse_keras(module: Any) -> None:
    if is_keras_layer(module):
        raise CheckpointError(
            f"cannot take {type(module).__name__} as a PyTorch module: it is a Keras model on the "
            "torch backend, whose state dict holds Keras layouts",
            hint="open it as the Keras model it is: converter.open(model)",
        )
    for name, child in module.named_modules():
        if is_keras_layer(child):
            raise CheckpointError(
                f"cannot take {type(module).__name__} as a PyTorch module: "
                f"'{name}' is a Keras layer on the torch backend",
            )


def _refuse_uninitialized(state: Mapping[str, Any], label: str) -> None:
    lazy = sorted(key for key, value in state.items() if type(value).__name__.startswith("Uninit"))
    if lazy:
        raise CheckpointError(
            f"cannot read {label}: {len(lazy)} lazy parameters have no shape yet",
            facts=[("first", f"'{lazy[0]}'")],
            hint="run the module once on an input",
        )


def _no_tensors(tensors: Mapping[str, Any], label: str) -> CheckpointError:
    inside = sorted(
        name
        for name, value in tensors.items()
        if isinstance(value, Mapping) and any(is_tensor(item) for item in value.values())
    )
    facts = [("tensors under", ", ".join(repr(name) for name in inside))] if inside else []
    hint = f"open the inner dictionary: checkpoint[{inside[0]!r}]" if len(inside) == 1 else None
    return CheckpointError(f"cannot read {label}: it holds no tensor", facts=facts, hint=hint)


def is_on_meta(checkpoint: Checkpoint) -> bool:
    """Whether it is a live module of which a part is on the ``meta`` device: names and shapes."""
    module = getattr(checkpoint, "module", None)
    return module is not None and any(one.is_meta for one in module.state_dict().values())


def module_classes(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the class of each module by its name, as ``torch.nn.Linear``; nothing of a file.

    Classes of PyTorch's own layers are named by where they are exported.
    """
    module = getattr(checkpoint, "module", None)
    if module is None:
        return {}
    return {name: _public(type(one)) for name, one in module.named_modules()}


def _public(found: type) -> str:
    package = "torch.nn" if found.__module__.startswith("torch.nn.modules.") else found.__module__
    return f"{package}.{found.__qualname__}"
