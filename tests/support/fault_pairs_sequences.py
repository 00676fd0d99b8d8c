"""Right pairs of sequence models: causal, backwards, masked and attending; see ``fault_pairs``."""

from __future__ import annotations

from typing import Any

from support.fault_network import wired


def _own(gates: int, *, inputs: int, units: int, names: tuple[str, ...]) -> Any:
    """Return a recurrent module of one's own without its step, with PyTorch's shapes."""
    import torch
    from torch import nn

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            shapes = ((gates * units, inputs), (gates * units, units), (gates * units,))
            for name, shape in zip(names, (*shapes, shapes[-1]), strict=False):
                self.register_parameter(name, nn.Parameter(torch.empty(shape)))

    return Recurrent


def hard_lstm(inputs: int, units: int) -> Any:
    """Return an LSTM whose gates are Keras 3's hard sigmoid."""
    import torch
    import torch.nn.functional as F

    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")

    class HardLSTM(_own(4, inputs=inputs, units=units, names=names)):
        def forward(self, x: Any) -> Any:
            h = state = x.new_zeros(len(x), units)
            made = []
            for time in range(x.shape[1]):
                gates = F.linear(x[:, time], self.weight_ih_l0, self.bias_ih_l0)
                gates = gates + F.linear(h, self.weight_hh_l0, self.bias_hh_l0)
                i, f, g, o = gates.chunk(4, -1)
                i, f, o = (F.hardsigmoid(one) for one in (i, f, o))
                state = f * state + i * g.tanh()
                h = o * state.tanh()
                made.append(h)
            return torch.stack(made, 1)

    return HardLSTM()


def old_gru(inputs: int, units: int, *, is_reset_after: bool = False) -> Any:
    """Return a GRU with one bias, by default with the reset gate before the product."""
    import torch
    import torch.nn.functional as F

    class OldGRU(_own(3, inputs=inputs, units=units, names=("weight_ih", "weight_hh", "bias"))):
        def forward(self, x: Any) -> Any:
            h = x.new_zeros(len(x), units)
            own = self.weight_hh.chunk(3)
            made = []
            for time in range(x.shape[1]):
                r, z, n = F.linear(x[:, time], self.weight_ih, self.bias).chunk(3, -1)
                r = torch.sigmoid(r + F.linear(h, own[0]))
                z = torch.sigmoid(z + F.linear(h, own[1]))
                inner = r * F.linear(h, own[2]) if is_reset_after else F.linear(r * h, own[2])
                h = z * h + (1 - z) * torch.tanh(n + inner)
                made.append(h)
            return torch.stack(made, 1)

    return OldGRU()


def sequence() -> Any:
    """A causal convolution, an LSTM that runs backwards, a softmax over features at each step."""
    import torch.nn.functional as F
    from keras import layers
    from support.fault_pairs import _model
    from torch import nn

    model = _model(
        (9, 6),
        [
            layers.Conv1D(8, 3, padding="causal", name="causal"),
            layers.LSTM(7, return_sequences=True, go_backwards=True, name="backwards"),
            layers.Dense(5, activation="softmax", name="shares"),
            layers.Dense(4, name="mixed"),
            layers.GlobalAveragePooling1D(name="mean"),
            layers.Dense(3, name="out"),
        ],
    )
    steps = {
        "pad": lambda x: F.pad(x.mT, (2, 0)),
        "causal": nn.Conv1d(6, 8, 3),
        "time": lambda x: x.mT,
        "flip": lambda x: x.flip(1),
        "backwards": nn.LSTM(8, 7, batch_first=True),
        "sequence": lambda x: x[0],
        "shares": nn.Linear(7, 5),
        "softmax": lambda x: x.softmax(-1),
        "mixed": nn.Linear(5, 4),
        "mean": lambda x: x.mean(1),
        "out": nn.Linear(4, 3),
    }
    return model, wired(steps), (9, 6)


def gates() -> Any:
    """An LSTM with hard gates and a GRU that resets before the product, by hand in PyTorch."""
    from keras import layers
    from support.fault_pairs import _model
    from torch import nn

    model = _model(
        (9, 6),
        [
            layers.LSTM(7, recurrent_activation="hard_sigmoid", return_sequences=True, name="hard"),
            layers.GRU(5, reset_after=False, return_sequences=True, name="old"),
            layers.Dense(3, name="out"),
        ],
    )
    steps = {"hard": hard_lstm(6, 7), "old": old_gru(7, 5), "out": nn.Linear(5, 3)}
    return model, wired(steps), (9, 6)


def attention() -> Any:
    """Self-attention with a padding mask over embedded ids."""
    import keras
    from keras import layers
    from torch import nn

    ids = keras.Input((7,), dtype="int32", name="ids")
    table = layers.Embedding(17, 12, name="table")(ids)
    mask = keras.ops.expand_dims(keras.ops.not_equal(ids, 0), 1)
    attended = layers.MultiHeadAttention(3, 4, name="attend")(table, table, attention_mask=mask)
    total = layers.Add(name="sum")([table, attended])
    norm = layers.LayerNormalization(name="norm")(total)
    model = keras.Model(ids, layers.Dense(5, name="out")(norm))
    given = ("table", "table", "table", {"key_padding_mask": "mask"})
    steps = {
        "table": nn.Embedding(17, 12),
        "mask": (lambda ids: ids == 0, "input"),
        "attend": (nn.MultiheadAttention(12, 3, batch_first=True), *given),
        "attended": lambda x: x[0],
        "sum": (lambda x, y: x + y, "table", "attended"),
        "norm": nn.LayerNorm(12, eps=1e-3),
        "out": nn.Linear(12, 5),
    }
    kinds = {
        "table": "embedding",
        "attend": "multi_head_attention_packed",
        "norm": "layer_norm",
        "out": "dense",
    }
    return model, wired(steps), ("ids", 7), kinds


def masked() -> Any:
    """An LSTM that skips padding, and gives its last state."""
    from keras import layers
    from support.fault_pairs import _model
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence

    model = _model(
        (7,),
        [
            layers.Embedding(17, 6, mask_zero=True, name="table"),
            layers.LSTM(5, name="cell"),
            layers.Dense(3, name="out"),
        ],
        "int32",
    )

    def packed(x: Any, ids: Any) -> Any:
        lengths = (ids != 0).sum(1)
        return pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)

    steps = {
        "table": nn.Embedding(17, 6),
        "packed": (packed, "table", "input"),
        "cell": nn.LSTM(6, 5, batch_first=True),
        "last": lambda made: made[1][0][-1],
        "out": nn.Linear(5, 3),
    }
    return model, wired(steps), ("ids", 7)
