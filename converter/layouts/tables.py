"""Which table of which mapping is about a configuration, and what to say where none is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from converter.errors import UnsupportedFileError
from converter.mapping import library
from converter.mapping.config_tables import ConfigTable
from converter.mapping.rules import Mapping

Found = tuple[Mapping, ConfigTable]


def tables_of_class(
    name: str, *, mapping: Mapping | str | None, folders: tuple[Path, ...]
) -> list[Found]:
    """Return every table of a Keras class, in the order of the files.

    Args:
        name: The class, without its module.
        mapping: The mapping to look in, or ``None`` for all.
        folders: Further folders that hold mappings.

    Raises:
        UnsupportedFileError: If there is none.
    """
    tables = list(_tables(mapping, folders))
    found = [one for one in tables if name in {one[1].keras_class, *one[1].tasks}]
    if found:
        return found
    raise UnsupportedFileError(
        f"cannot translate the configuration of a '{name}': no mapping has a table for it",
        facts=[("tables", _listed(table.keras_class for _, table in tables))],
        hint="without --layout the weights alone are converted",
    )


def tables_of_type(
    config: dict[str, Any], *, mapping: Mapping | str | None, folders: tuple[Path, ...]
) -> list[Found]:
    """Return every table for the ``model_type`` of a ``config.json``, in the order of the files.

    Those for the class that it names come first.

    Args:
        config: The content.
        mapping: As in :func:`tables_of_class`.
        folders: See there.

    Raises:
        UnsupportedFileError: If there is none.
    """
    tables = list(_tables(mapping, folders))
    wanted = config.get("model_type")
    found = [one for one in tables if one[1].model_type == wanted]
    if not found:
        raise UnsupportedFileError(
            f"cannot translate a config.json of model_type '{wanted}': no mapping has a table for "
            "it",
            facts=[("tables", _listed(table.model_type for _, table in tables))],
            hint="without --layout, and with --like, the weights alone are converted",
        )
    named = config.get("architectures")
    classes = named if isinstance(named, list) else []
    return sorted(found, key=lambda one: one[1].architecture not in classes)


def _tables(mapping: Mapping | str | None, folders: tuple[Path, ...]) -> Iterator[Found]:
    if mapping is None:
        mappings: Iterable[Mapping] = library.load_all(folders)
    else:
        mappings = [mapping if isinstance(mapping, Mapping) else library.get(mapping, folders)]
    for one in mappings:
        for table in one.configs:
            yield one, table


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names))) or "none"
