"""Where Keras would write each variable of a live model, asked of Keras' own saving code.

Nothing is written and no value is read: Keras saves into a store that only notes which variable
goes to which path. So the paths are right for the installed version, whatever its rules.

Source: keras 3.6 to 3.15.1, keras/src/saving/saving_lib.py (``_save_state``, ``H5IOStore``) and
keras/src/legacy/saving/legacy_h5_format.py (``save_weights_to_hdf5_group``).
"""

from __future__ import annotations

import datetime as dt
import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.errors import CheckpointError
from converter.live.keras_walk import is_model, own_variables
from converter.tensors.structure import KerasStructure

TOP_LEVEL = "top_level_model_weights"


@dataclass(slots=True)
class Recording:
    """What saving would write.

    Attributes:
        values: Dataset path to the value written there, a variable where Keras passes it on.
        groups: Path of each ``vars`` group to its ``name`` attribute.
        places: Identity of a layer to the path of its group, without ``vars``.
    """

    values: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, str | None] = field(default_factory=dict)
    places: dict[int, str] = field(default_factory=dict)

    def paths(self) -> dict[int, list[str]]:
        """Return the dataset paths of each variable, by identity, in the order of writing."""
        paths: dict[int, list[str]] = {}
        for path, value in self.values.items():
            paths.setdefault(id(value), []).append(path)
        return paths


class _Visited(set[int]):
    """The identities that saving has visited; noted together with the group just made."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self._recording = recording
        self.place: str | None = None

    def add(self, identity: int, /) -> None:
        super().add(identity)
        if self.place is not None:
            self._recording.places[identity] = self.place
            self.place = None


def record(model: Any) -> Recording:
    """Return what Keras would write into a weights file of ``model``.

    The optimizer and the metrics are left out: they are not weights.

    Raises:
        CheckpointError: If the installed Keras saves in a way that is not known here.
    """
    from keras.src.saving import saving_lib

    recording = Recording()
    visited = _Visited(recording)
    # Keras insists on a store of its own class; every method is found in the notes first.
    store = type("RecordingStore", (_Notes, saving_lib.H5IOStore), {})(recording, visited)
    for name in ("optimizer", "_loss_tracker", "_compile_metrics", "_metrics", "metrics"):
        value = getattr(model, name, None)
        for skipped in value if isinstance(value, (list, tuple)) else [value]:
            if skipped is not None:
                set.add(visited, id(skipped))
    save_state = getattr(saving_lib, "_save_state", None)
    if save_state is None or "visited_saveables" not in inspect.signature(save_state).parameters:
        raise CheckpointError(
            "cannot ask Keras where it writes each variable: this version of Keras saves in "
            "another way",
            hint="save the model with model.save_weights('model.weights.h5') and use that file",
        )
    save_state(
        model, weights_store=store, assets_store=None, inner_path="", visited_saveables=visited
    )
    return recording


class _Notes:
    """The methods of Keras' store that saving uses, noting instead of writing."""

    def __init__(self, recording: Recording, visited: _Visited) -> None:
        self._recording = recording
        self._visited = visited
        self._group = ""
        self._keys: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: Mapping[str, Any] | None = None) -> _Notes:
        self._group = f"{path}/vars" if path else "vars"
        self._visited.place = path
        self._keys = {}
        if metadata:
            self._recording.groups[self._group] = metadata.get("name")
        return self

    def __setitem__(self, key: str, value: Any) -> None:
        self._keys[key] = value
        self._recording.groups.setdefault(self._group, None)
        self._recording.values[f"{self._group}/{key}"] = value

    def __getitem__(self, key: str) -> Any:
        return self._keys[key]

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        del self._recording.values[f"{self._group}/{key}"]

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def keys(self) -> Iterable[str]:
        return self._keys.keys()

    def close(self) -> None:
        return


def structure_of(model: Any, recording: Recording, names: Mapping[int, str]) -> KerasStructure:
    """Return the skeleton of the files that Keras would write.

    Args:
        model: The model.
        recording: What it would write.
        names: Identity of a variable to its name in the manifest.
    """
    import keras

    store: dict[str, str] = {}
    copies: dict[str, str] = {}
    for path, value in recording.values.items():
        name = names.get(id(value))
        if name is None:
            continue
        if name in store:
            copies[path] = name
        else:
            store[name] = path
    config = _config_text(model)
    date = dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d@%H:%M:%S")
    metadata = json.dumps({"keras_version": keras.__version__, "date_saved": date})
    return KerasStructure(
        store=store,
        groups=dict(recording.groups),
        legacy=_legacy(model, names),
        config=config,
        metadata=metadata if config is not None else None,
        keras_version=keras.__version__,
        backend=keras.backend.backend(),
        copies=copies,
    )


def _config_text(model: Any) -> str | None:
    from keras.saving import serialize_keras_object
    from keras.src.saving import serialization_lib

    if not is_model(model):
        return None
    try:
        with serialization_lib.ObjectSharingScope():
            return json.dumps(serialize_keras_object(model))
    except Exception:  # a user's model without get_config can be written as weights only
        return None


def _legacy(model: Any, names: Mapping[int, str]) -> dict[str, tuple[tuple[str, str], ...]]:
    if not is_model(model):
        return {}
    legacy = {
        str(layer.name): _named([*layer.trainable_weights, *layer.non_trainable_weights], names)
        for layer in model.layers
    }
    kept = {id(variable) for variable in model.weights}
    own = [variable for variable in own_variables(model) if id(variable) in kept]
    legacy[TOP_LEVEL] = _named(own, names)
    return legacy


def _named(variables: list[Any], names: Mapping[int, str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (names[id(variable)], str(variable.path)) for variable in variables if id(variable) in names
    )
