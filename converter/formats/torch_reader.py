"""PyTorch checkpoints (``.pt``, ``.pth``, ``.bin``), the zip format since 1.6 and the one before.

Read without torch: the pickle is interpreted by :mod:`converter.formats.torch_pickle`, storages
are mapped from where they lie in the file. A tensor that is a view of a large storage therefore
touches only its own elements, and one that is transposed keeps its strides.

Source: PyTorch 2.13 ``torch/serialization.py``, ``_save`` and ``_legacy_save``.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import CorruptFileError, UnsafeFileError
from converter.formats import authorship
from converter.formats.base import Checkpoint
from converter.formats.pickle_objects import state_dicts
from converter.formats.source_file import Bytes, SourceFile
from converter.formats.torch_names import strip_names
from converter.formats.torch_pickle import Storage, TensorRef, TorchMachine
from converter.formats.torch_selection import select_tensors
from converter.formats.wording import cannot_read, nbytes_text, quoted
from converter.formats.zip_archive import ZipArchive
from converter.formats.zip_directory import Member
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
MAX_PICKLE_BYTES = 2**28


class TorchCheckpoint(Checkpoint):
    """What both formats share: a state dict of views, and names without wrappers."""

    def __init__(
        self,
        path: Path,
        *,
        select: str | None = None,
        architecture: object = None,
        source: SourceFile | None = None,
        strips: bool = True,
    ) -> None:
        """Open a checkpoint and read its pickle.

        Args:
            path: The file.
            select: Key of the dict that holds the weights, where there are several.
            architecture: Not used: a state dict has names.
            source: The file where it is open already; it is closed with the checkpoint.
            strips: Whether prefixes of wrappers are taken off the names.

        Raises:
            CheckpointError: If it is damaged, unsafe, or holds no or several sets of weights.
        """
        del architecture
        self.path = path
        self.source = SourceFile(path) if source is None else source
        self._strips = strips
        try:
            root, notices = self._states(self._load())
            selection = select_tensors(root, path, select)
            self._build(selection.tensors, (*notices, *selection.notices))
        except BaseException:
            self.source.close()
            raise

    @abstractmethod
    def _load(self) -> Any:
        """Return the value of the pickle."""

    def _states(self, root: Any) -> tuple[Any, tuple[str, ...]]:
        """Return the value with state dicts in place of modules, and what to say about them."""
        return state_dicts(root, self.source.path)

    @abstractmethod
    def _writer(self) -> str:
        """Return which program wrote the file."""

    @abstractmethod
    def _view(self, storage: Storage) -> Bytes:
        """Return the bytes of a storage."""

    @property
    @abstractmethod
    def _swapped(self) -> bool:
        """Whether the values are in the other byte order than this machine's."""

    def _build(self, tensors: Mapping[str, TensorRef], notices: tuple[str, ...]) -> None:
        names, stripped = (
            strip_names(tensors, self.path)
            if self._strips
            else ({name: name for name in tensors}, ())
        )
        first: dict[TensorRef, str] = {}
        self._tensors: dict[str, TensorRef] = {}
        ties: dict[str, str] = {}
        for raw, tensor in tensors.items():
            name = names[raw]
            self._tensors[name] = tensor
            of = first.setdefault(tensor, name) if tensor.extent else name
            if of != name:
                ties[name] = of
        self._manifest = Manifest.of(
            (
                TensorSpec(name, tensor.shape, tensor.dtype)
                for name, tensor in self._tensors.items()
                if name not in ties
            ),
            family="torch",
            ties=ties,
            notices=(*notices, *stripped),
            writer=self._writer(),
        )

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes; names of one and the same view are ties."""
        return self._manifest

    def read(self, name: str) -> Array:
        """Return one tensor as a read-only map, with the strides it has in the file."""
        tensor = self._tensors[name]
        if not tensor.extent:
            return np.empty(tensor.shape, tensor.dtype.numpy)
        itemsize = tensor.dtype.itemsize
        array: Array = np.ndarray(
            tensor.shape,
            tensor.dtype.numpy,
            self._view(tensor.storage),
            tensor.offset * itemsize,
            tuple(stride * itemsize for stride in tensor.strides),
        )
        return array.byteswap() if self._swapped else array

    def close(self) -> None:
        """Close the file."""
        self.source.close()


class TorchZip(TorchCheckpoint):
    """A checkpoint of ``torch.save`` since PyTorch 1.6."""

    format = "torch"

    def _load(self) -> Any:
        self._archive = ZipArchive(self.source)
        self._root = self._find_root()
        order = f"{self._root}/byteorder"
        self._order = (
            self._archive.read(order, max_bytes=16) if order in self._members else b"little"
        )
        if self._order not in (b"little", b"big"):
            raise CorruptFileError(cannot_read(self.source.path, "it has an unknown byte order"))
        data = self._pickle()
        self._protocol = authorship.protocol_of(data)
        machine = TorchMachine(data, self.source.path)
        root = machine.load()
        if machine.position != len(data):
            raise machine.corrupt("something follows its end")
        return root

    def _states(self, root: Any) -> tuple[Any, tuple[str, ...]]:
        """Return the value with state dicts for modules, and what is unusual about the archive."""
        states, notices = super()._states(root)
        return states, (*self._unusual(), *notices)

    def _unusual(self) -> Iterator[str]:
        if self._swapped:
            order = self._order.decode()
            yield f"Its values are {order}-endian: they are turned when they are read."
        if any(member.size and not member.crc for member in self._members.values()):
            yield "Its checksums were not computed: damaged values would not be noticed."

    def _writer(self) -> str:
        inside = len(self._root) + 1
        records = {name[inside:] for name in self._members}
        return authorship.of_torch_zip(records, self._protocol)

    def _pickle(self) -> memoryview:
        """Return the pickle as a map: it may be large, and is walked through once."""
        name = f"{self._root}/data.pkl"
        if self._members[name].size > MAX_PICKLE_BYTES:
            raise UnsafeFileError(
                cannot_read(self.source.path, "its pickle is too large"),
                facts=[
                    ("expected", f"at most {nbytes_text(MAX_PICKLE_BYTES)}"),
                    ("found", nbytes_text(self._members[name].size)),
                ],
            )
        return self._archive.view(name).data

    @property
    def _members(self) -> Mapping[str, Member]:
        return self._archive.members

    def _find_root(self) -> str:
        """Return the folder that all members are in."""
        roots = {name.partition("/")[0] for name in self._members}
        pickles = [name for name in self._members if name.endswith("/data.pkl")]
        if len(roots) != 1 or pickles != [f"{min(roots)}/data.pkl"]:
            raise CorruptFileError(
                cannot_read(self.source.path, "its members are not those of one checkpoint")
            )
        return roots.pop()

    def _view(self, storage: Storage) -> Bytes:
        name = f"{self._root}/data/{storage.key}"
        if name not in self._members:
            raise CorruptFileError(
                cannot_read(self.source.path, f"the storage {quoted(storage.key)} is missing")
            )
        view = self._archive.view(name)
        if view.size != storage.nbytes:
            raise _wrong_size(self.source.path, storage, view.size)
        return view

    @property
    def _swapped(self) -> bool:
        return self._order.decode() != sys.byteorder

    def release(self, name: str) -> None:
        """Drop the pages of the storage that a tensor is a view of."""
        member = f"{self._root}/data/{self._tensors[name].storage.key}"
        if member in self._members:
            self._archive.release(member)

    def close(self) -> None:
        """Close the file and remove what was inflated from it."""
        self._archive.close()
        super().close()


class TorchLegacy(TorchCheckpoint):
    """A checkpoint of PyTorch before 1.6: five pickles, then the storages one after the other."""

    format = "torch_legacy"

    def _load(self) -> Any:
        data = self.source.view(0, self.source.size).data
        self._protocol = authorship.protocol_of(data)
        machine = TorchMachine(data, self.source.path)
        magic, protocol, system = machine.load(), machine.load(), machine.load()
        if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL or not isinstance(system, dict):
            raise machine.corrupt("it is no checkpoint of PyTorch")
        self._little = system.get("little_endian") is not False
        root = machine.load()
        keys = machine.load()
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise machine.corrupt("it has no list of storages")
        self._offsets = self._locate(machine, keys)
        return root

    def _writer(self) -> str:
        return authorship.of_torch_legacy(self._protocol)

    def _locate(self, machine: TorchMachine, keys: list[str]) -> dict[str, tuple[int, int]]:
        """Return where each storage is: offset and size in bytes."""
        offsets: dict[str, tuple[int, int]] = {}
        position = machine.position
        for key in keys:
            storage = machine.storages.get(key)
            if storage is None or key in offsets:
                raise machine.corrupt(f"the storage {quoted(key)} is not used, or there twice")
            count = int.from_bytes(self.source.read(position, 8), "little", signed=True)
            if count != storage.count:
                raise _wrong_size(self.source.path, storage, count * storage.dtype.itemsize)
            offsets[key] = (position + 8, storage.nbytes)
            position += 8 + storage.nbytes
        if position != self.source.size:
            raise CorruptFileError(
                cannot_read(self.source.path, "its size is not that of its storages"),
                facts=[
                    ("expected", nbytes_text(position)),
                    ("found", nbytes_text(self.source.size)),
                ],
            )
        return offsets

    def _view(self, storage: Storage) -> Bytes:
        if storage.key not in self._offsets:
            raise CorruptFileError(
                cannot_read(self.source.path, f"the storage {quoted(storage.key)} is missing")
            )
        return self.source.view(*self._offsets[storage.key])

    @property
    def _swapped(self) -> bool:
        return self._little != (sys.byteorder == "little")

    def release(self, name: str) -> None:
        """Drop the pages of the storage that a tensor is a view of."""
        self.source.release(*self._offsets[self._tensors[name].storage.key])


def _wrong_size(path: Path, storage: Storage, found: int) -> CorruptFileError:
    return CorruptFileError(
        cannot_read(path, f"the storage {quoted(storage.key)} has a wrong size"),
        facts=[("expected", nbytes_text(storage.nbytes)), ("found", nbytes_text(found))],
    )
