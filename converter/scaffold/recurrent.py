"""Recurrent layers: PyTorch's own where they compute the same, small modules elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from converter.errors import UnsupportedFileError
from converter.graph.nodes import HARD_SIGMOID_2, Layer
from converter.scaffold.activations import activation_name
from converter.scaffold.program import Attr, Code, Literal, Part, Statement, Use, applied, call
from converter.scaffold.scope import Translation

STATES = {"LSTM": 2, "GRU": 1, "SimpleRNN": 1}
_NAMES = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN"}
_FUNCTIONS = {
    None: "identity",
    "tanh": "torch.tanh",
    "sigmoid": "torch.sigmoid",
    "relu": "torch.relu",
    "elu": "F.elu",
    "selu": "F.selu",
    "gelu": "F.gelu",
    "silu": "F.silu",
    "swish": "F.silu",
    "softsign": "F.softsign",
    "softplus": "F.softplus",
    "hard_sigmoid": "F.hardsigmoid",
    "exponential": "torch.exp",
    "leaky_relu": "leaky_relu",
    HARD_SIGMOID_2: "hard_sigmoid",
}


def recurrent(t: Translation) -> None:
    """LSTM, GRU, SimpleRNN."""
    run(t, t.layer, None)


def as_one_layer(layer: Layer) -> Layer:
    """Return an RNN of one cell as the layer that it computes; other layers as they are."""
    cells = layer.parts.get("cell", ())
    if layer.class_name != "RNN" or len(cells) != 1:
        return layer
    name = cells[0].class_name.removesuffix("Cell")
    if name not in STATES:
        return layer
    return replace(layer, class_name=name, config={**cells[0].config, **layer.config})


def run(t: Translation, layer: Layer, merge: str | None) -> None:
    """Translate a layer that is one module of PyTorch, or of the file's own.

    Args:
        t: The call.
        layer: The recurrent layer; inside a Bidirectional, that of the first direction.
        merge: How a Bidirectional makes one value of two.
    """
    both = t.layer.class_name == "Bidirectional"
    member = t.member(module_of(t, layer, both=both))
    use, mask = t.use("keras"), t.mask()
    if layer.config.get("go_backwards") and not both:
        use = Use(t.write((use, ".flip(1)")))
        mask = Use(t.write((mask, ".flip(1)"))) if mask is not None else None
    number, states = called(t, layer, (Attr(member),), use, mask, both=both)
    _outputs(t, layer, (number, states), both=both, merge=merge)


def module_of(t: Translation, layer: Layer, *, both: bool = False, layers: int = 1) -> Code:
    """Return what makes the module of a recurrent layer.

    Raises:
        UnsupportedFileError: If none computes what it does.
    """
    _note(t, layer.config)
    inputs = t.first.shape[-1]
    if _own_function(layer) is None:
        return _plain(layer, inputs, both=both, layers=layers)
    if layers > 1:
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': a stack with its own activations")
    return _own(t, layer, inputs, both=both)


def _note(t: Translation, config: Any) -> None:
    if config.get("stateful"):
        t.note(f"'{t.path}' is stateful in Keras: here each call begins with zeros.")
    for key in ("dropout", "recurrent_dropout"):
        if config.get(key):
            t.note(f"'{t.path}' has {key} = {config[key]}, which is left out: training differs.")


def _own_function(layer: Layer) -> tuple[str, str] | None:
    """Return the activations of a layer that PyTorch's module has not, or ``None``."""
    config = layer.config
    activation = activation_name(config.get("activation"))
    gates = activation_name(config.get("recurrent_activation", "sigmoid"))
    plain = ("tanh", "relu") if layer.class_name == "SimpleRNN" else ("tanh",)
    if activation in plain and gates == "sigmoid" and config.get("reset_after", True):
        return None
    return _function(activation), _function(gates)


def _function(name: str | None) -> str:
    found = _FUNCTIONS.get(name)
    if found is None:
        raise UnsupportedFileError(f"cannot scaffold a recurrent layer with activation {name}")
    return found


def _plain(layer: Layer, inputs: Any, *, both: bool, layers: int) -> Code:
    config = layer.config
    settings: dict[str, Part | Code] = {}
    if activation_name(config.get("activation")) == "relu":
        settings["nonlinearity"] = Literal("relu")
    if not config["use_bias"]:
        settings["bias"] = Literal(value=False)
    if layers > 1:
        settings["num_layers"] = Literal(layers)
    settings["batch_first"] = Literal(value=True)
    if both:
        settings["bidirectional"] = Literal(value=True)
    sizes = Literal(inputs, "input_size"), Literal(config["units"], "hidden_size")
    return call(f"nn.{_NAMES[layer.class_name]}", *sizes, **settings)


def _own(t: Translation, layer: Layer, inputs: Any, *, both: bool) -> Code:
    activation, gates = _own_function(layer) or ("torch.tanh", "torch.sigmoid")
    for name in (activation, gates):
        if "." not in name:
            t.snippet(name)
    config = layer.config
    kind = layer.class_name
    if kind == "GRU" and not config.get("reset_after", True):
        kind = "GRUResetBefore"
        if both:
            raise UnsupportedFileError(
                f"cannot scaffold '{t.path}': a Bidirectional GRU with reset_after=False"
            )
    settings: dict[str, Part | Code] = {"activation": activation}
    if kind != "SimpleRNN":
        settings["gates"] = gates
    if not config["use_bias"]:
        settings["bias"] = Literal(value=False)
    if both:
        settings["bidirectional"] = Literal(value=True)
    sizes = Literal(inputs, "input_size"), Literal(config["units"], "hidden_size")
    return call(t.snippet(f"Own{kind}"), *sizes, **settings)


def called(
    t: Translation, layer: Layer, module: Code, use: Use, mask: Use | None, *, both: bool = False
) -> tuple[int, int | None]:
    """Write the call, and return all its outputs over time and its last states."""
    states = t.keyword("initial_state")
    arguments: list[Part | Code] = [use]
    if states:
        arguments.append(_initial(t, states, STATES[layer.class_name], both=both))
    if mask is not None:
        name = t.snippet("run_masked")
        settings: dict[str, Part | Code] = {}
        if _gives_zeros(t, layer):
            settings["zeros"] = Literal(value=True)
        code: Code = call(name, module, *arguments[:1], mask, *arguments[1:], **settings)
    else:
        code = (*module, *call("", *arguments)[1:])
    wanted = t.scope.number(), t.scope.number()
    t.scope.program.statements.append(Statement(wanted, code, t.call.name))
    return wanted


def _gives_zeros(t: Translation, layer: Layer) -> bool:
    """Whether the outputs of masked steps are zeros, not those of the step before.

    Source: keras 3.15.1 and tf_keras 2.21 ``layers/rnn/bidirectional.py``,
    ``force_zero_output_for_mask``; Keras 1 had no such setting.
    """
    if t.layer.class_name == "Bidirectional":
        return bool(layer.config["return_sequences"]) and t.scope.graph.generation > 1
    return bool(layer.config.get("zero_output_for_mask"))


def _initial(t: Translation, states: Any, count: int, *, both: bool) -> Code:
    """Return the initial states as PyTorch takes them: (directions, batch, units) each."""
    uses = [t.scope.use(state, "keras") for state in states]
    directions = 2 if both else 1
    made: list[Code] = []
    for index in range(count):
        of_kind = [uses[index + count * direction] for direction in range(directions)]
        parts: list[Part] = []
        for place, use in enumerate(of_kind):
            parts += [", "] if place else []
            parts.append(use)
        made.append(("torch.stack([", *parts, "])"))
    if count == 1:
        return made[0]
    return ("(", *made[0], ", ", *made[1], ")")


def _outputs(
    t: Translation, layer: Layer, found: tuple[int, int | None], *, both: bool, merge: str | None
) -> None:
    number, states = found
    config = layer.config
    units = Literal(config["units"], "units")
    whole = Use(number)
    if config["return_sequences"]:
        result = number
    elif not both:
        result = t.write((whole, "[:, -1]"))
    else:
        last = ("torch.cat([", whole, "[:, -1, :", units, "], ", whole, "[:, 0, ", units)
        result = t.write((*last, ":]], -1)"))
    if both and merge != "concat":
        _merged(t, result, config["units"], merge)
    else:
        t.give(result, "keras")
    if config["return_sequences"]:
        t.pass_mask()
    if config.get("return_state"):
        _give_states(t, layer, states, both=both)


def _merged(t: Translation, number: int, units: int, merge: str | None) -> None:
    halves = t.write((Use(number), ".unflatten(-1, ", Literal((2, units)), ")"))
    if merge is None:
        for index in (0, 1):
            t.give(t.write((Use(halves), f".select(-2, {index})")), "keras", index)
        return
    functions = {"sum": ".sum(-2)", "ave": ".mean(-2)", "mul": ".prod(-2)"}
    t.give(t.write((Use(halves), functions[str(merge)])), "keras")


def _give_states(t: Translation, layer: Layer, states: int | None, *, both: bool) -> None:
    if states is None:
        return
    count = STATES[layer.class_name]
    first = len(t.call.outputs) - count * (2 if both else 1)
    for direction in range(2 if both else 1):
        for index in range(count):
            pick = f"[{index}][{direction}]" if count > 1 else f"[{direction}]"
            place = first + direction * count + index
            t.give(t.write((Use(states), pick)), "keras", place)


def conv_lstm(t: Translation) -> None:
    """ConvLSTM1D, 2D, 3D: two convolutions and the gates of an LSTM."""
    config = t.config
    axes = len(config["kernel_size"])
    channels = t.first.shape[-1]
    name = t.snippet("ConvLSTM")
    for function in ("activation", "recurrent_activation"):
        if "." not in _function(activation_name(config[function])):
            t.snippet(_function(activation_name(config[function])))
    if config["padding"] != "valid" and any(one != 1 for one in config["strides"]):
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': it pads with a stride")
    settings: dict[str, Part | Code] = {
        "stride": Literal(tuple(config["strides"])),
        "padding": Literal(config["padding"]),
        "dilation": Literal(tuple(config["dilation_rate"])),
        "bias": Literal(config["use_bias"]),
        "activation": _function(activation_name(config["activation"])),
        "gates": _function(activation_name(config["recurrent_activation"])),
        "return_sequences": Literal(config["return_sequences"]),
    }
    numbers = (Literal(axes), Literal(channels), Literal(config["filters"]))
    kernel = Literal(tuple(config["kernel_size"]))
    member = t.member(call(name, *numbers, kernel, **settings))
    rank = t.first.rank
    images = t.write((t.use("keras"), f".movedim({rank - 1}, 2)"))
    number = t.write(applied(member, Use(images)))
    if config["return_sequences"]:
        t.give(t.write((Use(number), f".movedim(2, {rank - 1})")), "keras")
    else:
        t.give(number, "first")
    if config.get("return_state"):
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': it returns its state")
