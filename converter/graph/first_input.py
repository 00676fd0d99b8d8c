"""What comes into a Sequential model that does not say it, told from its first layer's weights.

Such a model was saved before it was built on an input of known shape, or by a version that did not
write it. The kernel of its first layer has the number of channels; positions stay open.
"""

from __future__ import annotations

from converter.graph.nodes import ValueShape, ValueSpec
from converter.tensors.manifest import Manifest
from converter.tensors.spec import LayerSpec

# Class to the slot of the tensor that has the channels, the axis of it, and the open axes before.
_FIRST = {
    "Dense": ("kernel", 0, 1),
    "Conv1D": ("kernel", 1, 2),
    "Conv2D": ("kernel", 2, 3),
    "Conv3D": ("kernel", 3, 4),
    "LSTM": ("kernel", 0, 2),
    "GRU": ("kernel", 0, 2),
    "SimpleRNN": ("kernel", 0, 2),
}


def input_of_weights(manifest: Manifest, path: str) -> ValueSpec | None:
    """Return what the first layer below a path takes, as far as its weights tell.

    Args:
        manifest: The manifest.
        path: Path of the model; empty for the outermost.
    """
    first = next((layer for layer in manifest.layers if _is_below(layer.path, path)), None)
    if first is None:
        return None
    shape = _shape(manifest, first)
    return None if shape is None else ValueSpec(shape)


def _is_below(path: str, above: str) -> bool:
    return path != above and (not above or path.startswith(f"{above}/"))


def _shape(manifest: Manifest, layer: LayerSpec) -> ValueShape | None:
    if layer.class_name == "Embedding":
        return (None, None)
    slot, axis, open_axes = _FIRST.get(layer.class_name or "", ("", 0, 0))
    tensor = layer.tensors.get(slot)
    if tensor is None or layer.config.get("groups", 1) != 1:
        return None
    if layer.config.get("data_format") == "channels_first":
        return (None, manifest[tensor].shape[axis], *(None,) * (open_axes - 1))
    return (*(None,) * open_axes, manifest[tensor].shape[axis])
