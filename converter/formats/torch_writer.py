"""PyTorch checkpoints are written without PyTorch, so that they stream like every other format.

``torch.save`` needs all values in memory at once. The file it makes is a stored zip of storages and
a small pickle that only names ``OrderedDict`` and tensor constructors; both are written here, the
pickle first, the storages by position. ``torch.load(weights_only=True)`` reads the result.

Source: PyTorch 2.13 ``torch/serialization.py``, ``_save``; ``torch/_tensor.py``,
``_reduce_ex_internal``; CPython 3.11 ``Lib/pickletools.py`` (opcodes of protocol 2).
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from pathlib import Path

from converter.errors import WriteError, shape_text
from converter.formats.base import Writer
from converter.formats.torch_pickle import STORAGE_DTYPES
from converter.formats.wording import quoted
from converter.formats.zip_target import ZipTarget
from converter.tensors.dtype import Array, Shape
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec
from converter.tensors.structure import KerasStructure

ROOT = "archive"
_STORAGE_CLASSES = {dtype: name for name, dtype in STORAGE_DTYPES.items()}
# Types without a storage class of their own: PyTorch rebuilds them from bytes.
_UNTYPED = frozenset(
    {
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e5m2",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
        "uint16",
        "uint32",
        "uint64",
    }
)


class TorchWriter(Writer):
    """Writes one ``.pt``: a state dict, an ``OrderedDict`` from name to tensor."""

    def __init__(
        self,
        folder: Path,
        name: str,
        target: Manifest,
        *,
        format_id: str = "torch",
        structure: KerasStructure | None = None,
        max_shard_size: int | None = None,
    ) -> None:
        """Create the file, reserve its space and write its pickle.

        Args:
            folder: Where the file goes.
            name: File name.
            target: Every tensor; ties become further names of one tensor.
            format_id: Not used: the format before 1.6 is not written.
            structure: Not used: the format has names.
            max_shard_size: Not used: the format has no shards.

        Raises:
            WriteError: If a tensor has a type that PyTorch does not have.
            OSError: If the file cannot be created or the disk is full.
        """
        del format_id, structure, max_shard_size
        for spec in target:
            _check(spec, name)
        self._name = name
        self._members = {
            spec.name: (f"{ROOT}/data/{key}", spec.dtype.itemsize)
            for key, spec in enumerate(target)
        }
        pickle = state_dict_pickle(target)
        small = {f"{ROOT}/byteorder": sys.byteorder.encode(), f"{ROOT}/version": b"3\n"}
        self._zip = ZipTarget(
            folder / name,
            [
                (f"{ROOT}/data.pkl", len(pickle)),
                *((member, len(data)) for member, data in small.items()),
                *((self._members[spec.name][0], spec.nbytes) for spec in target),
            ],
        )
        try:
            self._zip.write(f"{ROOT}/data.pkl", 0, pickle)
            for member, data in small.items():
                self._zip.write(member, 0, data)
        except BaseException:
            self.abort()
            raise

    def write(self, name: str, start: int, block: Array) -> None:
        """Put a block at its position in its storage."""
        member, width = self._members[name]
        self._zip.write(member, start * width, block)

    def finish(self, metadata: Mapping[str, str]) -> tuple[str, ...]:
        """Write the directory; the format has no place for texts."""
        del metadata
        self._zip.finish()
        return (self._name,)

    def abort(self) -> None:
        """Close the file."""
        self._zip.file.abandon()


def state_dict_pickle(target: Manifest) -> bytes:
    """Return the pickle of a state dict whose tensors are contiguous, each in its own storage."""
    tied: dict[str, list[str]] = {}
    for further, name in target.ties.items():
        if further not in target:
            tied.setdefault(name, []).append(further)
    pickle = _Pickle()
    pickle.add(b"\x80\x02")  # PROTO 2
    pickle.named("collections", "OrderedDict")
    pickle.add(b")R(")  # call it, then a mark
    for key, spec in enumerate(target):
        pickle.text(spec.name)
        pickle.tensor(spec, str(key))
        if spec.name in tied:
            memo = pickle.remember()
            for further in tied[spec.name]:
                pickle.text(further)
                pickle.recall(memo)
    pickle.add(b"u.")  # SETITEMS, STOP
    return bytes(pickle.data)


class _Pickle:
    """Opcodes of protocol 2, as few as a state dict needs."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._globals: dict[tuple[str, str], int] = {}
        self._memos = 0

    def add(self, code: bytes) -> None:
        self.data += code

    def remember(self) -> int:
        self.data += b"r" + struct.pack("<I", self._memos)  # LONG_BINPUT
        self._memos += 1
        return self._memos - 1

    def recall(self, memo: int) -> None:
        self.data += b"j" + struct.pack("<I", memo)  # LONG_BINGET

    def named(self, module: str, name: str) -> None:
        """Name a class or function; from the second time on by its memo."""
        if (module, name) in self._globals:
            self.recall(self._globals[module, name])
            return
        self.data += f"c{module}\n{name}\n".encode()
        self._globals[module, name] = self.remember()

    def text(self, text: str) -> None:
        raw = text.encode()
        self.data += b"X" + struct.pack("<I", len(raw)) + raw

    def number(self, value: int) -> None:
        if value < 2**8:
            self.data += b"K" + struct.pack("<B", value)
        elif value < 2**16:
            self.data += b"M" + struct.pack("<H", value)
        elif value < 2**31:
            self.data += b"J" + struct.pack("<i", value)
        else:
            raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            self.data += b"\x8a" + struct.pack("<B", len(raw)) + raw

    def numbers(self, values: Shape) -> None:
        self.data += b"("
        for value in values:
            self.number(value)
        self.data += b"t"

    def tensor(self, spec: TensorSpec, key: str) -> None:
        is_untyped = spec.dtype.name in _UNTYPED
        self.named("torch._utils", f"_rebuild_tensor_v{3 if is_untyped else 2}")
        self.data += b"(("
        self.text("storage")
        if is_untyped:
            self.named("torch.storage", "UntypedStorage")
        else:
            self.named("torch", _STORAGE_CLASSES[spec.dtype.name])
        self.text(key)
        self.text("cpu")
        self.number(spec.nbytes // (1 if is_untyped else spec.dtype.itemsize))
        self.data += b"tQ"  # the tuple is a reference to a storage
        self.number(0)
        self.numbers(spec.shape)
        self.numbers(_strides(spec.shape))
        self.data += b"\x89"  # requires_grad is false
        self.named("collections", "OrderedDict")
        self.data += b")R"  # no hooks
        if is_untyped:
            self.named("torch", spec.dtype.name)
        self.data += b"tR"


def _strides(shape: Shape) -> Shape:
    """Return the steps of a contiguous tensor, in elements, as PyTorch counts them."""
    steps: list[int] = []
    step = 1
    for size in reversed(shape):
        steps.append(step)
        step *= max(size, 1)
    return tuple(reversed(steps))


def _check(spec: TensorSpec, name: str) -> None:
    if spec.dtype.name not in _STORAGE_CLASSES and spec.dtype.name not in _UNTYPED:
        raise WriteError(
            f"cannot write {quoted(name)}: PyTorch has no type {spec.dtype}",
            facts=[("tensor", f"{quoted(spec.name)}  {shape_text(spec.shape)} {spec.dtype}")],
        )
    try:
        spec.name.encode()
    except UnicodeEncodeError:
        raise WriteError(
            f"cannot write {quoted(name)}: a name is not Unicode",
            facts=[("tensor", quoted(spec.name))],
        ) from None
