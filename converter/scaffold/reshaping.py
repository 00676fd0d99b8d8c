"""Layers that arrange values anew; what they say of axes is said in Keras' order."""

from __future__ import annotations

from collections.abc import Sequence

from converter.graph.nodes import ValueRef
from converter.scaffold.program import Code, Use, listed
from converter.scaffold.scope import Order, Translation, Value


def flatten(t: Translation) -> None:
    """Flatten; of an image, it is written when a layer asks for the features."""
    if t.first.rank == 1:
        t.give(t.write((t.use("keras"), ".unsqueeze(1)")), "keras")
        return
    _flat(t)


def _flat(t: Translation) -> None:
    value = t.first
    if value.rank == 2:
        t.scope.put(ValueRef(t.call.name, 0), value)
        return
    own: Order = "flat" if value.own == "first" else "keras"
    channels = value.shape[-1] if own == "flat" else None
    flat = Value(t.output(), own, image=value, channels=channels)
    t.scope.put(ValueRef(t.call.name, 0), flat)


def reshape(t: Translation) -> None:
    """Reshape; to a vector it is a Flatten."""
    shape = t.output()
    if len(shape) == 2 and t.first.rank > 2:
        _flat(t)
        return
    if t.first.rank == 2 and all(size == 1 for size in shape[1:-1]):
        # One pixel: channels first at once.
        t.give(t.write((t.use("keras"), f"[:, :{', None' * (len(shape) - 2)}]")), "first")
        return
    number = t.write(reshaped(t.use("keras"), shape))
    t.give(number, "keras")


def reshaped(use: Use, shape: Sequence[int | None]) -> Code:
    """Return code that gives a value another shape; the batch, and one more size, may be open."""
    sizes = [size if size is not None else -1 for size in shape[1:]]
    if sizes.count(-1) == 0:
        return (use, ".reshape", *listed((-1, *sizes)))
    return (use, ".reshape(", use, ".shape[0], ", ", ".join(map(str, sizes)), ")")


def permute(t: Translation) -> None:
    """Permute: axes counted from 1, without the batch."""
    axes = (0, *t.config["dims"])
    t.give(t.write((t.use("keras"), ".permute", *listed(axes, "axis"))), "keras")
