"""Where mapping files and the layer-kind catalogue lie: in the wheel, or beside the package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from converter.errors import MappingError

CATALOGUE_NAME = "layers.toml"
# Architectures without a mapping, with the reason.
MISSING_NAME = "missing.toml"
NOT_MAPPINGS = frozenset({CATALOGUE_NAME, MISSING_NAME})


@cache
def mapping_folders() -> tuple[Path, ...]:
    """Return the folders of our own mapping files, the first found first.

    A wheel carries ``mappings/`` inside the package; a checkout has it beside the package. A
    folder counts only when it holds the catalogue: beside an installed package there may be a
    stranger's ``mappings``.

    Raises:
        MappingError: If there is none, so the installation is damaged.
    """
    package = Path(__file__).resolve().parent.parent
    candidates = (package / "mappings", package.parent / "mappings")
    folders = tuple(folder for folder in candidates if (folder / CATALOGUE_NAME).is_file())
    if not folders:
        raise MappingError(
            f"cannot find the layer-kind catalogue '{CATALOGUE_NAME}'",
            facts=[("looked in", str(folder)) for folder in candidates],
            hint="reinstall weightferry; its files are incomplete",
        )
    return folders


def catalogue_path() -> Path:
    """Return the file of the layer-kind catalogue.

    Raises:
        MappingError: If there is none.
    """
    return mapping_folders()[0] / CATALOGUE_NAME
