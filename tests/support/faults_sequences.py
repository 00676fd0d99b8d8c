"""Faults of attention, recurrence and precision; see ``faults``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.faults import Fault, attribute, both, step


def blocks(function: Callable[..., list[Any]]) -> Callable[[Any], None]:
    """Change the query, key and value blocks of ``attend``."""

    def change(net: Any) -> None:
        import torch

        for one in (net.attend.in_proj_weight, net.attend.in_proj_bias):
            one.data = torch.cat(function(*one.data.chunk(3)))

    return change


def interleaved(rows: Any) -> Any:
    """Rows (head size) written as (size head): 3 heads of 4."""
    return rows.unflatten(0, (3, 4)).transpose(0, 1).flatten(0, 1)


def unpacked(net: Any) -> None:
    net.put("packed", lambda x, _: x)
    net.put("last", lambda made: made[0][:, -1])


def soft_gates(net: Any) -> None:
    from torch import nn

    cell = nn.LSTM(6, 7, batch_first=True)
    cell.load_state_dict(net.hard.state_dict())
    net.put("hard", cell.eval())
    net.order.insert(1, "sequence")
    net.put("sequence", lambda x: x[0])


def reset_after(net: Any) -> None:
    from support.fault_pairs_sequences import old_gru

    cell = old_gru(7, 5, is_reset_after=True)
    cell.load_state_dict(net.old.state_dict())
    net.put("old", cell.eval())


def no_row(net: Any) -> None:
    net.table.padding_idx = 0
    net.table.weight.data[0] = 0


def symmetric(net: Any) -> None:
    import torch.nn.functional as F

    net.put("pad", lambda x: F.pad(x.mT, (1, 1)))


SEQUENCE_FAULTS: tuple[Fault, ...] = (
    ("symmetric causal padding", "sequence", symmetric, "causal", "causal_padding"),
    ("no flip", "sequence", step("flip", lambda x: x), "backwards", "reversed_time"),
    (
        "the sequence backwards",
        "gates",
        lambda net: (net.order.insert(0, "flip"), net.put("flip", lambda x: x.flip(1)))[0],
        "hard",
        "reversed_time",
    ),
    (
        "softmax over time",
        "sequence",
        step("softmax", lambda x: x.softmax(1)),
        "shares (activation)",
        "softmax_axis",
    ),
    ("sigmoid gates", "gates", soft_gates, "hard", "hard_sigmoid"),
    ("reset after the product", "gates", reset_after, "old", "reset_after"),
    ("padding is not skipped", "masked", unpacked, "cell", "mask"),
    ("the padding row is zero", "attention", no_row, "table", "padding_row"),
    (
        "the query scaled twice",
        "attention",
        blocks(lambda q, k, v: [q / 2, k, v]),
        "attend",
        "attention_scale",
    ),
    (
        "query and key",
        "attention",
        blocks(lambda q, k, v: [k, q, v]),
        "attend",
        "query_key_swapped",
    ),
    (
        "heads interleaved",
        "attention",
        blocks(lambda *x: [interleaved(one) for one in x]),
        "attend",
        "head_order",
    ),
    (
        "True means attend",
        "attention",
        step("mask", lambda ids: ids != 0),
        "attend",
        "attention_mask",
    ),
    (
        "no attention mask",
        "attention",
        lambda net: net.put("attend", net.attend, "table", "table", "table"),
        "attend",
        "attention_mask",
    ),
    (
        "no mask, and the scale",
        "attention",
        both(
            lambda net: net.put("attend", net.attend, "table", "table", "table"),
            attribute("norm", eps=1e-6),
        ),
        "attend, norm",
        "attention_mask, norm_epsilon",
    ),
)
