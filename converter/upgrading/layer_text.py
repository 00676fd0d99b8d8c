"""One layer of a graph as Keras 3.15 describes it: module, class and configuration.

Every setting that a default could change is written out. Entries that Keras 3 does not know are
left out where they have no meaning for the outputs; any other is a reason to refuse the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.graph.dialects import REQUIRED, class_now, config_now, keras_3_defaults
from converter.graph.nodes import HARD_SIGMOID_2, OPERATION, Layer
from converter.upgrading.words import described, is_data, policy, training_entry, words

# Entries that no output depends on, beside those that only training needs.
_WITHOUT_MEANING = frozenset(
    {"batch_shape", "build_input_shape", "input_length", "query_shape", "key_shape", "value_shape"}
    | {"activity_regularizer", "input_spec", "rank", "dropout"}
)
# Entries of earlier versions and the one value that changes nothing.
_NEUTRAL: Mapping[str, Any] = {
    "groups": 1,
    "mode": 0,
}
# Entries that a constructor takes and does not name.
_TAKEN = frozenset({"zero_output_for_mask"})
_TRAINING = ("_initializer", "_regularizer", "_constraint")
_ACTIVATIONS = ("activation", "recurrent_activation")

# Layers of keras.applications, which Keras 3 keeps beside its public ones.
_APPLICATIONS = {
    "LayerScale": ("keras.src.applications.convnext", ("init_values", "projection_dim")),
    "CustomScaleLayer": ("keras.src.applications.inception_resnet_v2", ("scale",)),
}

# Layers that are code, or read files, wherever they are opened. Their weights are not Keras' own.
_FOREIGN = {
    "TFSMLayer": "it runs a SavedModel from another file",
    "TorchModuleWrapper": "it holds a pickled PyTorch module",
    "JaxLayer": "it calls a function of Python",
    "FlaxLayer": "it calls a function of Python",
}

# Describes a nested model, given its name and its group in the weights file.
WriteModel = Callable[[Layer, str, str], dict[str, Any]]


class RefusedError(Exception):
    """A layer that Keras 3 cannot be told of; the text is the reason."""


@dataclass(slots=True)
class Left:
    """What was left out, by what it was.

    Attributes:
        training: Path of a layer to entries that are a class of somebody's own.
    """

    training: dict[str, list[str]] = field(default_factory=dict)


class LayerText:
    """Describes the layers of one model.

    Args:
        generation: Which Keras wrote it.
        write_model: Describes a nested model.
        left: Gets what is left out.
    """

    def __init__(self, generation: int, write_model: WriteModel, left: Left) -> None:
        self._generation = generation
        self._write_model = write_model
        self._left = left

    def describe(self, layer: Layer, name: str, place: str = "") -> dict[str, Any]:
        """Return a layer as Keras 3 describes it.

        Args:
            layer: The layer.
            name: What it is to be called.
            place: Its group in the weights file, which those of a model in it are below.

        Raises:
            RefusedError: If Keras 3 has no words for it.
        """
        if layer.untranslatable:
            raise RefusedError(layer.untranslatable)
        if layer.class_name in _FOREIGN:
            raise RefusedError(_FOREIGN[layer.class_name])
        if layer.model is not None:
            return self._write_model(layer, name, place)
        if layer.class_name.startswith(OPERATION):
            return _operation(layer, name)
        module, entries = "keras.layers", keras_3_defaults().get(layer.class_name)
        registered = None
        if layer.class_name in _APPLICATIONS:
            module, own = _APPLICATIONS[layer.class_name]
            entries, registered = dict.fromkeys(own, REQUIRED), layer.class_name
        if entries is None:
            raise RefusedError(f"Keras 3 has no layer {layer.class_name}")
        config = {"name": name, **self._basics(layer), **self._entries(layer, entries)}
        config |= self._inside(layer, place)
        return {**described(module, layer.class_name, config), "registered_name": registered}

    def _basics(self, layer: Layer) -> dict[str, Any]:
        dtype = str(layer.config.get("dtype", "float32"))
        if layer.class_name == "InputLayer":
            return {"dtype": dtype}
        if "_from_" in dtype:
            raise RefusedError(f"its weights are quantised ({dtype})")
        if "trainable" not in words()["layers"].get(layer.class_name, ("trainable",)):
            return {"dtype": policy(dtype)}
        return {"trainable": layer.config.get("trainable") is not False, "dtype": policy(dtype)}

    def _entries(self, layer: Layer, known: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in layer.config.items():
            if key in ("name", "trainable", "dtype"):
                continue
            if key in _ACTIVATIONS:
                made[key] = _line(layer) if value == HARD_SIGMOID_2 else self._activation(value)
            elif key in known:
                if value != REQUIRED and not (value is None and known[key] is None):
                    made[key] = _data(key, value)
            elif key in _TAKEN:
                made[key] = _data(key, value)
            elif key.endswith(_TRAINING):
                made |= self._training(layer, key, value)
            elif not _means_nothing(key, value):
                raise RefusedError(f"its {key} is {value!r}, which Keras 3 does not know")
        missing = [key for key, value in known.items() if value == REQUIRED and key not in made]
        missing = [key for key in missing if key not in ("layer", "cell", "cells")]
        if missing:
            raise RefusedError(f"its configuration does not say its {missing[0]}")
        return made

    def _training(self, layer: Layer, key: str, value: Any) -> dict[str, Any]:
        if value is None or key not in words()["layers"].get(layer.class_name, ()):
            return {}
        found = training_entry(key, value)
        if found is None:
            self._left.training.setdefault(layer.path, []).append(key)
            return {}
        return {key: found}

    def _activation(self, value: Any) -> Any:
        """Return an activation: a name, or a layer that stands for one."""
        if isinstance(value, str):
            if value not in words()["activations"]:
                raise RefusedError(f"its activation {value!r} is not one of Keras")
            return value
        class_name = class_now(str(value.get("class_name"))) if isinstance(value, dict) else ""
        config = value.get("config") if isinstance(value, dict) else None
        if class_name not in keras_3_defaults() or not isinstance(config, dict):
            raise RefusedError("its activation is a function that is not one of Keras")
        written = str(value["class_name"]).rpartition(">")[2]
        now = config_now(written, config, self._generation, "channels_last")
        return self.describe(Layer("", class_name, now), str(now.get("name") or class_name.lower()))

    def _inside(self, layer: Layer, place: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if layer.inner is not None:
            made["layer"] = self.describe(layer.inner, name_of(layer.inner), f"{place}/layer")
        for key, parts in layer.parts.items():
            found = [self.describe(one, _part_name(layer, key, one)) for one in parts]
            made[key] = found if key == "cells" else found[0]
        return made


def _line(layer: Layer) -> dict[str, Any]:
    """Return the hard_sigmoid of Keras 2 as two layers, where a name of an activation stands.

    Source: keras 3.15.1 ``activations/__init__.py``, ``get``: any callable object will do;
    ``layers/preprocessing/pipeline.py``.
    """
    settings = {"dtype": policy(str(layer.config.get("dtype", "float32")))}
    scaled = {"name": "line", **settings, "scale": 0.2, "offset": 0.5}
    clipped: dict[str, Any] = {"max_value": 1.0, "negative_slope": 0.0, "threshold": 0.0}
    parts = [
        described("keras.layers", "Rescaling", scaled),
        described("keras.layers", "ReLU", {"name": "clip", **settings, **clipped}),
    ]
    return described("keras.layers", "Pipeline", {"name": "hard_sigmoid", "layers": parts})


def name_of(layer: Layer) -> str:
    """Return what a layer is called in its configuration, or else in the graph."""
    name = layer.config.get("name")
    return name if isinstance(name, str) and name else layer.path.rpartition("/")[2]


def _part_name(layer: Layer, key: str, part: Layer) -> str:
    """Return what a layer inside another is called: a way back as Keras itself calls it."""
    if key == "backward_layer" and layer.inner is not None:
        return f"backward_{name_of(layer.inner).removeprefix('forward_')}"
    return name_of(part)


def _data(key: str, value: Any) -> Any:
    """Return a value that is data.

    Raises:
        RefusedError: If Keras would make an object of it, or read a file of that name.
    """
    if not is_data(value):
        raise RefusedError(f"its {key} is an object, which Keras would make")
    if key == "vocabulary" and isinstance(value, str):
        raise RefusedError(f"its {key} is the name of a file, which Keras would read")
    return value


def _means_nothing(key: str, value: Any) -> bool:
    """Whether an entry that Keras 3 does not know changes no output: what is off stays off."""
    if key in _WITHOUT_MEANING or value is None or value is False:
        return True
    return key in _NEUTRAL and bool(value == _NEUTRAL[key])


def _operation(layer: Layer, name: str) -> dict[str, Any]:
    class_name = layer.class_name.removeprefix(OPERATION)
    known = words()["operations"].get(class_name)
    if known is None:
        raise RefusedError(f"Keras 3 has no operation {class_name}")
    unknown = [key for key in layer.config if key not in known["settings"]]
    if unknown:
        raise RefusedError(f"the operation {class_name} of Keras 3 has no {unknown[0]}")
    settings = {key: _data(key, value) for key, value in layer.config.items()}
    made = described(known["module"], class_name, {"name": name, **settings})
    return {**made, "registered_name": class_name}
