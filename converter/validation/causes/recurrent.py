"""Why an LSTM or GRU differs: gates, their activation, the reset, masks, computed step by step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from converter.validation.causes.trial import Suspect, Trial

Gate = Callable[[Any], Any]


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
    if kind == "GRU":
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


def _run(suspect: Suspect, **changes: Any) -> Callable[[Any], Any]:
    return lambda copy: _steps(copy, suspect, **changes)


def _weights(module: Any, order: tuple[int, ...] | None, *, swap: bool, single: bool) -> list[Any]:
    import torch

    w, u = module.weight_ih_l0, module.weight_hh_l0
    if module.bias:
        b, c = module.bias_ih_l0, module.bias_hh_l0
    else:
        b = c = torch.zeros(w.shape[0])
    if single:
        c = torch.zeros_like(c)
    if swap:
        w, u = u, w
    found = [w, u, b, c]
    if order is None:
        return found
    return [torch.cat([one.chunk(len(order))[index] for index in order]) for one in found]


def _steps(
    module: Any,
    suspect: Suspect,
    *,
    order: tuple[int, ...] | None = None,
    gate: Gate | None = None,
    reset_after: bool = True,
    swap: bool = False,
    backwards: bool = False,
    single_bias: bool = False,
    mask: Any = None,
) -> Any:
    """Return what the module gives, as in PyTorch's own formulas but for what is changed."""
    import torch

    x = suspect.args[0] if module.batch_first else suspect.args[0].transpose(0, 1)
    w, u, b, c = _weights(module, order, swap=swap, single=single_bias)
    act = gate or torch.sigmoid
    h = x.new_zeros(x.shape[0], u.shape[1])
    state = h
    outputs = []
    times = range(x.shape[1])
    for time in reversed(times) if backwards else times:
        before = h, state
        left, right = x[:, time] @ w.T + b, h @ u.T
        if type(module).__name__ == "LSTM":
            i, f, g, o = (left + right + c).chunk(4, 1)
            state = act(f) * state + act(i) * torch.tanh(g)
            h = act(o) * torch.tanh(state)
        else:
            h = _gru(h, left, right, (u, c), act, reset_after=reset_after)
        if mask is not None:
            kept = mask[:, time, None]
            h, state = torch.where(kept, h, before[0]), torch.where(kept, state, before[1])
        outputs.append(h)
    return torch.stack(outputs, 1 if module.batch_first else 0)


def _gru(
    h: Any, left: Any, right: Any, own: tuple[Any, Any], act: Gate, *, reset_after: bool
) -> Any:
    import torch

    u, c = own
    size = h.shape[1]
    r, z, _ = (left + right + c).chunk(3, 1)
    r, z = act(r), act(z)
    inner, bias = left[:, 2 * size :], c[2 * size :]
    if reset_after:
        n = torch.tanh(inner + r * (right[:, 2 * size :] + bias))
    else:
        n = torch.tanh(inner + (r * h) @ u[2 * size :].T + bias)
    return (1 - z) * n + z * h
