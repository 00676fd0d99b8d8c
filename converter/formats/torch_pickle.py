"""What a PyTorch file says about its tensors, without running what it says.

Only the constructors of dense tensors have a meaning here: a tensor is a view (offset, shape,
strides) of a storage, and a storage is a range of the file. Whatever else a checkpoint holds
(optimizers, configurations, whole modules) becomes an opaque value.

Source: PyTorch 2.13 ``torch/_tensor.py``, ``_reduce_ex_internal``; ``torch/serialization.py``,
``persistent_id``; ``torch/storage.py``, ``_new_dtypes`` (types without a typed storage).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter.formats.pickle_machine import Global, Opaque, name_of, plain
from converter.formats.pickle_objects import ObjectMachine
from converter.tensors.dtype import DType, find_dtype

MAX_RANK = 64
MAX_ELEMENTS = 2**58  # also beside an empty axis: NumPy counts bytes in 63 bits
MAX_SIZE = 2**63
MAX_GROWTH = 100  # a view may repeat elements (stride 0), within reason
GROWTH_FLOOR = 64 * 2**20

STORAGE_DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
_STORAGE_MODULES = frozenset({"torch", "torch.cuda"})
_UNTYPED = frozenset({"torch.storage.UntypedStorage", "torch.UntypedStorage"})
_STORAGE_KEY = re.compile(r"[0-9a-zA-Z_]{1,64}")


@dataclass(frozen=True, slots=True)
class Storage:
    """Consecutive elements in the file.

    Attributes:
        key: What the file calls it.
        dtype: Type of its elements; ``uint8`` where the file only counts bytes.
        count: How many elements it has.
    """

    key: str
    dtype: DType
    count: int

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.dtype.nbytes((self.count,))


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor as a view of a storage.

    Attributes:
        storage: Where its elements are.
        dtype: Type of the elements.
        offset: First element, in elements from the start of the storage.
        shape: Size of each axis.
        strides: Step of each axis, in elements.
    """

    storage: Storage
    dtype: DType
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def extent(self) -> int:
        """How many elements of the storage it spans; 0 when it is empty."""
        if 0 in self.shape:
            return 0
        return 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))


class TorchMachine(ObjectMachine):
    """Interprets the pickles of ``torch.save``: values are plain, opaque, or tensors.

    Attributes:
        storages: Every storage that was referred to, by key.
    """

    def __init__(self, data: bytes | memoryview, path: Path) -> None:
        """Start at the first byte of ``data``."""
        super().__init__(data, path)
        self.storages: dict[str, Storage] = {}

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Return a dict, a tensor, a set of texts, or an opaque value."""
        name = name_of(function)
        builder = _BUILDERS.get(name) if isinstance(function, Global) else None
        return super().call(function, arguments) if builder is None else builder(self, arguments)

    def persistent(self, reference: Any) -> Any:
        """Return the storage that ``('storage', class, key, location, count)`` refers to."""
        # Files of PyTorch before 1.6 have a sixth part, for storages that are views of others.
        parts = reference if isinstance(reference, tuple) else ()
        if len(parts) > 1 and parts[0] == "module":  # a class with its source text
            return parts[1]
        if len(parts) not in (5, 6) or parts[0] != "storage" or parts[5:] not in ((), (None,)):
            raise self.corrupt("it refers to something that is no storage")
        _, kind, key, _, count = parts[:5]
        if not (isinstance(key, str) and _STORAGE_KEY.fullmatch(key) and _is_size(count)):
            raise self.corrupt("a storage has no key or no size")
        dtype = _storage_dtype(kind)
        if dtype is None:
            return Opaque(name_of(kind))
        storage = Storage(key, dtype, count)
        if self.storages.setdefault(key, storage) != storage:
            raise self.corrupt(f"the storage {key} is described in two ways")
        return storage

    def tensor(self, arguments: tuple[Any, ...]) -> TensorRef | Opaque:
        """Return the tensor of ``_rebuild_tensor`` and ``_rebuild_tensor_v2``."""
        storage = arguments[0]
        if not isinstance(storage, Storage):
            return Opaque(name_of(storage))
        return self._view(storage, storage.dtype, arguments)

    def tensor_v3(self, arguments: tuple[Any, ...]) -> TensorRef | Opaque:
        """Return the tensor of ``_rebuild_tensor_v3``, whose storage counts bytes."""
        storage, kind = arguments[0], arguments[6]
        dtype = find_dtype(kind.name) if isinstance(kind, Global) else None
        if not isinstance(storage, Storage) or dtype is None or dtype.is_packed:
            return Opaque(name_of(kind))
        return self._view(storage, dtype, arguments)

    def first(self, arguments: tuple[Any, ...]) -> Any:
        """Return the tensor of ``_rebuild_parameter``."""
        return plain(arguments[0])

    def from_type(self, arguments: tuple[Any, ...]) -> Any:
        """Return the tensor of ``_rebuild_from_type_v2``: one with attributes of its own."""
        function, kind, inner = arguments[:3]
        if name_of(kind) not in _TENSOR_CLASSES or not isinstance(inner, tuple):
            return Opaque(name_of(kind))
        return self.call(function, inner)

    def _view(self, storage: Storage, dtype: DType, arguments: tuple[Any, ...]) -> TensorRef:
        offset, shape, strides = arguments[1:4]
        if not (
            isinstance(shape, tuple)
            and isinstance(strides, tuple)
            and len(shape) == len(strides) <= MAX_RANK
            and all(_is_size(value) for value in (offset, *shape, *strides))
            and math.prod(size or 1 for size in shape) <= MAX_ELEMENTS
        ):
            raise self.corrupt("a tensor has no shape")
        view = TensorRef(storage, dtype, offset, shape, strides)
        if view.extent and (offset + view.extent) * dtype.itemsize > storage.nbytes:
            raise self.corrupt("a tensor is larger than its storage")
        if dtype.nbytes(shape) > max(GROWTH_FLOOR, MAX_GROWTH * storage.nbytes):
            raise self.corrupt("a tensor repeats its storage absurdly often")
        return view


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_SIZE


def _storage_dtype(kind: Any) -> DType | None:
    if not isinstance(kind, Global):
        return None
    if kind.dotted in _UNTYPED:
        return find_dtype("uint8")
    return (
        find_dtype(STORAGE_DTYPES.get(kind.name, "")) if kind.module in _STORAGE_MODULES else None
    )


_BUILDERS: dict[str, Callable[[TorchMachine, tuple[Any, ...]], Any]] = {
    "collections.OrderedDict": TorchMachine.pairs,
    "torch._utils._rebuild_tensor": TorchMachine.tensor,
    "torch._utils._rebuild_tensor_v2": TorchMachine.tensor,
    "torch._utils._rebuild_tensor_v3": TorchMachine.tensor_v3,
    "torch._utils._rebuild_parameter": TorchMachine.first,
    "torch._utils._rebuild_parameter_with_state": TorchMachine.first,
    "torch._tensor._rebuild_from_type_v2": TorchMachine.from_type,
}
_TENSOR_CLASSES = frozenset(
    {"torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter"}
)
