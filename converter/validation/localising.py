"""Where both models part: PyTorch is run once, on Keras' own values from layer to layer.

Each paired module is given what its Keras layer was given, and what it makes is replaced by what
the layer made. So an error never reaches the next layer: what a module receives differs only by
what lies between the two layers, what it returns only by the module itself, and several faults are
found in one run.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converter.live.torch_module import from_array, is_tensor, to_array
from converter.tensors.dtype import Array
from converter.validation.fitting import Fit, fit, same_pads
from converter.validation.keras_trace import Event, KerasTrace, as_array
from converter.validation.pairing import Pair

_SHAPING = frozenset({"Flatten", "Reshape", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"})
_MAX_CROP = 4


@dataclass(eq=False, slots=True)
class Place:
    """One place where both were compared.

    Attributes:
        event: The Keras event; ``None`` for an output of the models.
        pair: The paired layer, likewise.
        target: The Keras tensor compared.
        found: PyTorch's value.
        expected: Keras' value in PyTorch's form.
        error: Relative L2 error.
        is_segment: Whether this is what a module receives (or the model returns), not what a
            module made of its layer's input.
        args: What the module was given, where it is one.
        kwargs: The same by name.
        exact: ``args`` before they were rounded to what the module takes.
    """

    event: Event | None
    pair: Pair | None
    target: Any
    found: Array
    expected: Array
    error: float
    is_segment: bool
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    exact: tuple[Any, ...] = ()


def run_on_keras_values(
    run: Callable[[], dict[str, Array]],
    pairs: Sequence[Pair],
    trace: KerasTrace,
    spared: Container[int] = (),
) -> tuple[list[Place], dict[str, Array]]:
    """Run the PyTorch module once; return every place in its order, and its outputs.

    Args:
        run: Runs the module and returns its outputs by name.
        pairs: Layers and modules.
        trace: What Keras did on the same inputs.
        spared: Places by their position, at which PyTorch goes on with its own value.
    """
    places = _Places(spared)
    with contextlib.ExitStack() as stack:
        for pair in pairs:
            watch = _Watch(pair, trace, places)
            for handle in (
                pair.module.register_forward_pre_hook(watch.before, with_kwargs=True),
                pair.module.register_forward_hook(watch.after, with_kwargs=True),
            ):
                stack.callback(handle.remove)
        outputs = run()
    return places, outputs


def run_freely(run: Callable[[], Any], pairs: Sequence[Pair], trace: KerasTrace) -> list[float]:
    """Run the PyTorch module on its own values; return the error of each call of a paired module.

    Only the errors are kept. In the order of the calls, as the places that are no segments.

    Args:
        run: Runs the module.
        pairs: Layers and modules.
        trace: What Keras did on the same inputs.
    """
    errors: list[float] = []
    with contextlib.ExitStack() as stack:
        for pair in pairs:
            events = iter(trace.of(pair.layer))

            def listen(_: Any, __: Any, output: Any, events: Iterator[Event] = events) -> None:
                event = next(events, None)
                first = output[0] if isinstance(output, (tuple, list)) else output
                if event is not None and is_tensor(first):
                    found = np.array(to_array(first, "an output"))
                    errors.append(fit_output(as_array(event.result), found).error)

            stack.callback(pair.module.register_forward_hook(listen).remove)
        run()
    return errors


class _Places(list[Place]):
    """The places in their order; some of them keep PyTorch's own value."""

    def __init__(self, spared: Container[int]) -> None:
        super().__init__()
        self._spared = spared

    def add(self, place: Place) -> bool:
        """Add a place; say whether PyTorch goes on with its own value there."""
        self.append(place)
        return len(self) - 1 in self._spared


class _Watch:
    """The hooks of one module."""

    def __init__(self, pair: Pair, trace: KerasTrace, places: _Places) -> None:
        self._pair = pair
        self._trace = trace
        self._places = places
        self._events = trace.of(pair.layer)
        self._calls = 0
        self._exact: dict[int, Any] = {}

    def before(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._calls >= len(self._events):
            return None
        event = self._events[self._calls]
        values, names = list(args), {}
        tensors = keras_inputs(event, module)
        slots = [index for index, value in enumerate(values) if is_tensor(value)]
        self._exact = {}
        for index, tensor in zip(slots, tensors, strict=False):
            self._exact[index], values[index] = self._received(event, tensor, values[index])
        if not slots:
            for key, tensor in zip([k for k, v in kwargs.items() if is_tensor(v)][:1], tensors):  # noqa: B905 -- the first one only
                names[key] = self._received(event, tensor, kwargs[key])[1]
        return tuple(values), {**kwargs, **names}

    def _received(self, event: Event, tensor: Any, value: Any) -> tuple[Any, Any]:
        """Return what is kept of an input, and what the module is given, which it may change."""
        keep = self._trace.shelf.keep
        found = keep(np.array(to_array(value, "an input")))
        best = fit_input(event, tensor, found, self._trace)
        expected = keep(np.ascontiguousarray(best.array))
        place = Place(event, self._pair, tensor, found, expected, best.error, is_segment=True)
        if self._places.add(place):
            return self._kept(value), value
        kept = from_array(expected)
        return kept, kept.to(value.device, value.dtype, copy=True)

    def after(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if self._calls >= len(self._events):
            return None
        event = self._events[self._calls]
        self._calls += 1
        first = output[0] if isinstance(output, (tuple, list)) else output
        if not is_tensor(first):
            return None
        found = self._trace.shelf.keep(np.array(to_array(first, "an output")))
        expected = as_array(event.result)
        best = fit_output(expected, found, unflattened(event.result, expected, self._trace))
        new = self._trace.shelf.keep(np.ascontiguousarray(best.array))
        exact = tuple(
            self._exact[index] if index in self._exact else self._kept(one)
            for index, one in enumerate(args)
        )
        place = Place(
            event,
            self._pair,
            event.result,
            found,
            new,
            best.error,
            is_segment=False,
            args=tuple(map(_rounded, exact, args)),
            kwargs={name: self._kept(one) for name, one in kwargs.items()},
            exact=exact,
        )
        if self._places.add(place):
            return None
        if new.shape != found.shape or self._has_other_steps(event.layer):
            new = np.moveaxis(expected, -1, 1) if expected.ndim >= 3 else expected
            if new.shape[:2] != found.shape[:2]:
                return None
        made = from_array(np.ascontiguousarray(new))
        return _with_first(output, made.to(first.device, first.dtype, copy=True))

    def _kept(self, value: Any) -> Any:
        """Return a copy of a tensor, on the CPU; anything else as it is."""
        if not is_tensor(value):
            return value
        return from_array(self._trace.shelf.keep(np.array(to_array(value, "an input"))))

    def _has_other_steps(self, layer: Any) -> bool:
        """Whether a convolution makes another number of positions than its layer."""
        return any(
            hasattr(self._pair.module, mine)
            and hasattr(layer, theirs)
            and tuple(getattr(self._pair.module, mine)) != tuple(getattr(layer, theirs))
            for mine, theirs in (("stride", "strides"), ("dilation", "dilation_rate"))
        )


def _rounded(exact: Any, given: Any) -> Any:
    """Return a tensor in the dtype of the one that the module was given."""
    return exact.to(given.dtype) if is_tensor(given) else given


def _with_first(output: Any, new: Any) -> Any:
    if not isinstance(output, (tuple, list)):
        return new
    rest = list(output[1:])
    if len(rest) == 1 and isinstance(rest[0], tuple) and is_tensor(rest[0][0]):  # an LSTM's state
        rest[0] = (_last_state(rest[0][0], new), *rest[0][1:])
    elif len(rest) == 1 and is_tensor(rest[0]) and rest[0].ndim == 3 and new.ndim == 3:  # a GRU's
        rest[0] = _last_state(rest[0], new)
    return type(output)([new, *rest])


def _last_state(state: Any, sequence: Any) -> Any:
    last = sequence[:, -1]
    return last[None] if last[None].shape == state.shape else state


def keras_inputs(event: Event, module: Any) -> list[Any]:
    """Return the Keras tensors in the order in which the module takes them."""
    inputs = event.inputs
    if type(module).__name__ == "MultiheadAttention" and len(inputs) in (2, 3):
        # Keras: query, value, key; PyTorch: query, key, value.
        return [inputs[0], inputs[-1], inputs[1]]
    return inputs


def fit_input(
    event: Event,
    tensor: Any,
    found: Array,
    trace: KerasTrace,
    value: Callable[[Any], Any] = lambda tensor: tensor,
) -> Fit:
    """Return the form of a layer's input nearest to what its module received.

    Args:
        event: The call of the layer.
        tensor: The input.
        found: What the module received.
        trace: What Keras did.
        value: What to take in the place of a tensor; itself by default.
    """
    array = as_array(value(tensor))
    before = [as_array(value(one)) for one in shaped(tensor, trace)]
    before += unflattened(tensor, array, trace)
    best = fit(array, found.shape, found, before)
    if getattr(event.layer, "go_backwards", False) and array.ndim == 3:
        # PyTorch's recurrent modules only run forwards: the model gives them the sequence reversed.
        turned = fit(array[:, ::-1], found.shape, found)
        best = turned if turned.error < best.error else best
    if not best.form and getattr(event.layer, "padding", None) in ("same", "causal"):
        padded = pad_as_keras(event.layer, array)
        best = fit(padded, found.shape, found)
        if not best.form:
            best = Fit(np.moveaxis(array, -1, 1), math.inf, "")
    if not best.form and array.ndim > 3:
        best = Fit(np.moveaxis(array, -1, 1), math.inf, "")
    return best


def shaped(tensor: Any, trace: KerasTrace) -> Iterator[Any]:
    """Yield what a tensor was made of by flattening or padding alone, nearest first."""
    event = trace.made_by(tensor)
    while event is not None and type(event.layer).__name__ in _SHAPING:
        yield event.inputs[0]
        event = trace.made_by(event.inputs[0])


def unflattened(tensor: Any, array: Array, trace: KerasTrace) -> list[Array]:
    """Return the values of a flat tensor in the shape that they had before they were flattened.

    A BatchNorm, an activation or a Dropout behind a Flatten keeps the order of the features.
    """
    shape = tuple(tensor.shape)
    event = trace.made_by(tensor)
    while event is not None and len(event.inputs) == 1:
        before = tuple(event.inputs[0].shape)
        if type(event.layer).__name__ in ("Flatten", "Reshape"):
            return [array.reshape(-1, *before[1:])] if len(shape) == 2 < len(before) else []
        if before != shape:
            return []
        event = trace.made_by(event.inputs[0])
    return []


def pad_as_keras(layer: Any, array: Array) -> Array:
    """Return an array with the zeros that the layer's own padding adds, channels last."""
    kernel = getattr(layer, "kernel_size", None) or layer.pool_size
    spatial = array.shape[1:-1]
    if len(kernel) != len(spatial):
        return array
    dilation = getattr(layer, "dilation_rate", None) or (1,) * len(kernel)
    pads = same_pads(spatial, kernel, layer.strides, dilation)
    if layer.padding == "causal":
        pads = [((kernel[0] - 1) * dilation[0], 0)]
    return np.pad(array, [(0, 0), *pads, (0, 0)])


def fit_output(keras: Array, found: Array, before: Sequence[Array] = ()) -> Fit:
    """Return the form of a Keras output nearest to what a module returned.

    A sequence of which Keras keeps the last step, and an image of which the model still has to cut
    off an edge, are returned whole, with Keras' values where they belong.

    Args:
        keras: The Keras output.
        found: What the module returned.
        before: The same before it was flattened, see :func:`unflattened`.
    """
    best = fit(keras, found.shape, found, before)
    if best.form:
        return best
    for index in _parts(keras, found):
        part = found[index]
        one = fit(keras, part.shape, part)
        if one.form and (one.error < best.error or not best.form):
            whole = found.copy()
            whole[index] = one.array
            best = Fit(whole, one.error, "part")
    return best


def _parts(keras: Array, found: Array) -> Iterator[tuple[Any, ...]]:
    if keras.ndim == 2 and found.ndim == 3:
        yield (slice(None), -1)
        yield (-1,)
        return
    if keras.ndim != found.ndim or keras.ndim < 3:
        return
    moved = np.moveaxis(keras, -1, 1).shape
    extra = [big - small for big, small in zip(found.shape, moved, strict=True)]
    if any(extra[:2]) or min(extra) < 0 or max(extra) > _MAX_CROP:
        return
    for starts in itertools.product(*(range(one + 1) for one in extra[2:])):
        cuts = (slice(s, s + n) for s, n in zip(starts, moved[2:], strict=True))
        yield (slice(None), slice(None), *cuts)


def crops(keras: Array, whole: Array | None) -> Iterator[tuple[list[int], Array]]:
    """Yield each part of a module's larger output, channels last, that has Keras' size."""
    if whole is None or whole.ndim != keras.ndim or keras.ndim < 3:
        return
    if whole.shape != np.moveaxis(keras, -1, 1).shape:
        for index in _parts(keras, whole):
            starts = [one.start for one in index[2:]]
            yield starts, np.moveaxis(whole[index], 1, -1)
        yield [-1], np.moveaxis(whole, 1, -1)
