"""What a weights-only file tells of a layer's class, without its architecture.

Only what one class alone can show counts: an automatic layer name (``conv2d_3``), or variables
that no other class of Keras 2 has (``depthwise_kernel``; a recurrent kernel with four gates). A
kernel of rank 2 may be a Dense or an EinsumDense, one of rank 4 a Conv2D or a Conv2DTranspose: that
is no answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from converter.mapping.catalogue import Catalogue
from converter.tensors.dtype import Shape

_NORMALISED = frozenset({"moving_mean", "moving_variance"})
_PROJECTIONS = frozenset({"query", "key", "value", "attention_output"})


def class_of_name(catalogue: Catalogue, name: str) -> str | None:
    """Return the class that an automatic layer name tells.

    Args:
        catalogue: The layer kinds.
        name: Name of a layer, such as ``conv2d_3``.
    """
    base, _, digits = name.rpartition("_")
    found = catalogue.class_of_snake(name)
    return found or (catalogue.class_of_snake(base) if base and digits.isdigit() else None)


def class_of_variables(shapes: Mapping[str, Shape]) -> str | None:
    """Return the only class that has these variables.

    Args:
        shapes: Name of each variable relative to the layer, to its shape.

    Examples:
        >>> class_of_variables({"depthwise_kernel": (3, 3, 8, 1), "bias": (8,)})
        'DepthwiseConv2D'
        >>> class_of_variables({"kernel": (5, 12), "recurrent_kernel": (3, 12), "bias": (12,)})
        'LSTM'
        >>> class_of_variables({"kernel": (5, 12), "bias": (12,)}) is None
        True
    """
    own = {name.rpartition("/")[2]: shape for name, shape in shapes.items()}
    layers = {name.split("/")[0] for name in shapes if "/" in name}
    if layers == _PROJECTIONS:
        return "MultiHeadAttention"
    if len(layers) > 1 or len(own) != len(shapes):
        return None
    if "recurrent_kernel" in own:
        return _recurrent(own)
    return None if layers else _simple(own)


def _simple(own: Mapping[str, Shape]) -> str | None:
    if "depthwise_kernel" in own:
        base = "SeparableConv" if "pointwise_kernel" in own else "DepthwiseConv"
        axes = len(own["depthwise_kernel"]) - 2
        return f"{base}{axes}D" if axes in (1, 2) else None
    if own.keys() >= _NORMALISED:
        return "BatchNormalization"
    return "Embedding" if own.keys() == {"embeddings"} else None


def _recurrent(shapes: Mapping[str, Shape]) -> str | None:
    """Tell a recurrent layer by its number of gates."""
    kernel, recurrent = shapes.get("kernel", ()), shapes["recurrent_kernel"]
    bias = shapes.get("bias", ())
    if len(recurrent) != 2:
        axes = len(recurrent) - 2
        has_four = recurrent[-1] == 4 * recurrent[-2]
        return f"ConvLSTM{axes}D" if axes in (1, 2, 3) and has_four else None
    units, width = recurrent
    if not units or len(kernel) != 2 or kernel[-1] != width or width % units:
        return None
    gates = width // units
    if gates == 4 and bias in ((), (width,)):
        return "LSTM"
    if gates == 3 and bias in ((), (width,), (2, width)):
        return "GRU"
    return "SimpleRNN" if gates == 1 and bias in ((), (width,)) else None
