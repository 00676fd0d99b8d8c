"""Rows of layers behind a Flatten, from the order of Theano to the one of Keras 3.

Keras 1 flattened an image as it lay, with channels first where dimensions were ordered as in
Theano. Keras 3 moves them behind the positions before it flattens, whatever the order of the image,
so a Dense layer that follows has its rows in another order.

Source: keras 1.2.2 ``backend/common``, ``batch_flatten``; keras 3.15.1
``layers/reshaping/flatten.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from converter.formats.hdf5_assembly import Assembly, Combine
from converter.formats.hdf5_types import Hdf5Dataset
from converter.formats.keras_legacy_tree import LegacyTree
from converter.formats.wording import quoted
from converter.mapping.features import FeatureOrder, Unknown
from converter.tensors.dtype import Array

_READERS = ("Dense", "BatchNormalization")
_PER_FEATURE = frozenset({"kernel", "gamma", "beta", "moving_mean", "moving_variance"})


def move_features(
    tree: LegacyTree, made: Mapping[str, Assembly], datasets: Mapping[str, Hdf5Dataset]
) -> tuple[dict[str, Assembly], list[str]]:
    """Return what is made otherwise because a Flatten comes before it, and what to say.

    Args:
        tree: The named tensors of a file whose dimensions are ordered as in Theano.
        made: How each is made.
        datasets: Every dataset, those that are made included.
    """
    order = FeatureOrder(tree.layers)
    has_graph = any(layer.inbound for layer in tree.layers)
    moved: dict[str, Assembly] = {}
    unknown = []
    for layer in tree.layers:
        if layer.class_name not in _READERS:
            continue
        channels = order.channels_before_flatten(layer.path)
        if isinstance(channels, Unknown):
            # Without a graph every normalisation would be one that may follow a Flatten.
            if has_graph or layer.class_name == "Dense":
                unknown.append(layer.path)
            continue
        for slot, name in layer.tensors.items():
            path = tree.datasets[name]
            shape = datasets[path].shape
            if channels and slot in _PER_FEATURE and shape[0] % channels == 0 and path in made:
                moved[path] = replace(made[path], combine=_moving(made[path].combine, channels))
    if not unknown:
        return moved, []
    shown = ", ".join(map(quoted, unknown[:3]))
    how = "no other layer tells how" if has_graph else "give the architecture to have them moved"
    said = (
        f"rows of {shown} are kept in the order of the file: (channels, height, width) where an "
        f"image is flattened before them, and Keras 3 has (height, width, channels); {how}."
    )
    return moved, [said]


def _moving(combine: Combine, channels: int) -> Combine:
    """Return the same values with the rows of each channel no longer next to each other."""

    def moved(arrays: Sequence[Array]) -> Array:
        values = combine(arrays)
        apart = values.reshape(channels, -1, *values.shape[1:])
        return np.swapaxes(apart, 0, 1).reshape(values.shape)

    return moved
