"""Where the Keras side itself is known to be wrong, so that a difference is not the conversion's.

Source: the Keras torch backend measured against the TensorFlow backend, 455 configurations, Keras
3.10.0 to 3.15.1; keras issues 18452 and 22876, pull request 23233.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_OTHERS = "--keras-backend runs it on another one"


def wrong_references(model: Any) -> Iterator[str]:
    """Yield a sentence for each layer that the installed Keras is known to compute wrongly."""
    import keras

    if keras.backend.backend() != "torch":
        return
    version = tuple(int(part) for part in keras.__version__.split(".")[:2] if part.isdigit())
    for layer in model._flatten_layers():  # noqa: SLF001 -- layers of layers have no public list
        name = type(layer).__name__
        if name.startswith("AveragePooling") and _pads_unevenly(layer, layer.pool_size):
            yield (
                f"'{layer.name}' is an {name} that pads more on one side: Keras {keras.__version__}"
                " on the torch backend averages over copies of the border there, and is wrong; "
                f"{_OTHERS}."
            )
        elif "Transpose" in name and version < (3, 15) and _crops_unevenly(layer):
            yield (
                f"'{layer.name}' is a {name} with padding 'same': Keras {keras.__version__} on the "
                f"torch backend shifts its output by one, and is wrong; {_OTHERS}."
            )
        elif getattr(layer, "interpolation", None) == "bicubic":
            yield (
                f"'{layer.name}' interpolates bicubically: the torch backend of Keras uses another "
                f"coefficient (-0.75) than the other backends (-0.5); {_OTHERS}."
            )


def _pads_unevenly(layer: Any, window: tuple[int, ...]) -> bool:
    """Whether 'same' padding adds an odd number of rows; true where the size is open."""
    if layer.padding != "same":
        return False
    shape = _spatial_shape(layer)
    strides = layer.strides
    for index, (size, stride) in enumerate(zip(window, strides, strict=True)):
        length = shape[index] if shape is not None else None
        if length is None:
            return size > 1
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        if total % 2:
            return True
    return False


def _crops_unevenly(layer: Any) -> bool:
    if getattr(layer, "padding", None) != "same":
        return False
    sizes = zip(layer.kernel_size, layer.strides, strict=True)
    return any((size - stride) % 2 for size, stride in sizes)


def _spatial_shape(layer: Any) -> tuple[int | None, ...] | None:
    try:
        shape = layer.input.shape
    except (AttributeError, ValueError):  # called never, or several times
        return None
    return tuple(shape[2:] if layer.data_format == "channels_first" else shape[1:-1])
