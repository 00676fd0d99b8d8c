"""Why an LSTM or GRU differs: gates, their activation, the reset, masks, computed step by step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from converter.validation.causes.trial import Suspect, Trial
from converter.validation.fitting import distance

Gate = Callable[[Any], Any]
_SAME = 1e-5  # relative L2: two orders of the same additions over the steps of a sequence


def trials(suspect: Suspect, module: Any) -> Iterator[Trial]:
    """Yield what may be wrong with a recurrent module of one layer and one direction."""
    kind = type(module).__name__
    if kind not in ("LSTM", "GRU") or module.num_layers != 1 or module.bidirectional:
        return
    names = "ifgo" if kind == "LSTM" else "rzn"
    for order in itertools.permutations(range(len(names))):
        if order != tuple(range(len(names))):
            told = f"{''.join(names[one] for one in order)} for {names}"
            yield Trial("gate_order", _run(suspect, order=order), told)
    for text, gate in _gates().items():
        yield Trial("hard_sigmoid", _run(suspect, gate=gate), text)
    if kind == "GRU" and not getattr(suspect.layer, "reset_after", True):
        yield Trial("reset_after", _run(suspect, reset_after=False))
    if module.input_size == module.hidden_size:
        yield Trial("kernels_swapped", _run(suspect, swap=True))
    yield Trial("reversed_time", _run(suspect, backwards=True))
    if module.bias:
        yield Trial("two_biases", _run(suspect, single_bias=True))
    mask = _mask(suspect)
    if mask is not None:
        yield Trial("mask", _run(suspect, mask=mask))


def _gates() -> dict[str, Gate]:
    return {
        "clip(0.2 x + 0.5), Keras 2's": lambda x: (0.2 * x + 0.5).clamp(0, 1),
        "relu6(x + 3) / 6, Keras 3's": lambda x: (x / 6 + 0.5).clamp(0, 1),
    }


def _mask(suspect: Suspect) -> Any:
    from converter.live.torch_module import from_array
    from converter.validation.keras_trace import as_array

    given = suspect.event.kwargs.get("mask")
    if given is None and len(suspect.event.args) > 1:
        given = suspect.event.args[-1]
    if given is None or isinstance(given, (list, tuple, bool)):
        return None
    return from_array(as_array(given)).bool()


def own_trials(suspect: Suspect, module: Any) -> Iterator[Trial]:
    """Yield what may be wrong with an LSTM or GRU that somebody wrote by hand.

    What it computes is not known, so a mistake counts only where computing with it gives what the
    module gave.
    """
    kind = type(suspect.layer).__name__
    cell = _Cell.of(module, kind)
    if kind not in ("LSTM", "GRU") or cell is None:
        return
    layer = suspect.layer
    right: dict[str, Any] = {"reset_after": getattr(layer, "reset_after", True)}
    name = getattr(layer.recurrent_activation, "__name__", "")
    if name == "hard_sigmoid":
        text, right["gate"] = list(_gates().items())[-1]
        yield Trial("hard_sigmoid", _confirmed(suspect, cell, right, {"gate": None}), text)
    elif name != "sigmoid":
        return
    if not right["reset_after"]:
        yield Trial("reset_after", _confirmed(suspect, cell, right, {"reset_after": True}))
    names = "ifgo" if kind == "LSTM" else "rzn"
    for order in itertools.permutations(range(len(names))):
        if order != tuple(range(len(names))):
            told = f"{''.join(names[one] for one in order)} for {names}"
            run = _confirmed(suspect, cell, {**right, "order": order}, {"order": None})
            yield Trial("gate_order", run, told)


def _confirmed(
    suspect: Suspect, cell: _Cell, right: dict[str, Any], mistake: dict[str, Any]
) -> Callable[[Any], Any]:
    def run(_: Any) -> Any:
        made = _steps(cell, suspect.args[0], **{**right, **mistake})
        if distance(suspect.found, made.numpy()) > _SAME:
            return None
        return _steps(cell, suspect.args[0], **right)

    return run


def _run(suspect: Suspect, **changes: Any) -> Callable[[Any], Any]:
    def run(copy: Any) -> Any:
        cell = _Cell.of(copy, type(copy).__name__)
        if cell is None:
            return None
        x = suspect.args[0] if copy.batch_first else suspect.args[0].transpose(0, 1)
        made = _steps(cell, x, **changes)
        return made if copy.batch_first else made.transpose(0, 1)

    return run


@dataclass(frozen=True, slots=True)
class _Cell:
    """The tensors of one layer in one direction, as PyTorch has them.

    Attributes:
        kind: ``LSTM`` or ``GRU``.
        inputs: Shape ``(gates units, inputs)``.
        states: Shape ``(gates units, units)``.
        bias: Of the inputs, shape ``(gates units,)``.
        state_bias: Of the states, likewise.
    """

    kind: str
    inputs: Any
    states: Any
    bias: Any
    state_bias: Any

    @classmethod
    def of(cls, module: Any, kind: str) -> _Cell | None:
        """Return the tensors of a module, or ``None`` where it names them otherwise."""
        import torch

        own = {name.removesuffix("_l0"): one.data for name, one in module.named_parameters()}
        if not {"weight_ih", "weight_hh"} <= set(own):
            return None
        none = torch.zeros(len(own["weight_ih"]))
        bias = own.get("bias_ih", own.get("bias", none))
        return cls(kind, own["weight_ih"], own["weight_hh"], bias, own.get("bias_hh", none))

    def ordered(self, order: tuple[int, ...]) -> _Cell:
        """Return it with its gates in another order."""
        import torch

        tensors = (self.inputs, self.states, self.bias, self.state_bias)
        parts = [one.chunk(len(order)) for one in tensors]
        return _Cell(self.kind, *(torch.cat([part[n] for n in order]) for part in parts))


def _steps(
    cell: _Cell,
    x: Any,
    *,
    order: tuple[int, ...] | None = None,
    gate: Gate | None = None,
    reset_after: bool = True,
    swap: bool = False,
    backwards: bool = False,
    single_bias: bool = False,
    mask: Any = None,
) -> Any:
    """Return what PyTorch's own formulas give but for what is changed, the batch first."""
    import torch

    if single_bias:
        cell = replace(cell, state_bias=torch.zeros_like(cell.state_bias))
    if swap:
        cell = replace(cell, inputs=cell.states, states=cell.inputs)
    if order is not None:
        cell = cell.ordered(order)
    act = gate or torch.sigmoid
    h = x.new_zeros(x.shape[0], cell.states.shape[1])
    state = h
    outputs = []
    times = range(x.shape[1])
    for time in reversed(times) if backwards else times:
        before = h, state
        left, right = x[:, time] @ cell.inputs.T + cell.bias, h @ cell.states.T
        if cell.kind == "LSTM":
            i, f, g, o = (left + right + cell.state_bias).chunk(4, 1)
            state = act(f) * state + act(i) * torch.tanh(g)
            h = act(o) * torch.tanh(state)
        else:
            h = _gru(h, left, right, cell, act, reset_after=reset_after)
        if mask is not None:
            kept = mask[:, time, None]
            h, state = torch.where(kept, h, before[0]), torch.where(kept, state, before[1])
        outputs.append(h)
    return torch.stack(outputs, 1)


def _gru(h: Any, left: Any, right: Any, cell: _Cell, act: Gate, *, reset_after: bool) -> Any:
    import torch

    size = h.shape[1]
    r, z, _ = (left + right + cell.state_bias).chunk(3, 1)
    r, z = act(r), act(z)
    inner, bias = left[:, 2 * size :], cell.state_bias[2 * size :]
    if reset_after:
        n = torch.tanh(inner + r * (right[:, 2 * size :] + bias))
    else:
        n = torch.tanh(inner + (r * h) @ cell.states[2 * size :].T + bias)
    return (1 - z) * n + z * h
