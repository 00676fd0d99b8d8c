"""The typed graph of a Keras model: its layers, the calls of them, and the values between.

It is made from a configuration alone, read as data: nothing is deserialised, imported or run, so
that models of Keras 1 and 2 that no Keras opens any more have a graph too. Facts that weights do
not hold (epsilon, padding, activation) are entries of :attr:`Layer.config`, under their Keras 3
names and with the defaults of the version that wrote the file filled in.

Functions in the graph are layers too: an operation of Keras 3 (``keras.ops.add``) and what
tf.keras called TFOpLambda are of class ``"ops.Add"``, with the dot, because a layer ``Add`` exists
as well. Positional arguments of an operation are those of its call in Keras 3; its settings
(``axis``, ``newshape``) are its config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Sizes of the axes, the batch first; None where the model takes any size.
ValueShape = tuple[int | None, ...]

# What Keras 1 and 2 called hard_sigmoid, clip(0.2 x + 0.5), is an activation of its own here;
# "hard_sigmoid" is that of Keras 3, relu6(x + 3) / 6.
HARD_SIGMOID_2 = "hard_sigmoid_keras_2"

# What stands before the name of an operation in Layer.class_name.
OPERATION = "ops."


@dataclass(frozen=True, slots=True)
class ValueRef:
    """One value: an output of one call.

    Attributes:
        call: :attr:`Call.name`.
        index: Which of its outputs.
    """

    call: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class ValueSpec:
    """What a value is.

    Attributes:
        shape: ``(batch, ...)``; ``None`` for sizes that are open. ``None`` as a whole where
            nothing tells it: the output of a layer of a class that is not Keras' own.
        dtype: Keras' name of the element type (``"float32"``).
    """

    shape: ValueShape | None
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Constant:
    """An array written into the configuration as an argument of a call.

    Attributes:
        value: Its numbers as nested lists, or one number.
        dtype: Name of their type.
    """

    value: Any
    dtype: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, however often it is called.

    Attributes:
        path: As in :attr:`converter.tensors.spec.LayerSpec.path`.
        class_name: The Keras 3 class (``"Conv2D"`` also where Keras 1 wrote ``Convolution2D``).
        config: Its configuration under Keras 3 names, complete: defaults of the writing version
            are filled in. ``dtype`` is the name of its policy (``"mixed_float16"``). Sizes per
            axis (``kernel_size``, ``strides``) are lists, one entry an axis.
        written_class: The class as written.
        inner: The layer inside a wrapper (TimeDistributed, Bidirectional), or ``None``.
        model: The graph of a nested model, or ``None``.
        parts: Further layers in the configuration, by key: ``cell`` of an RNN, ``cells`` of
            StackedRNNCells, ``backward_layer`` of a Bidirectional that has one of its own.
        untranslatable: Why a configuration cannot say what the layer computes (it is Python code,
            or a class that is not Keras' own); empty where it can.
    """

    path: str
    class_name: str
    config: Mapping[str, Any]
    written_class: str = ""
    inner: Layer | None = None
    model: Graph | None = None
    parts: Mapping[str, tuple[Layer, ...]] = field(default_factory=dict)
    untranslatable: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one layer.

    Attributes:
        name: Unique in the graph: the layer's path, with ``#1``, ``#2`` from the second call on.
        layer: :attr:`Layer.path`.
        arguments: Positional arguments: nested tuples, lists and dicts of :class:`ValueRef`,
            :class:`Constant`, ``slice``, ``Ellipsis`` and plain values.
        keywords: Keyword arguments, likewise. The initial state of a recurrent layer is always
            ``initial_state`` here, also where Keras 2 wrote it as further inputs.
        outputs: What it gives; several for layers that return states.
    """

    name: str
    layer: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[ValueSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """A model: Functional and Sequential alike.

    Attributes:
        name: Name of the model.
        layers: In the order of the model.
        calls: In an order in which they can be carried out; inputs first.
        inputs: The model's inputs in order, each an output of an ``InputLayer`` call.
        outputs: The model's outputs in order.
        generation: 1, 2 or 3: which Keras wrote the configuration.
        data_format: ``"channels_last"`` or ``"channels_first"``, the default of its layers.
        input_structure: Nested tuples, lists or dicts of positions in ``inputs``, where the model
            takes more than a flat list; ``None`` otherwise.
        output_structure: Likewise for ``outputs``.
        class_name: ``"Functional"`` or ``"Sequential"``.
    """

    name: str
    layers: tuple[Layer, ...]
    calls: tuple[Call, ...]
    inputs: tuple[ValueRef, ...]
    outputs: tuple[ValueRef, ...]
    generation: int = 3
    data_format: str = "channels_last"
    input_structure: Any = None
    output_structure: Any = None
    class_name: str = "Functional"
