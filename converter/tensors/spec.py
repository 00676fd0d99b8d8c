"""What a tensor and a layer are, without any value.

A :class:`TensorSpec` is a name, a shape and a dtype. A :class:`LayerSpec` says which tensors one
Keras layer owns and what it is, as far as its checkpoint tells: that is what the layer-kind
catalogue needs to pair it with a PyTorch module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.tensors.dtype import DType, Shape


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape and dtype of one tensor.

    Attributes:
        name: Unique in its manifest. Keras: the layer's path, then the variable's
            (``conv1/kernel``). PyTorch: the state-dict key (``conv1.weight``).
        shape: Size of each axis, outermost first.
        dtype: The element type as stored.
    """

    name: str
    shape: Shape
    dtype: DType

    @property
    def nbytes(self) -> int:
        """Size of the values, in bytes."""
        return self.dtype.nbytes(self.shape)


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One Keras layer: where it is, what it is, and which tensors it owns.

    Attributes:
        path: The names of the layers around it and its own, from the outside in, joined by
            ``/``; the model itself is left out (``encoder/conv1``).
        class_name: The Keras class (``"Conv2D"``), or ``None`` where the checkpoint does not say.
        tensors: Slot to tensor name. A slot is the catalogue's name for a variable of a known
            class (``"kernel"``, ``"forward/recurrent_kernel"``). A layer of an unknown class has
            its own variables by position (``"0"``, ``"1"``) or by their own names.
        config: The layer's configuration as written in the checkpoint; empty where unknown.
        inbound: Paths of the layers whose outputs it takes, in order; empty where unknown.
    """

    path: str
    class_name: str | None
    tensors: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)
    inbound: tuple[str, ...] = ()
