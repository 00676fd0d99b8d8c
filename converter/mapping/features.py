"""In which order a Keras layer receives its features, where PyTorch would have another.

Keras flattens a ``(height, width, channels)`` tensor with the channels innermost; PyTorch holds
the same tensor as ``(channels, height, width)`` and flattens it with the channels outermost. Every
layer that reads flattened features (a Dense, or a BatchNormalization in between) must have its rows
reordered, and the only fact needed for that is the number of channels: height and width stay next
to each other and in order, so their product alone counts.

The number is found by walking the layer graph of the configuration backwards. Nothing is guessed:
where the walk meets a layer that it does not know, the answer is :class:`Unknown` with the reason.

Convention for what the PyTorch module holds channels-first: everything of rank 4 and 5, and
tensors of rank 3 that come from a one-dimensional convolution, pooling or padding. Sequences
(Embedding, recurrent layers, attention) keep their features last in PyTorch too.

Source:
    Keras 3.15.1 ``keras/src/layers/reshaping/flatten.py``; PyTorch 2.13 ``torch/nn/modules/
    flatten.py``; both flatten in C order of their own layout.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from converter.tensors.spec import LayerSpec


@dataclass(frozen=True, slots=True)
class Unknown:
    """The order of the features could not be determined.

    Attributes:
        why: The reason, as the second half of a sentence.
    """

    why: str


@dataclass(frozen=True, slots=True)
class _Form:
    """What is known of a layer's output.

    Attributes:
        rank: Number of axes, the batch included.
        channels: Size of the last axis in Keras, or ``None``.
        spatial: Whether PyTorch holds it channels-first.
        flattened: Channels of the tensor whose flattening gave these features; 0 for none.
        first: Whether Keras holds it channels-first too; ``channels`` is then the size of axis 1.
    """

    rank: int
    channels: int | None
    spatial: bool
    flattened: int = 0
    first: bool = False


_Handler = Callable[[LayerSpec, "list[_Form | Unknown]"], "_Form | Unknown"]

_MODELS = frozenset({"Functional", "Model", "Sequential"})


class FeatureOrder:
    """The layer graph of one model, asked for the order of features.

    Args:
        layers: All layers of a manifest, those without tensors included.
    """

    def __init__(self, layers: Iterable[LayerSpec]) -> None:
        self._layers = {layer.path: layer for layer in layers}
        self._forms: dict[str, _Form | Unknown] = {}
        self._has_graph = any(layer.inbound for layer in self._layers.values())
        self._last_child: dict[str, str] = {}
        for path in self._layers:
            self._last_child[path.rpartition("/")[0]] = path

    def channels_before_flatten(self, path: str) -> int | Unknown | None:
        """Return how many channels the features of a layer's input were flattened from.

        Args:
            path: Path of a layer that takes a vector of features.

        Returns:
            The number of channels; ``None`` where the features do not come from a flattening
            that PyTorch does in another order; :class:`Unknown` where the graph does not tell.
        """
        layer = self._layers.get(path)
        if not self._has_graph or layer is None:
            return Unknown("the checkpoint holds no layer graph")
        if not layer.inbound:
            return None
        form = self._output_form(layer.inbound[0])
        if isinstance(form, Unknown):
            return form if self._reads_flatten(layer) else None
        return form.flattened or None

    def _reads_flatten(self, layer: LayerSpec) -> bool:
        """Whether a Flatten lies between the layer and the nearest layer that mixes features."""
        waiting, seen = list(layer.inbound), set()
        while waiting:
            path = waiting.pop()
            found = self._layers.get(path)
            if path in seen or found is None:
                continue
            seen.add(path)
            if found.class_name in ("Flatten", "Reshape"):
                return True
            if _handler(found.class_name or "") in (_first, _concatenated):
                waiting.extend(found.inbound)
        return False

    def _output_form(self, path: str) -> _Form | Unknown:
        """Return the form of a layer's output; walks iteratively, as graphs can be deep."""
        walk, ancestors = [path], {path}
        while walk:
            current = walk[-1]
            needed = next((one for one in self._needs(current) if one not in self._forms), None)
            if needed is not None and needed not in ancestors:
                walk.append(needed)
                ancestors.add(needed)
                continue
            self._forms[current] = (
                self._form(current)
                if needed is None
                else Unknown(f"the graph has a cycle at '{current}'")
            )
            ancestors.discard(walk.pop())
        return self._forms[path]

    def _needs(self, path: str) -> tuple[str, ...]:
        layer = self._layers.get(path)
        if layer is None:
            return ()
        if layer.class_name in _MODELS:
            return (self._last_child[path],) if path in self._last_child else ()
        return layer.inbound

    def _form(self, path: str) -> _Form | Unknown:
        layer = self._layers.get(path)
        if layer is None:
            return Unknown(f"layer '{path}' is not described")
        if layer.class_name in _MODELS:
            last = self._last_child.get(path)
            return self._forms[last] if last is not None else Unknown(f"model '{path}' is empty")
        handler = _handler(layer.class_name or "")
        if handler is None:
            kind = layer.class_name or "class unknown"
            return Unknown(f"layer '{path}' ({kind}) may reorder features")
        return handler(layer, [self._forms[one] for one in layer.inbound])


def _first(layer: LayerSpec, inputs: list[_Form | Unknown]) -> _Form | Unknown:
    return inputs[0] if inputs else Unknown(f"layer '{layer.path}' has no known input")


def _input(layer: LayerSpec, inputs: list[_Form | Unknown]) -> _Form | Unknown:
    shape = layer.config.get("batch_shape") or layer.config.get("batch_input_shape")
    if not isinstance(shape, list | tuple) or not shape:
        return _first(layer, inputs)
    last = shape[-1] if isinstance(shape[-1], int) else None
    return _Form(len(shape), last, spatial=len(shape) >= 4)


def _convolved(layer: LayerSpec, inputs: list[_Form | Unknown]) -> _Form | Unknown:
    name, config = layer.class_name or "", layer.config
    channels = _count(config, "filters", "nb_filter")
    if name.startswith("Depthwise"):
        before = _channels(_first(layer, inputs), config)
        channels = before * (_count(config, "depth_multiplier") or 1) if before else None
    axes = int(next(digit for digit in name if digit.isdigit()))
    sequence = name.startswith("ConvLSTM") and bool(config.get("return_sequences"))
    first = _channels_first(config)
    return _Form(axes + 2 + sequence, channels, spatial=not first, first=first and not sequence)


def _embedded(layer: LayerSpec, _inputs: list[_Form | Unknown]) -> _Form | Unknown:
    return _Form(3, _count(layer.config, "output_dim"), spatial=False)


def _recurrent(layer: LayerSpec, _inputs: list[_Form | Unknown]) -> _Form | Unknown:
    config = layer.config
    if layer.class_name == "Bidirectional":
        inner = config.get("layer")
        config = inner.get("config", {}) if isinstance(inner, Mapping) else {}
    return _Form(3 if config.get("return_sequences") else 2, None, spatial=False)


def _dense(layer: LayerSpec, inputs: list[_Form | Unknown]) -> _Form | Unknown:
    first = _first(layer, inputs)
    rank = first.rank if isinstance(first, _Form) else 2
    return _Form(rank, _count(layer.config, "units", "output_dim"), spatial=False)


def _each_step(layer: LayerSpec, inputs: list[_Form | Unknown]) -> _Form | Unknown:
    """TimeDistributed: known for a Dense, whose rows stay the last axis in PyTorch too."""
    inner = layer.config.get("layer")
    if isinstance(inner, Mapping) and inner.get("class_name") == "Dense":
        return _dense(layer, inputs)
    return Unknown(f"TimeDistributed '{layer.path}' may reorder features")


def _pooled(layer: LayerSpec, inputs: list[_Form | Unknown]) -> _Form | Unknown:
    first = _first(layer, inputs)
    if isinstance(first, Unknown):
        return first
    is_first = _channels_first(layer.config)
    channels = _channels(first, layer.config)
    return _Form(first.rank, channels, spatial=not is_first, first=is_first)


def _channels(form: _Form | Unknown, config: Mapping[str, Any]) -> int | None:
    """Return the channels that a layer reads, where both agree on the axis that they are."""
    if isinstance(form, Unknown) or (_channels_first(config) and not form.first):
        return None
    return form.channels


def _to_rank(rank: int) -> _Handler:
    def form(layer: LayerSpec, inputs: list[_Form | Unknown]) -> _Form | Unknown:
        first = _first(layer, inputs)
        return first if isinstance(first, Unknown) else _Form(rank, first.channels, spatial=False)

    return form


def _flattened(layer: LayerSpec, inputs: list[_Form | Unknown]) -> _Form | Unknown:
    first = _first(layer, inputs)
    if isinstance(first, Unknown) or first.rank == 2:
        return first
    if layer.class_name == "Flatten" and _channels_first(layer.config):
        # Keras moves the channels behind the positions before it flattens.
        first = replace(first, spatial=True, channels=first.channels if first.first else None)
    elif _channels_first(layer.config) or not first.spatial:
        return _Form(2, None, spatial=False)
    if first.channels is None:
        return Unknown("the number of channels before Flatten is not in the configuration")
    return _Form(2, None, spatial=False, flattened=first.channels)


def _reshaped(layer: LayerSpec, inputs: list[_Form | Unknown]) -> _Form | Unknown:
    shape = layer.config.get("target_shape")
    first = _first(layer, inputs)
    if not isinstance(shape, list | tuple):
        return Unknown(f"Reshape '{layer.path}' has no target_shape")
    if len(shape) == 1:
        return _flattened(layer, inputs)
    last = shape[-1] if isinstance(shape[-1], int) and shape[-1] > 0 else None
    mixes = isinstance(first, Unknown) or first.flattened or (first.spatial and first.rank > 2)
    if mixes and (isinstance(first, Unknown) or last != first.channels):
        return Unknown(f"Reshape '{layer.path}' mixes the channels of an image with its positions")
    return _Form(len(shape) + 1, last, spatial=len(shape) >= 3)


def _concatenated(layer: LayerSpec, inputs: list[_Form | Unknown]) -> _Form | Unknown:
    known = [form for form in inputs if isinstance(form, _Form)]
    if len(known) < len(inputs) or not known:
        return Unknown(f"an input of '{layer.path}' is of unknown form")
    if any(form.flattened for form in known):
        return Unknown(f"'{layer.path}' joins flattened features with others")
    axis = layer.config.get("axis", layer.config.get("concat_axis", -1))
    if axis not in ((1,) if known[0].first else (-1, known[0].rank - 1)):
        return known[0]
    channels = [form.channels for form in known if form.channels is not None]
    total = sum(channels) if len(channels) == len(known) else None
    spatial = any(form.spatial for form in known)
    return _Form(known[0].rank, total, spatial=spatial, first=known[0].first)


# Operations outside any layer (keras.ops): what they do to one element after the other.
_ELEMENT_WISE = (
    "Abs(olute)?|Cast|Celu|Divide|Elu|Exp|Gelu|Hard(Sigmoid|Silu|Swish|Tanh)|LeakyRelu|Log|Mish"
    "|Negative|Power|Relu6?|Rsqrt|Selu|Sigmoid|Silu|Softplus|Softsign|Sqrt|Square|Swish|Tanh"
    "|TrueDivide"
)

_HANDLERS: tuple[tuple[re.Pattern[str], _Handler], ...] = tuple(
    (re.compile(pattern), handler)
    for pattern, handler in (
        (r"InputLayer", _input),
        (r"Activation|ActivityRegularization|Clip|Identity|LayerScale|Masking|Rescaling", _first),
        (r"(Alpha|Gaussian|Spatial)?Dropout([123]D)?|GaussianNoise", _first),
        (r"ELU|LeakyReLU|PReLU|ReLU|Softmax|ThresholdedReLU", _first),
        (r"BatchNormalization(V1)?|(Group|Layer|RMS|Unit)?Normalization", _first),
        (r"Add|Average|CustomScaleLayer|Maximum|Minimum|Multiply|Subtract", _first),
        (_ELEMENT_WISE, _first),
        (r"(Depthwise|Separable)?Conv(olution|LSTM)?[123]D(Transpose)?", _convolved),
        (r"Deconvolution2D", _convolved),
        (r"((Max|Average)Pooling|UpSampling|ZeroPadding|Cropping)[123]D|Resizing", _pooled),
        (r"Global(Max|Average)Pooling[123]D", _to_rank(2)),
        (r"RepeatVector", _to_rank(3)),
        (r"Flatten", _flattened),
        (r"Reshape", _reshaped),
        (r"Concatenate|Merge", _concatenated),
        (r"Embedding", _embedded),
        (r"(CuDNN)?(LSTM|GRU)|SimpleRNN|Bidirectional", _recurrent),
        (r"(Einsum)?Dense", _dense),
        (r"TimeDistributed", _each_step),
        (r"MultiHeadAttention|Group(ed)?QueryAttention|(Additive)?Attention", _first),
    )
)


def _handler(class_name: str) -> _Handler | None:
    for pattern, handler in _HANDLERS:
        if pattern.fullmatch(class_name):
            return handler
    return None


def _channels_first(config: Mapping[str, Any]) -> bool:
    return config.get("data_format") == "channels_first" or config.get("dim_ordering") == "th"


def _count(config: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None
