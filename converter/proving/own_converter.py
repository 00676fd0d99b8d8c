"""Compare with keras_hub's own converter, which goes from PyTorch to Keras.

It is written by other people, variable by variable, so equal bits say more than equal outputs: the
weights are where keras_hub itself would have put them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from converter.proving.pretrained import is_of_transformers, saved_tensors
from converter.tensors.dtype import Array


class _Loader:
    """What keras_hub's converters need of their loader: tensors by name, put into variables.

    Source: keras_hub 0.32.0, utils/transformers/safetensor_utils.py, class SafetensorLoader.
    """

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self._tensors = tensors

    def get_tensor(self, name: str) -> Array:
        return self._tensors[self._full(name)]

    def port_weight(
        self,
        keras_variable: Any,
        hf_weight_key: str,
        hook_fn: Callable[[Array, list[int]], Array] | None = None,
    ) -> None:
        value = self.get_tensor(hf_weight_key)
        if hook_fn is not None:
            value = hook_fn(value, list(keras_variable.shape))
        keras_variable.assign(value)

    def _full(self, name: str) -> str:
        """Return the key of a tensor; either of the two may leave out a prefix."""
        if name in self._tensors:
            return name
        parts = name.split(".")
        shorter = (".".join(parts[start:]) for start in range(1, len(parts)))
        longer = (key for key in self._tensors if key.endswith(f".{name}"))
        return next((key for key in (*longer, *shorter) if key in self._tensors), name)


def own_weights(model: Any, module: Any, converter: str) -> list[Array]:
    """Let keras_hub's own converter fill a Keras model from a PyTorch module.

    Args:
        model: A Keras model or task of keras_hub, filled in place.
        module: The PyTorch twin.
        converter: The module that has ``convert_weights``, such as
            ``keras_hub.src.utils.transformers.convert_bert``.

    Returns:
        The weights of the model's backbone, in ``get_weights()`` order.
    """
    convert = importlib.import_module(converter).convert_weights
    tensors = {name: one.detach().numpy() for name, one in module.state_dict().items()}
    if is_of_transformers(module):  # such converters read files, whose names may be others
        tensors = saved_tensors(module) | tensors
    backbone = getattr(model, "backbone", model)
    convert(backbone, _Loader(tensors), _config(module))
    weights: list[Array] = backbone.get_weights()
    return weights


def _config(module: Any) -> dict[str, Any]:
    """Return the configuration that such a converter reads: of transformers, or of timm."""
    config = getattr(module, "config", None)
    if config is not None:
        found: dict[str, Any] = config.to_dict()
        return found
    return dict(getattr(module, "pretrained_cfg", None) or {})
