"""Recurrent kinds: both frameworks give the same outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers
from support.layer_kinds import (
    BOUND,
    Case,
    Ran,
    check,
    difference,
    run_keras,
    to_keras,
    to_numpy,
    to_torch,
)
from torch import nn

import converter
from converter.errors import PlanError
from converter.mapping.catalogue import load_catalogue
from converter.mapping.rules import Mapping, Rule

pytestmark = pytest.mark.frameworks

SEQUENCE = [(3, 7, 4)]

KERAS: dict[str, Any] = {"lstm": layers.LSTM, "gru": layers.GRU, "simple_rnn": layers.SimpleRNN}
CELLS: dict[str, Any] = {
    "lstm": layers.LSTMCell,
    "gru": layers.GRUCell,
    "simple_rnn": layers.SimpleRNNCell,
}
TORCH: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "simple_rnn": nn.RNN}
TORCH_CELLS: dict[str, Any] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "simple_rnn": nn.RNNCell}


def outputs(module: Any, x: torch.Tensor) -> torch.Tensor:
    return module(x)[0]


def last_states(module: Any, x: torch.Tensor) -> torch.Tensor:
    states = module(x)[1]
    states = states[0] if isinstance(states, tuple) else states
    return torch.cat(list(states), -1)


def flipped(module: Any, x: torch.Tensor) -> torch.Tensor:
    return module(x.flip(1))[0]


def one_step(module: Any, x: torch.Tensor, *states: torch.Tensor) -> torch.Tensor:
    found = module(x, states if isinstance(module, nn.LSTMCell) else states[0])
    return found[0] if isinstance(found, tuple) else found


def kind_cases(name: str) -> list[Case]:
    keras, cell, module = KERAS[name], CELLS[name], TORCH[name]
    states = 2 if name == "lstm" else 1
    # The recurrent kernel of a SimpleRNN is square whatever the sizes; values tell it apart.
    square = name == "simple_rnn"

    def rnn(**options: Any) -> Callable[[], Any]:
        return lambda: module(4, 5, batch_first=True, **options)

    cases = [
        Case(name, name, lambda: keras(5, return_sequences=True), rnn(), SEQUENCE, outputs),
        Case(f"{name} without bias", name, lambda: keras(5, return_sequences=True, use_bias=False),
             rnn(bias=False), SEQUENCE, outputs),
        Case(f"{name} backwards", name,
             lambda: keras(5, return_sequences=True, go_backwards=True), rnn(), SEQUENCE, flipped),
        Case(f"{name} cell in RNN", name, lambda: layers.RNN(cell(5), return_sequences=True),
             rnn(), SEQUENCE, outputs),
        Case(f"{name} cell", f"{name}_cell", lambda: cell(5), lambda: TORCH_CELLS[name](4, 5),
             [(3, 4), *[(3, 5)] * states], one_step,
             call=lambda layer, x, *states: layer(x, list(states))[0]),
        Case(f"{name} time distributed", name,
             lambda: layers.TimeDistributed(keras(5, return_sequences=True)), rnn(), [(3, 2, 7, 4)],
             lambda m, x: outputs(m, x.flatten(0, 1)).unflatten(0, (3, 2))),
        Case(f"{name} bidirectional", f"bidirectional_{name}",
             lambda: layers.Bidirectional(keras(5, return_sequences=True)),
             rnn(bidirectional=True), SEQUENCE, outputs),
        Case(f"{name} bidirectional, last states", f"bidirectional_{name}",
             lambda: layers.Bidirectional(keras(5)), rnn(bidirectional=True), SEQUENCE,
             last_states),
        Case(f"{name} bidirectional, two layers given, no bias", f"bidirectional_{name}",
             lambda: layers.Bidirectional(
                 keras(5, return_sequences=True, use_bias=False, name="there"),
                 backward_layer=keras(
                     5, return_sequences=True, use_bias=False, go_backwards=True, name="back")),
             rnn(bidirectional=True, bias=False), SEQUENCE, outputs),
        Case(f"{name} bidirectional, summed", f"bidirectional_{name}",
             lambda: layers.Bidirectional(keras(5, return_sequences=True), merge_mode="sum"),
             rnn(bidirectional=True), SEQUENCE,
             lambda m, x: outputs(m, x).unflatten(-1, (2, 5)).sum(-2)),
        *(
            Case(f"{name}, {count} stacked", f"stacked_{name}_{count}",
                 lambda count=count: layers.RNN(
                     [cell(5) for _ in range(count)], return_sequences=True),
                 rnn(num_layers=count), SEQUENCE, outputs)
            for count in (2, 3)
        ),
    ]  # fmt: skip
    return [replace(case, square=square) for case in cases]


class ConvLstm(nn.Module):
    """A ConvLSTM with gates i f g o from two convolutions."""

    def __init__(self, conv: Any, kernel: tuple[int, ...], bias: bool = True) -> None:
        super().__init__()
        self.input_conv = conv(4, 20, kernel, bias=bias)
        self.recurrent_conv = conv(5, 20, kernel, padding="same", bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = state = None
        for step in x.movedim(-1, 2).unbind(1):
            gates = self.input_conv(step)
            if hidden is not None:
                gates = gates + self.recurrent_conv(hidden)
            i, f, g, o = gates.chunk(4, 1)
            kept = state * f.sigmoid() if state is not None else 0
            state = kept + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * state.tanh()
        return hidden.movedim(1, -1)


CONV_LSTM = [
    Case("conv lstm 1d", "conv_lstm1d", lambda: layers.ConvLSTM1D(5, 3),
         lambda: ConvLstm(nn.Conv1d, (3,)), [(3, 6, 9, 4)], lambda m, x: m(x)),
    Case("conv lstm 2d", "conv_lstm2d", lambda: layers.ConvLSTM2D(5, (3, 2)),
         lambda: ConvLstm(nn.Conv2d, (3, 2)), [(3, 6, 9, 7, 4)], lambda m, x: m(x)),
    Case("conv lstm 2d without bias", "conv_lstm2d",
         lambda: layers.ConvLSTM2D(5, (3, 2), use_bias=False),
         lambda: ConvLstm(nn.Conv2d, (3, 2), bias=False), [(3, 6, 9, 7, 4)], lambda m, x: m(x)),
    Case("conv lstm 3d", "conv_lstm3d", lambda: layers.ConvLSTM3D(5, (3, 2, 1)),
         lambda: ConvLstm(nn.Conv3d, (3, 2, 1)), [(3, 2, 6, 7, 8, 4)], lambda m, x: m(x)),
]  # fmt: skip

CASES = [case for name in KERAS for case in kind_cases(name)] + CONV_LSTM


@pytest.mark.filterwarnings(
    # torch 2.13 says so for an even kernel with padding='same'; the result is the same.
    "ignore:Using padding='same' with even kernel:UserWarning"
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_module_gives_the_outputs_of_the_layer(case):
    check(case)


@pytest.mark.parametrize("name", list(KERAS))
def test_layers_of_one_module_come_from_several_keras_layers(name):
    """Two bidirectional Keras layers are layer 0 and 1 of one PyTorch module, and back."""
    kinds = load_catalogue().kinds

    def ran(width: int, seed: int) -> Ran:
        keras = lambda: layers.Bidirectional(KERAS[name](5, return_sequences=True))  # noqa: E731 - one row
        case = Case("", f"bidirectional_{name}", keras, lambda: None, [(3, 7, width)], outputs,
                    square=True)  # fmt: skip
        return run_keras(case, seed)

    lower, upper = ran(4, 0), ran(10, 1)
    state = to_torch(lower.kind, lower.arrays)
    whole = to_torch(kinds[f"bidirectional_{name}_l1"], upper.arrays)
    apart: dict[str, Any] = {}
    for kind, prefix in ((f"{name}_l1", "forward/"), (f"{name}_l1_reverse", "backward/")):
        arrays = {
            key.removeprefix(prefix): value
            for key, value in upper.arrays.items()
            if key.startswith(prefix)
        }
        apart |= to_torch(kinds[kind], arrays)
        back = to_keras(kinds[kind], apart, arrays)
        assert all(back[key].tobytes() == value.tobytes() for key, value in arrays.items())
    assert {key: value.tobytes() for key, value in whole.items()} == {
        key: value.tobytes() for key, value in apart.items()
    }
    module = TORCH[name](4, 5, 2, bidirectional=True, batch_first=True)
    module.load_state_dict(
        {key: torch.from_numpy(value) for key, value in {**state, **whole}.items()}
    )
    with torch.no_grad():
        found = to_numpy(outputs(module, torch.from_numpy(lower.inputs[0])))
    assert difference(found, to_numpy(upper.layer(lower.keras))) <= BOUND


@pytest.mark.parametrize("name", list(KERAS))
def test_the_reverse_half_alone_is_a_keras_layer_that_goes_backwards(name):
    case = Case("", f"{name}_reverse",
                lambda: KERAS[name](5, return_sequences=True, go_backwards=True), lambda: None,
                SEQUENCE, outputs, automatic=False, square=True)  # fmt: skip
    ran = run_keras(case)
    module = TORCH[name](4, 5, bidirectional=True, batch_first=True)
    state = {key: to_numpy(value) for key, value in module.state_dict().items()}
    state |= to_torch(ran.kind, ran.arrays)
    module.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    with torch.no_grad():
        reverse = outputs(module, torch.from_numpy(ran.inputs[0]))[..., 5:].flip(1)
    assert difference(to_numpy(reverse), ran.keras) <= BOUND


def test_the_sum_of_two_biases_is_what_keras_gets():
    """PyTorch to Keras: bias_ih + bias_hh, and the outputs stay."""
    case = Case("", "lstm", lambda: layers.LSTM(5, return_sequences=True), lambda: None, SEQUENCE,
                outputs)  # fmt: skip
    ran = run_keras(case)
    torch.manual_seed(0)
    module = nn.LSTM(4, 5, batch_first=True)
    state = {key: to_numpy(value) for key, value in module.state_dict().items()}
    back = to_keras(ran.kind, state, ran.arrays)
    layer = ran.layer
    layer.set_weights([back["kernel"], back["recurrent_kernel"], back["bias"]])
    with torch.no_grad():
        expected = to_numpy(outputs(module, torch.from_numpy(ran.inputs[0])))
    assert difference(to_numpy(layer(ran.inputs[0])), expected) <= BOUND


WHY = (
    "torch.nn.GRU applies the reset gate after the recurrent product, a GRU with "
    "reset_after=False before it: no weights make them equal"
)


class ResetBefore(nn.Module):
    """What no module of torch.nn computes: the reset gate before the recurrent product."""

    def __init__(self, inputs, units):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.zeros(3 * units, inputs))
        self.weight_hh = nn.Parameter(torch.zeros(3 * units, units))
        self.bias = nn.Parameter(torch.zeros(3 * units))

    def forward(self, x):
        h = torch.zeros(x.shape[0], self.weight_hh.shape[1])
        w_r, w_z, w_n = self.weight_hh.chunk(3)
        for step in x.unbind(1):
            i_r, i_z, i_n = (step @ self.weight_ih.T + self.bias).chunk(3, -1)
            r, z = torch.sigmoid(i_r + h @ w_r.T), torch.sigmoid(i_z + h @ w_z.T)
            h = z * h + (1 - z) * torch.tanh(i_n + (r * h) @ w_n.T)
        return h


def test_a_gru_that_resets_before_is_written_for_a_module_of_ones_own():
    given = keras.Input((7, 4))
    model = keras.Model(given, layers.GRU(5, reset_after=False, name="old")(given))
    generator = np.random.default_rng(3)
    model.set_weights([generator.normal(0, 0.5, w.shape) for w in model.get_weights()])
    conversion = converter.plan(model)
    assert conversion.plan.assumptions[-1] == (
        f"layer 'old': {WHY}; its tensors are written for a module of your own "
        "(weight_ih, weight_hh, bias)."
    )
    module = nn.ModuleDict({"old": ResetBefore(4, 5)})
    module.load_state_dict(conversion.state_dict())
    inputs = generator.normal(0, 1, (3, 7, 4)).astype("float32")
    with torch.no_grad():
        found = to_numpy(module["old"](torch.from_numpy(inputs)))
    assert difference(found, to_numpy(model(inputs))) <= BOUND
    back = converter.plan(module, like=model).get_weights()
    assert [w.tobytes() for w in back] == [w.tobytes() for w in model.get_weights()]


def test_a_gru_that_resets_before_is_refused_towards_nn_gru_with_the_reason():
    given = keras.Input((7, 4))
    old = layers.GRU(5, reset_after=False, name="old")
    model = keras.Model(given, old(given), name="net")
    rule = Rule("gru", "old", "rnn")
    mapping = Mapping("mine", "a", "b", (rule,))
    with pytest.raises(PlanError) as caught:
        converter.plan(model, mapping=mapping)
    assert str(caught.value) == (
        "cannot plan 'net' with mapping 'mine': 1 refused\n"
        "  refused  old  the kind 'gru' is for layers with reset_after = True, and this one has "
        f'False: {WHY}  [rules[0] ["gru", "old", "rnn"]]\n'
        "  written  nothing"
    )
