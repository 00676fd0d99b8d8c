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
    """Compare every variable of the model that Keras makes with the old file's tensor.

    They are found by their place in the new file, since layers may have other names in it. Tensors
    that were scaled are 1.2 times the old ones, at least in part.
    """
    live = converter.open(opened(target))
    with converter.open(target) as new:
        names = {place: name for name, place in new.structure.store.items()}
    with converter.open(source) as checkpoint:
        assert found.store.keys() == checkpoint.manifest.tensors.keys()
        assert {names[place] for place in found.store.values()} == set(live.manifest.tensors)
        for name, place in found.store.items():
            new_value, old = live.read(names[place]), checkpoint.read(name)
            if name in found.scaled:
                by_1_2 = (old.astype("float64") * 1.2).astype(old.dtype)
                assert np.all((new_value == old) | (new_value == by_1_2)), name
                assert np.any(new_value != old) or not np.any(old), name
            else:
                np.testing.assert_array_equal(new_value, old, err_msg=name)
    return len(found.store)


def config_of(path: Path) -> Any:
    """Return the architecture in a ``.keras`` file."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))
