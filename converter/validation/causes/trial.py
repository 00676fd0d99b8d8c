"""What a trial is: a layer, or what lies between two, computed with one thing changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.tensors.dtype import Array
from converter.validation.keras_trace import Event


@dataclass(frozen=True, slots=True)
class Suspect:
    """A module that gives another output on its layer's own input.

    Attributes:
        layer: The Keras layer.
        event: Its call.
        args: What the module was given, tensors of PyTorch.
        kwargs: The same by name.
        found: What it returned.
        planned: Name of a parameter within the module to what the plan gives it.
        flattened: Shape before flattening, channels last and without the batch, where the layer
            reads flattened features.
        exact: What the module was given, before it was rounded to a dtype of 16 bits.
    """

    layer: Any
    event: Event
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    found: Array
    planned: Mapping[str, Array] = field(default_factory=dict)
    flattened: tuple[int, ...] = ()
    exact: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """One hypothesis about a module.

    Attributes:
        cause: Identifier, see :data:`converter.validation.causes.table.CAUSES`.
        run: Takes a copy of the module, repairs it, and returns its output.
        detail: What was changed, for the sentence.
    """

    cause: str
    run: Callable[[Any], Any]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """One hypothesis about what lies between: what PyTorch does in the place of a Keras event.

    Attributes:
        cause: As in :class:`Trial`.
        compute: Takes the event's inputs (arrays in Keras' layout), returns its output.
        detail: What PyTorch does.
        fix: What Keras does.
    """

    cause: str
    compute: Callable[..., Any]
    detail: str = ""
    fix: str = ""
