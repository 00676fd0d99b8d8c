"""Which layer each weight of a legacy HDF5 file belongs to, told from its name.

A group holds the weights of one top-level layer, nested models and wrappers included, in an order
that depends on what was frozen when the file was saved. So the order counts for nothing here. Names
differ between writers: Keras 3 writes ``inner/dense/kernel`` and sometimes ``dense/kernel``,
tf_keras leaves the inner model's name out and adds ``:0``, and TensorFlow numbers a scope that it
met twice (``conv1_1/kernel`` of ``conv1``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.formats.keras_config import MODEL_CLASSES, ConfigLayer


@dataclass(eq=False, slots=True)
class LegacyLayer:
    """One layer and the weights that are its own or of layers in it that nothing describes.

    Attributes:
        name: Its name as in the file or the architecture.
        class_name: Its Keras class, or ``None``.
        config: Its configuration; empty where unknown.
        inbound: Names of the layers beside it that feed it.
        is_known_class: Whether the class is one of Keras.
        is_model: Whether it is a model whose layers are ``children``.
        children: The layers of a model, or those that names alone show.
        weights: Name relative to the layer, to the dataset.
        wrapped: Name and class of layers inside a wrapper, which are numbered with all others.
    """

    name: str
    class_name: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    inbound: tuple[str, ...] = ()
    is_known_class: bool = True
    is_model: bool = False
    children: list[LegacyLayer] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)
    wrapped: tuple[tuple[str, str], ...] = ()

    @property
    def is_plain_model(self) -> bool:
        """Whether it is a model itself, rather than a wrapper around one."""
        return self.is_model and self.class_name in MODEL_CLASSES

    def below(self) -> Iterator[LegacyLayer]:
        """Yield every layer below this one, parents before children."""
        for child in self.children:
            yield child
            yield from child.below()


def from_config(layer: ConfigLayer) -> LegacyLayer:
    """Return a layer of an architecture, without weights yet."""
    config = {key: value for key, value in layer.config.items() if key != "layers"}
    inner = [part for parts in layer.parts.values() for part in parts]
    # A wrapped model is followed like a nested one: its weights carry their layers' names.
    holds_model = any(part.is_model for part in inner)
    below = layer.layers if layer.is_model else inner if holds_model else ()
    return LegacyLayer(
        layer.name,
        layer.class_name,
        config if layer.is_model else layer.config,
        layer.inbound,
        layer.is_known_class,
        layer.is_model or holds_model,
        [from_config(one) for one in below],
        wrapped=tuple((one.name, one.class_name) for one in _described(layer)),
    )


def _described(layer: ConfigLayer) -> Iterator[ConfigLayer]:
    for parts in layer.parts.values():
        for part in parts:
            if not part.is_model:
                yield part
                yield from _described(part)


def relative_name(weight: str, layer: str) -> str:
    """Return a weight's name relative to its layer.

    Examples:
        >>> relative_name("conv1_2/kernel:0", "conv1")
        'kernel'
        >>> relative_name("my_model/lstm/lstm_cell/bias", "lstm")
        'lstm_cell/bias'
        >>> relative_name("dense_1/kernel:0", "encoder")
        'dense_1/kernel'
        >>> relative_name("stem/conv/kernel:0", "stem/conv")
        'kernel'
    """
    name = re.sub(r":\d+$", "", weight)
    _, found, rest = f"/{name}".partition(f"/{layer}/")
    if found:
        return rest
    parts = name.split("/")
    if len(parts) > 1 and is_numbered(parts[0], layer):
        return "/".join(parts[1:])
    return "/".join(parts)


def is_numbered(name: str, base: str) -> bool:
    """Whether a scope is a layer's name with a number that TensorFlow put after it."""
    return name.startswith(f"{base}_") and name[len(base) + 1 :].isdigit()


def hand_down(model: LegacyLayer) -> list[str]:
    """Give a nested model's weights to its layers.

    Returns:
        Names of the weights that belong to no layer, or to more than one; they stay where they
        are.
    """
    left = []
    for name, dataset in list(model.weights.items()):
        parts = name.split("/")
        found = _find(model, parts, exact=True) or _find(model, parts, exact=False)
        if len(found) != 1 or found[0][1] in found[0][0].weights:
            left.append(name)
            continue
        layer, rest = found[0]
        layer.weights[rest] = dataset
        del model.weights[name]
    return left


def _find(model: LegacyLayer, parts: list[str], *, exact: bool) -> list[tuple[LegacyLayer, str]]:
    """Return each layer that a weight may belong to, with the rest of its name.

    The names of models on the way may be left out. A name may have slashes itself.
    """
    if len(parts) < 2:
        return []
    for child in model.children:
        count = child.name.count("/") + 1
        rest = parts[count:]
        if not rest or not _matches("/".join(parts[:count]), child.name, exact=exact):
            continue
        if not child.is_model:
            return [(child, "/".join(rest))]
        inside = _find(child, rest, exact=exact)
        if inside:
            return inside
    found = []
    for child in model.children:
        if child.is_model:
            found.extend(_find(child, parts, exact=exact))
    return found


def _matches(part: str, name: str, *, exact: bool) -> bool:
    return part == name if exact else is_numbered(part, name)
