"""Find mapping files: ours, those of installed packages, and those that the user names.

A wheel carries the mappings inside the package, a checkout has them beside it. Further ones come
from packages that register a folder under the entry point group ``converter.mappings``, and from
paths. A name that two places define is an error: which of the two converts must be the user's
choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from converter.errors import MappingError
from converter.mapping.catalogue import load_catalogue
from converter.mapping.document import read_mapping
from converter.mapping.places import NOT_MAPPINGS, mapping_folders
from converter.mapping.rules import Mapping
from converter.mapping.schema import near

GROUP = "converter.mappings"
_SUFFIX = ".toml"


def names(folders: Iterable[str | Path] = ()) -> tuple[str, ...]:
    """Return the names of all mappings, sorted; no file is read.

    Args:
        folders: Further mapping files, and folders of them.
    """
    return tuple(sorted(_files(tuple(Path(path) for path in folders))))


def get(name: str | Path, folders: Iterable[str | Path] = ()) -> Mapping:
    """Return a mapping by its name, or by the path of its file.

    Args:
        name: A name from :func:`names`, or a path; what ends in ``.toml`` or holds a path separator
            is a path.
        folders: Further mapping files, and folders of them.

    Raises:
        MappingError: If there is none of this name.
        MappingFileError: If its file has problems.
    """
    text = str(name)
    if isinstance(name, Path) or text.endswith(_SUFFIX) or "/" in text or "\\" in text:
        return _read(Path(name).absolute())
    files = _files(tuple(Path(path) for path in folders))
    if text not in files:
        raise MappingError(
            f"there is no mapping '{text}'{near(text, files)}",
            facts=[("mappings", ", ".join(sorted(files)) or "none")],
            hint="a file of your own is given by its path: my_mapping.toml",
        )
    return _read(files[text])


def load_all(folders: Iterable[str | Path] = ()) -> tuple[Mapping, ...]:
    """Return every mapping, sorted by name.

    Raises:
        MappingFileError: If one of the files has problems.
    """
    files = _files(tuple(Path(path) for path in folders))
    return tuple(_read(files[name]) for name in sorted(files))


def _files(folders: tuple[Path, ...]) -> dict[str, Path]:
    """Return mapping name to file.

    Raises:
        MappingError: If two different files have one name.
    """
    found: dict[str, Path] = {}
    for path in _candidates(folders):
        other = found.setdefault(path.stem, path)
        if other != path and other.parent != path.parent and not _is_ours(other, path):
            raise MappingError(
                f"two mappings are called '{path.stem}'",
                facts=[("first", str(other)), ("second", str(path))],
                hint="rename one of the files, and the name in it",
            )
    return found


def _candidates(folders: tuple[Path, ...]) -> Iterator[Path]:
    for place in (*mapping_folders(), *_registered_folders(), *folders):
        if place.is_dir():
            yield from sorted(
                file for file in place.glob(f"*{_SUFFIX}") if file.name not in NOT_MAPPINGS
            )
        elif place.is_file():
            yield place.absolute()
        else:
            raise MappingError(f"there is no mapping file or folder '{place}'")


def _is_ours(first: Path, second: Path) -> bool:
    """Whether both are files of this package: a checkout beside a wheel's copy is the same."""
    ours = mapping_folders()
    return first.parent in ours and second.parent in ours


@cache
def _registered_folders() -> tuple[Path, ...]:
    return tuple(_folder(entry) for entry in entry_points(group=GROUP))


def _folder(entry: EntryPoint) -> Path:
    """Return the folder of a package that registers mappings.

    The entry point names a package (``my_package.mappings``), whose folder is found without
    importing anything from it.

    Raises:
        MappingError: If the package has no such folder.
    """
    parts = entry.value.partition(":")[0].split(".")
    if entry.dist is not None:
        folder = Path(str(entry.dist.locate_file("/".join(parts))))
        if folder.is_dir():
            return folder
    raise MappingError(
        f"the entry point '{entry.name}' of group '{GROUP}' names no folder: '{entry.value}'",
        hint="it must name a package that holds .toml files",
    )


def _read(path: Path) -> Mapping:
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        changed = 0
    return _read_once(path, changed)


@cache
def _read_once(path: Path, changed: int) -> Mapping:
    """Read a file once for as long as it does not change."""
    del changed
    return read_mapping(path, frozenset(load_catalogue().kinds))
