"""What kind of object one is given, told from its classes' names so that nothing is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def is_keras_layer(value: object) -> bool:
    """Whether an object is a Keras 3 layer or model.

    Source: keras 3.6 to 3.15.1, keras/src/layers/layer.py: every layer and model inherits it.
    """
    return _inherits(value, "keras.src.layers.layer", "Layer")


def is_old_keras_layer(value: object) -> bool:
    """Whether an object is a layer of tf_keras, or of the Keras 2 inside TensorFlow.

    Source: tf_keras 2.21, tf_keras/src/engine/base_layer.py; TensorFlow 2.15,
    tensorflow/python/keras and keras/src/engine.
    """
    return any(
        base.__name__ == "Layer" and base.__module__.endswith("engine.base_layer")
        for base in type(value).__mro__
    )


def is_torch_module(value: object) -> bool:
    """Whether an object is a ``torch.nn.Module``; true for Keras layers on the torch backend."""
    return _inherits(value, "torch.nn.modules.module", "Module")


def is_state_dict(value: object) -> bool:
    """Whether an object is a dictionary with text keys."""
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def is_weights_list(value: object) -> bool:
    """Whether an object is a list or tuple of arrays, as ``get_weights()`` gives it."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, (str, bytes, bytearray))
        and all(hasattr(item, "shape") and hasattr(item, "dtype") for item in value)
    )


def _inherits(value: object, module: str, name: str) -> bool:
    return any(base.__module__ == module and base.__name__ == name for base in type(value).__mro__)
