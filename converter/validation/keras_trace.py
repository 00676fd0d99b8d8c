"""What every layer of a Keras model was given and what it made, in one run.

``call`` of each layer is replaced for the run, so functional, sequential, nested and subclassed
models are seen alike, and a layer that is called twice is seen twice. An activation inside a layer
(``Dense(activation="relu")``) is an event of its own: PyTorch modules have none. What is inside a
layer that has a counterpart as a whole, or inside a recurrent one, is not looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converter.live.keras_model import keras_to_array
from converter.tensors.dtype import Array
from converter.validation.running import flatten_outputs
from converter.validation.shelf import Shelf

_WHOLE = frozenset({"RNN", "LSTM", "GRU", "SimpleRNN", "Bidirectional", "TimeDistributed"})


@dataclass(eq=False, slots=True)
class Event:
    """One call of one layer.

    Attributes:
        layer: The layer, or the operation of a graph (``x + y``).
        call: Its own ``call``, or the activation function.
        args: Positional arguments as given.
        kwargs: Keyword arguments as given.
        output: What it returned.
        is_activation: Whether this is the activation inside ``layer``.
    """

    layer: Any
    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any
    is_activation: bool = False

    @property
    def name(self) -> str:
        """Name of the layer, with the activation where it is that."""
        return f"{self.layer.name} (activation)" if self.is_activation else str(self.layer.name)

    @property
    def inputs(self) -> list[Any]:
        """Tensors given, in order; masks are not among them."""
        named = {key: value for key, value in self.kwargs.items() if "mask" not in key}
        return list(flatten_outputs([list(self.args), named]).values())

    @property
    def result(self) -> Any:
        """The first tensor returned."""
        return next(iter(flatten_outputs(self.output).values()), None)


@dataclass(slots=True)
class KerasTrace:
    """Every event of one run, in order.

    Attributes:
        events: The events.
        output: What the model returned.
        shelf: Where what is compared with it is kept.
    """

    events: list[Event] = field(default_factory=list)
    output: Any = None
    shelf: Shelf = field(default_factory=Shelf)

    def store(self) -> None:
        """Put every tensor on the shelf; one that is used several times stays one."""
        import keras

        kept: dict[int, tuple[Any, Any]] = {}  # with the tensor, so that its identity stays its own

        def put(value: Any) -> Any:
            if next(iter(flatten_outputs(value).values()), None) is not value or value is None:
                return value
            if id(value) not in kept:
                array = as_array(value)
                found = self.shelf.keep(array, owner=value)
                kept[id(value)] = value, value if found is array else found
            return kept[id(value)][1]

        for event in self.events:
            event.args, event.kwargs, event.output = keras.tree.map_structure(
                put, (event.args, dict(event.kwargs), event.output)
            )
        self.output = keras.tree.map_structure(put, self.output)

    def of(self, layer: Any) -> list[Event]:
        """Return the calls of one layer."""
        return [one for one in self.events if one.layer is layer and not one.is_activation]

    def made_by(self, tensor: Any) -> Event | None:
        """Return the event that made a tensor; the last, since some only pass it on."""
        found = None
        for event in self.events:
            if event.result is tensor and all(one is not tensor for one in event.inputs):
                found = event
        return found

    def recompute(
        self, chain: Sequence[Event], values: Mapping[int, Array], kind: Any = None
    ) -> dict[int, Any]:
        """Return every tensor that is another when some are, by identity.

        Args:
            chain: Events to compute again, in order.
            values: Identity of a tensor to its value.
            kind: Dtype that each event's output is rounded to, or ``None``.
        """
        import keras

        new = {key: to_tensor(value) for key, value in values.items()}
        for event in chain:
            is_given = id(event.result) in values
            if is_given or (kind is None and not any(id(one) in new for one in event.inputs)):
                continue
            args, kwargs = keras.tree.map_structure(
                lambda one: _given(new.get(id(one), one)), (event.args, dict(event.kwargs))
            )
            made = event.call(*args, **kwargs)
            new[id(event.result)] = (
                made if kind is None else to_tensor(rounded(as_array(made), kind))
            )
        return new

    def apply(self, event: Event, array: Array) -> Array:
        """Return what the function of an event makes of another array."""
        return as_array(event.call(to_tensor(array)))

    def finals(self) -> list[Any]:
        """Return the tensors of events whose values are the model's outputs."""
        found = []
        for value in map(as_array, flatten_outputs(self.output).values()):
            for event in reversed(self.events):
                made = event.result
                if made is None or tuple(made.shape) != tuple(value.shape):
                    continue
                if np.array_equal(as_array(made), value, equal_nan=True):
                    found.append(made)
                    break
        return found


def _given(value: Any) -> Any:
    """Return a tensor of what is kept as an array, which layers do not take."""
    return to_tensor(value) if isinstance(value, np.ndarray) else value


def to_tensor(array: Array) -> Any:
    """Return an array as a tensor of Keras' backend."""
    import keras

    return keras.ops.convert_to_tensor(np.ascontiguousarray(array))


def rounded(array: Array, kind: Any) -> Array:
    """Return an array rounded to a dtype, in its own."""
    found: Array = array.astype(kind).astype(array.dtype)
    return found


def trace_keras(run: Callable[[], Any], model: Any, whole: Sequence[Any]) -> KerasTrace:
    """Run a model and return what happened.

    Args:
        run: Runs the model once.
        model: The model.
        whole: Layers that are looked at as a whole.
    """
    trace = KerasTrace()
    with contextlib.ExitStack() as stack:
        for layer in dict.fromkeys(_visible(model, {id(one) for one in whole})):
            stack.enter_context(_watched(layer, trace.events))
        trace.output = run()
    trace.store()
    return trace


def as_array(tensor: Any) -> Array:
    """Return the values of a tensor of any backend."""
    return keras_to_array(tensor, "an activation")


def _visible(layer: Any, whole: set[int]) -> Iterator[Any]:
    for child in _children(layer):
        inner = list(_children(child))
        kinds = {base.__name__ for base in type(child).__mro__}
        if id(child) in whole or kinds & _WHOLE or not inner:
            yield child
        else:
            yield from _visible(child, whole)


def _children(layer: Any) -> list[Any]:
    """Return the layers below one; those of a graph with its operations that are no layers."""
    graph = getattr(layer, "_functional", None) or layer
    operations = getattr(graph, "operations", None)
    found = operations if operations is not None else getattr(layer, "_layers", None)
    return [one for one in found or [] if type(one).__name__ != "InputLayer"]


@contextlib.contextmanager
def _watched(layer: Any, events: list[Event]) -> Iterator[None]:
    original = layer.call
    inner: list[Event] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        inner.clear()
        output = original(*args, **kwargs)
        made = inner[-1].args[0] if inner and inner[-1].output is output else output
        events.append(Event(layer, original, args, kwargs, made))
        if made is not output:
            events.append(inner[-1])
        return output

    before = dict(layer.__dict__)
    layer.__dict__["call"] = call
    activation = layer.__dict__.get("activation")
    # An Activation layer is its activation; a recurrent layer's is one of many inside.
    is_fused = callable(activation) and type(layer).__name__ != "Activation"
    if is_fused and not hasattr(layer, "recurrent_activation") and not _is_linear(activation):

        def activate(value: Any) -> Any:
            output = activation(value)
            inner.append(Event(layer, activation, (value,), {}, output, is_activation=True))
            return output

        activate.__name__ = getattr(activation, "__name__", "activation")
        layer.__dict__["activation"] = activate
    try:
        yield
    finally:
        for name in ("call", "activation"):
            if name in before:
                layer.__dict__[name] = before[name]
            else:
                layer.__dict__.pop(name, None)


def _is_linear(activation: Any) -> bool:
    return getattr(activation, "__name__", "") == "linear"
