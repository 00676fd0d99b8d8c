"""A trace of Keras that another process made: its tensors as files, its layers as their settings.

What the two processes say to each other about a trace is decided here. Each tensor is a ``.npy``
file in a temporary folder and is read when it is compared; a layer is an object of an empty class
of the same name with the settings that the hypotheses ask for; what has to be computed again is
asked of the other process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from converter.live.torch_module import is_tensor
from converter.tensors.dtype import Array, get_dtype
from converter.validation.keras_trace import Event, KerasTrace, as_array
from converter.validation.running import flatten_outputs

Ask = Callable[[Mapping[str, Any], Mapping[str, Array]], dict[str, Array]]

_SETTINGS = (
    *("name", "padding", "strides", "dilation_rate", "kernel_size", "pool_size", "groups", "axis"),
    *("epsilon", "reset_after", "go_backwards", "keepdims", "interpolation", "negative_slope"),
)
_FUNCTIONS = ("activation", "recurrent_activation")
_STATISTICS = ("moving_mean", "moving_variance")


class Sender:
    """Writes a trace into a folder, and computes parts of it again.

    Args:
        trace: The trace.
        layers: Path to layer, of those that have a module.
        folder: Where tensors are written to.
    """

    def __init__(self, trace: KerasTrace, layers: Mapping[str, Any], folder: Path) -> None:
        self._trace = trace
        self._layers = layers
        self._folder = folder
        self._tensors: dict[int, tuple[int, Any]] = {}

    def header(self) -> dict[str, Any]:
        """Return what JSON can say of the trace."""
        known = [one.layer for one in self._trace.events] + list(self._layers.values())
        unique = list({id(one): one for one in known}.values())
        numbers = {id(one): number for number, one in enumerate(unique)}
        events = [
            {
                "layer": numbers[id(one.layer)],
                "function": getattr(one.call, "__name__", "") if one.is_activation else "",
                "args": self._plain(list(one.args)),
                "kwargs": self._plain(dict(one.kwargs)),
                "inputs": self._plain(one.inputs),
                "result": self._plain(one.result),
            }
            for one in self._trace.events
        ]
        return {
            "layers": [self._settings(one) for one in unique],
            "events": events,
            "pairs": {path: numbers[id(one)] for path, one in self._layers.items()},
            "finals": self._plain(self._trace.finals()),
            "tensors": {
                number: [list(tensor.shape), _dtype(tensor)]
                for number, tensor in self._tensors.values()
            },
        }

    def recompute(self, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the tensors that another process asked to be computed again, by number."""
        tensors = dict(self._tensors.values())
        chain = [self._trace.events[number] for number in header["chain"]]
        values = {id(tensors[int(number)]): array for number, array in arrays.items()}
        kind = None if header["kind"] is None else get_dtype(header["kind"]).numpy
        new = self._trace.recompute(chain, values, kind)
        numbers = {id(tensor): number for number, tensor in self._tensors.values()}
        return {
            str(numbers[one]): as_array(tensor) for one, tensor in new.items() if one in numbers
        }

    def apply(self, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return what the function of an event makes of another array."""
        event = self._trace.events[header["event"]]
        return {"made": self._trace.apply(event, arrays["given"])}

    def _settings(self, layer: Any) -> dict[str, Any]:
        kind = type(layer)
        found: dict[str, Any] = {"class": kind.__name__}
        for name in _SETTINGS:
            value = getattr(layer, name, None)
            if isinstance(value, (str, int, float, list, tuple)):
                found[name] = value
        functions = {one: getattr(layer, one, None) for one in _FUNCTIONS}
        found["functions"] = {
            name: getattr(one, "__name__", type(one).__name__)
            for name, one in functions.items()
            if one is not None
        }
        statistics = {one: getattr(layer, one, None) for one in _STATISTICS}
        found["statistics"] = {
            name: self._plain(one.value) for name, one in statistics.items() if one is not None
        }
        return found

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(name): self._plain(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._plain(one) for one in value]
        if isinstance(value, (str, int, float)) or value is None:
            return value
        if is_tensor(value) or flatten_outputs(value):
            return {"tensor": self._number(value)}
        return None

    def _number(self, tensor: Any) -> int:
        if id(tensor) not in self._tensors:
            number = len(self._tensors)
            self._tensors[id(tensor)] = number, tensor  # kept, so that its identity stays its own
            array = np.ascontiguousarray(as_array(tensor))
            raw = array if array.dtype.isbuiltin == 1 else array.view(f"u{array.itemsize}")
            np.save(self._folder / f"{number}.npy", raw, allow_pickle=False)
        return self._tensors[id(tensor)][0]


def _dtype(tensor: Any) -> str:
    return get_dtype(as_array(tensor).dtype).name


@dataclass(eq=False, frozen=True, slots=True)
class RemoteTensor:
    """A tensor of another process; its values are read where NumPy asks for them.

    Attributes:
        number: What the other process calls it.
        shape: Its shape.
        dtype: Name of its dtype.
        path: Its file.
    """

    number: int
    shape: tuple[int, ...]
    dtype: str
    path: Path

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:  # noqa: FBT001 -- NumPy's own signature
        """Return its values."""
        del copy
        array: Array = np.load(self.path, mmap_mode="c", allow_pickle=False)
        array = array.view(get_dtype(self.dtype).numpy)
        return array if dtype is None else array.astype(dtype)


@dataclass(eq=False, slots=True)
class RemoteEvent(Event):
    """One call of one layer of another process.

    Attributes:
        taken: The tensors given.
        made: The first tensor returned.
    """

    taken: list[Any] = field(default_factory=list)
    made: Any = None

    @property
    def inputs(self) -> list[Any]:
        """Tensors given, in order; masks are not among them."""
        return self.taken

    @property
    def result(self) -> Any:
        """The first tensor returned."""
        return self.made


@dataclass(slots=True)
class RemoteTrace(KerasTrace):
    """A trace of another process.

    Attributes:
        ask: Asks it.
        tensors: Its tensors by number.
        outputs: Those that are the model's outputs.
    """

    ask: Ask | None = None
    tensors: dict[int, RemoteTensor] = field(default_factory=dict)
    outputs: list[Any] = field(default_factory=list)

    def recompute(
        self, chain: Sequence[Event], values: Mapping[int, Array], kind: Any = None
    ) -> dict[int, Any]:
        """Return every tensor that is another when some are, computed there."""
        if self.ask is None:
            raise RuntimeError("there is no process to ask")
        own = {id(one): str(number) for number, one in self.tensors.items()}
        header = {
            "do": "recompute",
            "chain": [self.events.index(one) for one in chain],
            "kind": None if kind is None else get_dtype(kind).name,
        }
        made = self.ask(header, {own[key]: array for key, array in values.items()})
        return {id(self.tensors[int(number)]): array for number, array in made.items()}

    def apply(self, event: Event, array: Array) -> Array:
        """Return what the function of an event makes of another array, computed there."""
        if self.ask is None:
            raise RuntimeError("there is no process to ask")
        header = {"do": "apply", "event": self.events.index(event)}
        return self.ask(header, {"given": array})["made"]

    def finals(self) -> list[Any]:
        """Return the tensors of events whose values are the model's outputs."""
        return self.outputs


def received(
    header: Mapping[str, Any], folder: Path, ask: Ask
) -> tuple[RemoteTrace, dict[str, Any]]:
    """Return the trace that a :class:`Sender` describes, and path to layer of the paired ones."""
    tensors = {
        int(number): RemoteTensor(int(number), tuple(shape), dtype, folder / f"{number}.npy")
        for number, (shape, dtype) in header["tensors"].items()
    }
    layers = [_layer(one, tensors) for one in header["layers"]]
    trace = RemoteTrace(ask=ask, tensors=tensors, outputs=_filled(header["finals"], tensors))
    for one in header["events"]:
        event = RemoteEvent(
            layers[one["layer"]],
            _function(one["function"]),
            tuple(_filled(one["args"], tensors)),
            _filled(one["kwargs"], tensors),
            None,
            is_activation=bool(one["function"]),
            taken=_filled(one["inputs"], tensors),
            made=_filled(one["result"], tensors),
        )
        trace.events.append(event)
    return trace, {path: layers[number] for path, number in header["pairs"].items()}


def _layer(settings: Mapping[str, Any], tensors: Mapping[int, RemoteTensor]) -> Any:
    layer = type(str(settings["class"]), (), {})()
    for name in _SETTINGS:
        if name in settings:
            value = settings[name]
            setattr(layer, name, tuple(value) if isinstance(value, list) else value)
    for name, function in settings["functions"].items():
        setattr(layer, name, _function(function))
    for name, value in settings["statistics"].items():
        setattr(layer, name, SimpleNamespace(value=_filled(value, tensors)))
    return layer


def _function(name: str) -> Callable[..., Any]:
    def computed_elsewhere(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"'{name}' is a function of another process")

    computed_elsewhere.__name__ = name or "call"
    return computed_elsewhere


def _filled(plain: Any, tensors: Mapping[int, RemoteTensor]) -> Any:
    if isinstance(plain, Mapping) and set(plain) == {"tensor"}:
        return tensors[plain["tensor"]]
    if isinstance(plain, Mapping):
        return {name: _filled(one, tensors) for name, one in plain.items()}
    if isinstance(plain, list):
        return [_filled(one, tensors) for one in plain]
    return plain
