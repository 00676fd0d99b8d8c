"""Upgrade a file and open it with Keras: what every test of upgraded files does."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

import converter
from converter.upgrading.upgrade import Upgraded, upgrade_file


def upgraded(source: Path, target: Path, **options: Any) -> Upgraded:
    """Upgrade a file without the proof in a process of its own, which takes seconds."""
    with converter.open(source) as checkpoint:
        return upgrade_file(checkpoint, target, check=False, **options)


def opened(path: Path) -> Any:
    """Return the model that Keras makes of a file."""
    import keras

    return keras.saving.load_model(path, compile=False)


def require_same_weights(source: Path, target: Path, found: Upgraded) -> int:
    """Compare every variable of the model in a new file with the old file's tensor of its name.

    Tensors that were scaled are compared with 1.2 times the old ones, where they differ.
    """
    live = converter.open(opened(target))
    with converter.open(source) as checkpoint:
        names = list(checkpoint.manifest.tensors)
        assert set(live.manifest.tensors) == set(names)
        for name in names:
            new, old = live.read(name), checkpoint.read(name)
            if name in found.scaled:
                by_1_2 = (old.astype("float64") * 1.2).astype(old.dtype)
                assert np.all((new == old) | (new == by_1_2)), name
                assert np.any(new != old) or not np.any(old), name
            else:
                np.testing.assert_array_equal(new, old, err_msg=name)
    return len(names)


def config_of(path: Path) -> Any:
    """Return the architecture in a ``.keras`` file."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))
