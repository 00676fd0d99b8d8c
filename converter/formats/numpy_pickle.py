"""Pickled arrays (``.pkl``, ``.joblib``): what ``pickle.dump(model.get_weights(), file)`` leaves.

A list has no names: its arrays are ``0``, ``1``, ... in order, and become those of a Keras model
when it is said which (see :mod:`converter.formats.numpy_positions`). Inside lists and dicts a name
is the path to the array, with ``/`` between the parts. Values that are no arrays are left out of a
dict with a notice, and are an error in a list, whose positions they would shift. Arrays that joblib
before 0.10 put into files of their own (``a.pkl_01.npy``) are read from the folder of the pickle.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converter.errors import (
    CheckpointError,
    CorruptFileError,
    UnsafeFileError,
    UnsupportedFileError,
)
from converter.formats import authorship
from converter.formats.base import Checkpoint
from converter.formats.beside import open_beside
from converter.formats.joblib_compression import compression_of, inflate
from converter.formats.npz_reader import family_of
from converter.formats.numpy_files import ArrayFiles
from converter.formats.numpy_pickle_machine import NumpyMachine
from converter.formats.numpy_pickle_values import Beside, PickledArray
from converter.formats.pickle_machine import name_of
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read, quoted
from converter.tensors.dtype import Array
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec

MAX_DEPTH = 16
MAX_VISITED = 200_000_000  # characters of names, and a hundred for each value


class NumpyPickle(Checkpoint):
    """The arrays of a pickle, by ``pickle`` or ``joblib``, compressed or not."""

    format = "numpy_pickle"

    def __init__(
        self, path: Path, *, select: str | None = None, architecture: object = None
    ) -> None:
        """Open a file and interpret its pickle.

        Args:
            path: The file.
            select: Key of the part to take, inner keys after a dot.
            architecture: Not used here: see :func:`converter.formats.registry.open_checkpoint`.

        Raises:
            CheckpointError: If it is damaged or unsafe, or holds no arrays.
        """
        del architecture
        self.path = path
        self._source = SourceFile(path)
        self._content = self._source
        self._files = ArrayFiles(lambda name: open_beside(path, name))
        self._notices: list[str] = []
        try:
            kind = self._compression = compression_of(
                self._source.read(0, min(8, self._source.size))
            )
            if kind is not None:
                self._content = inflate(self._source, kind)
            self._data = self._content.view(0, self._content.size)
            self._arrays = self._find(self._load(), select)
        except BaseException:
            self.close()
            raise
        self._manifest = Manifest.of(
            (_spec(name, array) for name, array in self._arrays.items()),
            family=None if any("/" in name for name in self._arrays) else family_of(self._arrays),
            notices=self._notices,
            writer=self._writer,
        )

    def _load(self) -> Any:
        machine = NumpyMachine(self._data.data, self._source.path, self._files.add)
        root = machine.load()
        if machine.position != len(self._data):
            raise machine.corrupt("something follows its end")
        protocol = authorship.protocol_of(self._data[:2].data)
        self._writer = authorship.of_pickle(machine.named, protocol, self._compression)
        return root

    def _find(self, root: Any, select: str | None) -> dict[str, PickledArray]:
        """Return the arrays by name."""
        if select is not None:
            root = self._selected(root, select)
        elif isinstance(root, dict):
            root = self._only_list(root)
        if isinstance(root, PickledArray):
            root = [root]
        if not isinstance(root, dict | list | tuple):
            raise UnsupportedFileError(
                cannot_read(self.path, "it holds no arrays of NumPy"),
                facts=[("found", quoted(name_of(root)))],
            )
        arrays: dict[str, PickledArray] = {}
        for name, array in self._walk(root, "", [0], 0):
            if array.layout is None:
                raise CorruptFileError(
                    cannot_read(self.path, "its pickle is damaged: an array is not described")
                )
            if name in arrays:
                raise UnsafeFileError(
                    cannot_read(self.path, f"two arrays in it have the name {quoted(name)}")
                )
            arrays[name] = array
        if not arrays and root:
            raise UnsupportedFileError(
                cannot_read(self.path, "it holds no arrays of NumPy"),
                facts=[("found", notice) for notice in self._notices],
            )
        return arrays

    def _selected(self, root: Any, select: str) -> Any:
        found = root
        parts = [select] if isinstance(root, dict) and select in root else select.split(".")
        for part in parts:
            if not isinstance(found, dict) or part not in found:
                keys = [quoted(key) for key in root] if isinstance(root, dict) else []
                raise CheckpointError(
                    cannot_read(self.path, f"it has nothing under {quoted(select)}"),
                    facts=[("keys", ", ".join(keys[:20]))] if keys else (),
                )
            found = found[part]
        return found

    def _only_list(self, root: dict[Any, Any]) -> Any:
        """Return the one list of arrays in a dict, or the dict where it holds other arrays."""
        holding = [key for key, value in root.items() if _may_hold(value)]
        if len(holding) != 1 or not isinstance(root[holding[0]], list | tuple):
            return root
        (key,) = holding
        left = ", ".join(quoted(other) for other in list(root)[:9] if other != key)
        self._notices.append(
            f"The arrays are under {quoted(key)}{f'; left out: {left}' if left else ''}."
        )
        return root[key]

    def _walk(
        self, value: Any, name: str, seen: list[int], depth: int
    ) -> Iterator[tuple[str, PickledArray]]:
        seen[0] += 100 + len(name)
        if seen[0] > MAX_VISITED or depth > MAX_DEPTH:
            raise UnsafeFileError(cannot_read(self.path, "its lists are nested absurdly"))
        if isinstance(value, PickledArray):
            yield name, value
            return
        is_dict = isinstance(value, dict)
        items = value.items() if is_dict else enumerate(value)
        for key, one in items:
            inner = f"{name}/{key}" if name else str(key)
            if isinstance(one, dict | list | tuple | PickledArray):
                yield from self._walk(one, inner, seen, depth + 1)
            elif is_dict:
                self._left_out(inner, one)
            else:
                raise UnsupportedFileError(
                    cannot_read(self.path, f"{quoted(inner)} in its list is no array of NumPy"),
                    facts=[("found", quoted(name_of(one)))],
                )

    def _left_out(self, name: str, value: Any) -> None:
        if len(self._notices) < 20:
            self._notices.append(
                f"{quoted(name)} is left out: it is no array ({quoted(name_of(value))[1:-1]})."
            )

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes, in the order of the file."""
        return self._manifest

    @property
    def files(self) -> tuple[Path, ...]:
        """The pickle, and the files of joblib before 0.10 beside it."""
        blobs = (array.blob for array in self._arrays.values())
        names = dict.fromkeys(blob.name for blob in blobs if isinstance(blob, Beside))
        path = self._source.path
        return (path, *(path.parent / name for name in names))

    def read(self, name: str) -> Array:
        """Return one array; a map where the file holds its bytes as they are."""
        array = self._arrays[name]
        if isinstance(array.blob, Beside):
            return self._files.read(array.blob.name)
        return array.read(self._data, self._source.path)

    def release(self, name: str) -> None:
        """Drop the pages of one array."""
        blob = self._arrays[name].blob
        if isinstance(blob, Beside):
            self._files.release(blob.name)
        elif not isinstance(blob, bytes):
            self._content.release(blob.start, blob.length)

    def close(self) -> None:
        """Close the file and remove what was inflated from it."""
        self._files.close()
        self._content.close()
        self._source.close()


def _spec(name: str, array: PickledArray) -> TensorSpec:
    assert array.layout is not None  # noqa: S101  # checked when it was found
    return TensorSpec(name, array.shape, array.layout.dtype)


def _may_hold(value: Any) -> bool:
    """Whether a value is an array, or has one, or a list or dict, in it."""
    if isinstance(value, PickledArray):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return isinstance(value, dict | list | tuple) and any(
        isinstance(one, PickledArray | dict | list | tuple) for one in inner
    )
