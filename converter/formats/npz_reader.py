"""NumPy archives (``.npz``): plain arrays only, without pickles.

Stored members are mapped, compressed ones inflated. Names are the members' names:
those of Keras where every one has a ``/``, those of PyTorch where none has and some have a ``.``.

Source: NumPy 2.4 ``numpy/lib/_format_impl.py``, "Format Version 1.0" and later.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from converter.errors import CorruptFileError
from converter.formats import authorship
from converter.formats.base import Checkpoint
from converter.formats.numpy_header import SUFFIX, HeaderReader, Layout
from converter.formats.source_file import SourceFile
from converter.formats.wording import cannot_read, quoted, refuse_select
from converter.formats.zip_archive import ZipArchive
from converter.tensors.dtype import Array
from converter.tensors.manifest import Family, Manifest


@dataclass(frozen=True, slots=True)
class _Place:
    member: str
    layout: Layout


class NpzCheckpoint(Checkpoint):
    """The arrays of a ``.npz`` file."""

    format = "npz"

    def __init__(
        self, path: Path, *, select: str | None = None, architecture: object = None
    ) -> None:
        """Open a file and read the headers of its arrays.

        Args:
            path: The file.
            select: Nothing can be selected; refused when given.
            architecture: Not used: the format has names.

        Raises:
            UsageError: If ``select`` is given.
            CheckpointError: If it is damaged or unsafe, or a member is no plain array.
        """
        del architecture
        refuse_select(path, select)
        self.path = path
        self._source = SourceFile(path)
        try:
            self._archive = ZipArchive(self._source)
            self._places = {
                name.removesuffix(SUFFIX): self._place(name) for name in self._archive.members
            }
        except BaseException:
            self._source.close()
            raise
        self._manifest = Manifest.of(
            (place.layout.spec(name) for name, place in self._places.items()),
            family=family_of(self._places),
            writer=authorship.of_numpy({place.layout.version for place in self._places.values()}),
        )

    def _place(self, member: str) -> _Place:
        if not member.endswith(SUFFIX):
            raise CorruptFileError(
                cannot_read(self._source.path, f"the member {quoted(member)} is no array")
            )
        reader = HeaderReader(
            self._source.path,
            f"the member {quoted(member)}",
            self._archive.members[member].size,
            lambda nbytes: self._archive.peek(member, nbytes),
        )
        return _Place(member, reader.read())

    @property
    def manifest(self) -> Manifest:
        """Names, shapes and dtypes, in the order of the file."""
        return self._manifest

    def read(self, name: str) -> Array:
        """Return one array as a read-only map; Fortran order shows in its strides."""
        place = self._places[name]
        return place.layout.array(self._archive.view(place.member)[place.layout.offset :])

    def release(self, name: str) -> None:
        """Drop the pages of one array."""
        self._archive.release(self._places[name].member)

    def close(self) -> None:
        """Close the file and remove what was inflated from it."""
        self._archive.close()
        self._source.close()


def family_of(names: Collection[str]) -> Family | None:
    """Return whose names these look like, or ``None``.

    Examples:
        >>> family_of(["conv/kernel", "conv/bias"]), family_of(["conv.weight", "token"])
        ('keras', 'torch')
    """
    if names and all("/" in name for name in names):
        return "keras"
    if any("/" in name for name in names):
        return None
    return "torch" if any("." in name for name in names) else None
