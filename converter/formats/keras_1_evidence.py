"""What the arrays of a layer of Keras 1 tell of its class, where neither a name nor a config does.

Keras 1 had few layers, so their arrays tell more than those of today: there was no EinsumDense, and
only BatchNormalization kept running statistics.
"""

from __future__ import annotations

from collections.abc import Mapping

from converter.tensors.dtype import Shape

_GATED = {4: "LSTM", 3: "GRU", 1: "SimpleRNN"}


def class_of_arrays(shapes: Mapping[str, Shape], name: str) -> str | None:
    """Return the class that has these arrays, or ``None``.

    Args:
        shapes: Name of each array to its shape.
        name: Name of the layer: what is called an embedding and looks like one is one.

    Examples:
        >>> class_of_arrays({"W": (8, 3), "b": (3,)}, "head")
        'Dense'
        >>> class_of_arrays({"W": (800, 8)}, "user_embedding")
        'Embedding'
        >>> class_of_arrays({"W": (3, 3, 8, 5), "b": (5,)}, "stem") is None
        True
    """
    arrays = shapes.keys()
    if arrays >= {"running_mean", "running_std"}:
        return "BatchNormalization"
    if {"W_i", "W_c"} <= arrays:
        return "ConvLSTM2D" if len(shapes["W_i"]) == 4 else "LSTM"
    if {"W_z", "W_r"} <= arrays:
        return "GRU"
    if "depthwise_kernel" in arrays:
        return "SeparableConv2D"
    if arrays == {"alphas"}:
        return "PReLU"
    return _of_matrix(shapes, name)


def _of_matrix(shapes: Mapping[str, Shape], name: str) -> str | None:
    matrix = shapes.get("W", ())
    if len(matrix) != 2:
        return None
    recurrent = shapes.get("U")
    if recurrent is not None:
        is_known = len(recurrent) == 2 and recurrent[0] and matrix[1] == recurrent[1]
        return _GATED.get(recurrent[1] // recurrent[0]) if is_known else None
    if shapes.keys() == {"W", "b"} and shapes["b"] == (matrix[1],):
        return "Dense"
    return "Embedding" if shapes.keys() == {"W"} and "embed" in name.lower() else None
