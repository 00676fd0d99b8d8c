"""Tensors that are made of several HDF5 datasets, or of one whose values lie in another order.

Older Keras kept an LSTM as twelve arrays and kernels in the order of Theano. What they are made of
is decided when the file is opened; values are computed when one is read, and never kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from converter.formats.hdf5_types import ElementType, Hdf5Dataset
from converter.tensors.dtype import Array, Shape

Combine = Callable[[Sequence[Array]], Array]


class DatasetTree(Protocol):
    """Datasets that can be read by path."""

    @property
    def datasets(self) -> Mapping[str, Hdf5Dataset]:
        """Path to dataset."""

    def read(self, path: str) -> Array:
        """Return the values of one dataset, read-only."""

    def release(self, path: str) -> None:
        """Give back the memory that reading took."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """How one tensor is made.

    Attributes:
        sources: Paths of the datasets that it is made of, all of one type.
        shape: Its shape.
        combine: Makes it from their values; the result may be a view of them.
        element: Its element type, or ``None`` for that of the first dataset.
    """

    sources: tuple[str, ...]
    shape: Shape
    combine: Combine
    element: ElementType | None = None


class JoinedTree:
    """The datasets of several files as one tree.

    Attributes:
        datasets: Path to dataset.
    """

    datasets: Mapping[str, Hdf5Dataset]

    def __init__(self, owners: Mapping[str, DatasetTree]) -> None:
        """Take the tree of each path."""
        self._owners = owners
        self.datasets = {path: tree.datasets[path] for path, tree in owners.items()}

    def read(self, path: str) -> Array:
        """Return the values of one dataset."""
        return self._owners[path].read(path)

    def release(self, path: str) -> None:
        """Give back the memory that reading took."""
        self._owners[path].release(path)


class AssembledTree:
    """A tree with further datasets, which are made of those of another tree.

    Attributes:
        datasets: Path to dataset, those of the other tree and those that are made.
    """

    datasets: Mapping[str, Hdf5Dataset]

    def __init__(self, tree: DatasetTree, made: Mapping[str, Assembly]) -> None:
        """Take a tree, and what is made of it under paths of their own."""
        self._tree = tree
        self._made = made
        elements = {
            path: one.element or tree.datasets[one.sources[0]].element for path, one in made.items()
        }
        self.datasets = {
            **tree.datasets,
            **{
                path: Hdf5Dataset(path, one.shape, elements[path], None)
                for path, one in made.items()
            },
        }

    def read(self, path: str) -> Array:
        """Return the values of one dataset; those that are made are computed each time."""
        one = self._made.get(path)
        if one is None:
            return self._tree.read(path)
        array = np.ascontiguousarray(one.combine([self._tree.read(name) for name in one.sources]))
        array = array.reshape(one.shape)
        array.flags.writeable = False
        return array

    def release(self, path: str) -> None:
        """Give back the memory of the datasets that one is made of."""
        one = self._made.get(path)
        for source in one.sources if one is not None else (path,):
            self._tree.release(source)
