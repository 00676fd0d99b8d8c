"""Activations: what a Keras layer does to its result, and the layers that do nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from converter.errors import UnsupportedFileError
from converter.graph.dialects import class_now, config_now
from converter.graph.nodes import HARD_SIGMOID_2, Call, Layer, ValueRef
from converter.scaffold.program import Code, Literal, Use, applied, call
from converter.scaffold.scope import Order, Translation, Value, axis_in

Activation = Callable[[Use], Code]


def _function(name: str, **settings: Any) -> Activation:
    def made(use: Use) -> Code:
        return call(name, use, **{key: Literal(value, key) for key, value in settings.items()})

    return made


# Source: keras 3.15.1 activations/activations.py and backend/torch/nn.py; torch 2.13
# nn/functional.py. Defaults of Keras that differ are written out.
_BY_NAME: Mapping[str, Activation] = {
    "relu": _function("F.relu"),
    "relu6": _function("F.relu6"),
    "sigmoid": _function("torch.sigmoid"),
    "tanh": _function("torch.tanh"),
    "elu": _function("F.elu"),
    "selu": _function("F.selu"),
    "celu": _function("F.celu"),
    "gelu": _function("F.gelu"),
    "silu": _function("F.silu"),
    "swish": _function("F.silu"),
    "softplus": _function("F.softplus"),
    "softsign": _function("F.softsign"),
    "hard_sigmoid": _function("F.hardsigmoid"),
    "hard_silu": _function("F.hardswish"),
    "hard_swish": _function("F.hardswish"),
    "hard_tanh": _function("F.hardtanh"),
    "hard_shrink": _function("F.hardshrink"),
    "soft_shrink": _function("F.softshrink"),
    "tanh_shrink": _function("F.tanhshrink"),
    "log_sigmoid": _function("F.logsigmoid"),
    "mish": _function("F.mish"),
    "exponential": _function("torch.exp"),
    "leaky_relu": _function("F.leaky_relu", negative_slope=0.2),
    "squareplus": lambda use: ("((", use, ".square() + 4).sqrt() + ", use, ") / 2"),
    "sparse_plus": lambda use: (
        ("(", use, ".clamp(-1, 1) + 1).square() / 4 + F.relu(", use, " - 1)")
    ),
    "sparse_sigmoid": lambda use: ("((", use, " + 1) / 2).clamp(0, 1)"),
}
_ALONG_CHANNELS = {"softmax": "F.softmax", "log_softmax": "F.log_softmax"}


def is_known(activation: Any) -> bool:
    """Whether an entry ``activation`` of a configuration can be translated."""
    name = activation_name(activation)
    return name in (None, HARD_SIGMOID_2) or name in _BY_NAME or name in _ALONG_CHANNELS


def activation_name(activation: Any) -> str | None:
    """Return the name of an activation as configurations hold it; ``None`` for none."""
    if isinstance(activation, Mapping):
        config = activation.get("config")
        inner = config if isinstance(config, str) else activation.get("class_name")
        activation = inner if isinstance(inner, str) else ""
    if activation is None or activation == "linear":
        return None
    return str(activation)


def activated(
    translation: Translation, number: int, activation: Any, order: Order, rank: int
) -> int:
    """Write an activation of a value and return the number of the result.

    Args:
        translation: The call.
        number: The value.
        activation: Entry of the layer's configuration.
        order: How its axes stand.
        rank: How many there are.

    Raises:
        UnsupportedFileError: If it has no translation.
    """
    name = activation_name(activation)
    if name is None:
        return number
    if isinstance(activation, Mapping) and isinstance(activation.get("config"), Mapping):
        return _by_layer(translation, number, activation, order)
    use = Use(number)
    if name == HARD_SIGMOID_2:
        return translation.write(call(translation.snippet("hard_sigmoid"), use))
    if name in _ALONG_CHANNELS:
        axis = axis_in(-1, rank, order)
        return translation.write(call(_ALONG_CHANNELS[name], use, dim=Literal(_last(axis, rank))))
    if name not in _BY_NAME:
        raise UnsupportedFileError(
            f"cannot scaffold '{translation.path}': its activation {name!r} has no translation"
        )
    return translation.write(_BY_NAME[name](use))


def _by_layer(t: Translation, number: int, activation: Mapping[str, Any], order: Order) -> int:
    """Write an activation that is a layer without weights, by that layer's own translation."""
    written = str(activation["class_name"]).rpartition(">")[2]
    translator = _LAYERS.get(class_now(written))
    if translator is None:
        raise UnsupportedFileError(
            f"cannot scaffold '{t.path}': its activation is a {written}, which has no translation"
        )
    name, shape = f"{t.call.name}#activation", t.output()
    before, after = ValueRef(f"{name} of"), ValueRef(name)
    t.scope.put(before, Value(shape, order, {order: number}))
    config = config_now(written, activation["config"], t.scope.graph.generation, "channels_last")
    layer = Layer(t.path, class_now(written), config)
    translator(
        replace(t, call=Call(name, t.call.layer, (before,), {}, t.call.outputs), layer=layer)
    )
    return t.scope.use(t.scope.value(after), order).value


def _last(axis: int, rank: int) -> int:
    return -1 if axis == rank - 1 else axis


def activation(t: Translation) -> None:
    """Activation."""
    order = settled(t)
    number = activated(t, t.use(order).value, t.config["activation"], order, t.first.rank)
    t.give(number, order, channels=t.first.channels)


def settled(t: Translation) -> Order:
    """Return the order in which an element-wise layer takes its input: as it is."""
    return t.first.own


def relu(t: Translation) -> None:
    """ReLU with its limit, slope and threshold."""
    limit, slope = t.config.get("max_value"), t.config.get("negative_slope") or 0.0
    threshold = t.config.get("threshold") or 0.0
    order = settled(t)
    use = t.use(order)
    if not threshold and not slope and limit is None:
        code = call("F.relu", use)
    elif not threshold and not slope and limit == 6:
        code = call("F.relu6", use)
    elif not threshold and limit is None:
        code = call("F.leaky_relu", use, negative_slope=Literal(slope, "negative_slope"))
    else:
        name = t.snippet("limited_relu")
        settings = (Literal(limit), Literal(slope), Literal(threshold))
        code = call(name, use, *settings)
    t.give(t.write(code), order, channels=t.first.channels)


def leaky_relu(t: Translation) -> None:
    """LeakyReLU; its slope is 0.3 in Keras, 0.01 in PyTorch."""
    _element_wise(t, "F.leaky_relu", negative_slope=t.config["negative_slope"])


def elu(t: Translation) -> None:
    """ELU."""
    alpha = t.config["alpha"]
    _element_wise(t, "F.elu", **({} if alpha == 1.0 else {"alpha": alpha}))


def _element_wise(t: Translation, function: str, **settings: Any) -> None:
    order = settled(t)
    keywords = {key: Literal(value, key) for key, value in settings.items()}
    t.give(t.write(call(function, t.use(order), **keywords)), order, channels=t.first.channels)


def softmax(t: Translation) -> None:
    """Softmax along one axis or several."""
    axes = t.config["axis"]
    axes = axes if isinstance(axes, list) else [axes]
    order = settled(t)
    rank = t.first.rank
    places = [_last(axis_in(axis, rank, order), rank) for axis in axes]
    if len(places) == 1:
        code = call("F.softmax", t.use(order), dim=Literal(places[0]))
    else:
        use = t.use(order)
        code = (use, " - ", use, ".logsumexp(", Literal(tuple(places)), ", keepdim=True)")
        code = call("torch.exp", code)
    t.give(t.write(code), order, channels=t.first.channels)


def prelu(t: Translation) -> None:
    """PReLU: PyTorch has it with one slope a channel; with a slope a position it is a snippet."""
    shape = t.first.shape
    shared = set(t.config.get("shared_axes") or [])
    per_channel = shared >= set(range(1, len(shape) - 1))
    if per_channel:
        order: Order = "first" if len(shape) > 2 else "keras"
        member = t.member(call("nn.PReLU", Literal(shape[-1], "num_parameters")))
        t.give(t.write(applied(member, t.use(order))), order)
        return
    sizes = tuple(1 if axis in shared else size for axis, size in enumerate(shape[1:], 1))
    slot = t.scope.shared.kinds[t.path].slots[0]
    order = "first" if slot.pattern is not None and len(shape) > 2 else "keras"
    if order == "first":
        sizes = (sizes[-1], *sizes[:-1])
    member = t.member(call(t.snippet("PositionPReLU"), Literal(sizes, "shape")))
    t.give(t.write(applied(member, t.use(order))), order)


def same(t: Translation) -> None:
    """What does nothing at inference and has nothing to learn: the value itself."""
    t.scope.put(_output(t), t.first)


def _output(t: Translation) -> ValueRef:
    return ValueRef(t.call.name, 0)


def dropout(t: Translation) -> None:
    """Dropout of single values; nothing at inference."""
    rate = t.config["rate"]
    order = settled(t)
    whole = t.config.get("noise_shape")
    if whole is not None:
        t.note("A Dropout with a noise_shape drops single values here: only training differs.")
    code = call("F.dropout", t.use(order), Literal(rate, "p"), "self.training")
    t.give(t.write(code), order, channels=t.first.channels)


# Layers that may stand in the place of an activation's name.
_LAYERS: Mapping[str, Callable[[Translation], None]] = {
    "ELU": elu,
    "LeakyReLU": leaky_relu,
    "ReLU": relu,
    "Softmax": softmax,
}
