"""Plans of small arrays under a mapping written in the test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import converter


class Toy:
    """A mapping file called ``toy`` in a folder, and the plans that it gives for arrays by name."""

    def __init__(self, folder: Path, text: str) -> None:
        self._folder = folder
        (folder / "toy.toml").write_text(text, encoding="utf-8")

    def __call__(self, source: Mapping[str, Any], **options: Any) -> Any:
        """Return the plan of a source; ``like`` may be arrays by name as well."""
        if isinstance(options.get("like"), Mapping):
            options["like"] = self._saved("like.npz", options["like"])
        mapping = str(self._folder / "toy.toml")
        return converter.plan(self._saved("source.npz", source), mapping=mapping, **options)

    def _saved(self, name: str, arrays: Mapping[str, Any]) -> Path:
        np.savez(self._folder / name, **arrays)
        return self._folder / name
