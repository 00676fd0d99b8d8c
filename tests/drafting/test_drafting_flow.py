"""Where a layer stands in the graph: told from both sides without computing a value."""

from __future__ import annotations

import numpy as np
import pytest

from converter.drafting.flow import Flow, agreement

pytestmark = pytest.mark.frameworks


def _flow(edges: dict[str, str], results: str) -> Flow:
    return Flow({node: frozenset(before.split(",")) for node, before in edges.items()},
                [frozenset({results})])  # fmt: skip


def _pairs(first: Flow, second: Flow) -> list[tuple[str, str]]:
    return [(one, two) for one in first.before for two in second.before]


def _best(first: Flow, second: Flow) -> dict[str, list[str]]:
    pairs = _pairs(first, second)
    shares = agreement(first, second, pairs)
    return {
        one: [two for (name, two), share in zip(pairs, shares, strict=True)
              if name == one and share == 1.0]
        for one in first.before
    }  # fmt: skip


def test_each_node_is_known_by_what_is_before_and_after_it():
    first = _flow({"a": "input 0", "b": "a", "c": "a", "d": "c", "e": "b,d"}, "e")
    second = _flow({"r": "t,s", "s": "x", "x": "y", "y": "input 0", "t": "y"}, "r")
    assert _best(first, second) == {"a": ["y"], "b": ["t"], "c": ["x"], "d": ["s"], "e": ["r"]}


def test_inputs_and_outputs_tell_equal_branches_apart():
    first = Flow({"l": frozenset({"input 0"}), "r": frozenset({"input 1"})}, [frozenset("lr")])
    second = Flow({"x": frozenset({"input 1"}), "y": frozenset({"input 0"})}, [frozenset("xy")])
    assert _best(first, second) == {"l": ["y"], "r": ["x"]}
    first = Flow(dict.fromkeys("lr", frozenset({"input 0"})), [frozenset("l"), frozenset("r")])
    second = Flow(dict.fromkeys("xy", frozenset({"input 0"})), [frozenset("y"), frozenset("x")])
    assert _best(first, second) == {"l": ["y"], "r": ["x"]}


def test_a_difference_in_one_place_leaves_the_others_known():
    """A chain whose end is another one: what is near the beginning still agrees best."""
    first = _flow({"a": "input 0", "b": "a", "c": "b", "d": "c"}, "d")
    second = _flow({"w": "input 0", "x": "w", "y": "x", "z": "y", "more": "z"}, "more")
    pairs = _pairs(first, second)
    shares = dict(zip(pairs, agreement(first, second, pairs), strict=True))
    for one, two in zip("ab", "wx", strict=True):
        assert shares[one, two] == max(shares[one, other] for other in second.before)


def test_what_no_evidence_tells_apart_stays_open():
    twins = Flow(dict.fromkeys("ab", frozenset({"input 0"})), [frozenset("ab")])
    assert _best(twins, twins) == {"a": ["a", "b"], "b": ["a", "b"]}


def _trace(module, *shapes: tuple[int, ...]):
    from converter.drafting.torch_flow import trace

    return trace(module, ([np.zeros(shape, "float32") for shape in shapes], {}))


def _torch_flow(module, *shapes: tuple[int, ...]) -> Flow:
    from converter.drafting.torch_flow import torch_flow

    found = _trace(module, *shapes)
    assert found is not None
    return torch_flow(found, ())


def test_a_module_is_traced_past_functions_and_in_place_changes():
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.late, self.early = nn.Linear(5, 5), nn.Linear(4, 5)
            self.shift = nn.Parameter(torch.zeros(5))

        def forward(self, x):
            y = torch.relu(self.early(x))
            y += self.shift
            z = torch.zeros_like(y)
            z[:, :5] = self.late(y)
            return z

    found = _torch_flow(Net(), (3, 4))
    assert found.before == {
        "early.bias": frozenset({"input 0"}),
        "shift": frozenset({"early.bias"}),
        "late.bias": frozenset({"shift"}),
    }
    assert found.results == [frozenset({"late.bias"})]
    assert list(found.order) == ["early.bias", "shift", "late.bias"]


def test_the_layers_of_a_recurrent_module_come_one_after_the_other():
    from torch import nn

    found = _torch_flow(nn.LSTM(4, 5, num_layers=2, batch_first=True), (3, 7, 4))
    assert found.before == {
        "bias_hh_l0": frozenset({"input 0"}), "bias_hh_l1": frozenset({"bias_hh_l0"}),
    }  # fmt: skip


def test_nothing_of_a_run_without_values_stays_in_the_module():
    """A module that keeps what it computed must compute it again, with values."""
    import torch
    from torch import nn

    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.kept = nn.Linear(4, 4), None
            self.register_buffer("runs", torch.zeros(1))

        def forward(self, x):
            self.runs += 1
            if self.kept is None:
                self.kept = torch.ones(4) * 2
            return self.fc(x) * self.kept

    module = Keeping().train()
    assert _trace(module, (3, 4)) is not None
    assert module.kept is None
    assert module.training
    assert type(module.runs) is torch.Tensor
    assert module.runs.tolist() == [0.0]
    assert type(module(torch.ones(3, 4))) is torch.Tensor


def test_a_module_whose_way_depends_on_values_has_no_graph():
    from torch import nn

    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return self.fc(x) if x.sum() > 0 else x

    assert _trace(Choosing(), (3, 4)) is None


def test_a_keras_graph_goes_through_models_inside_and_layers_called_twice():
    from support.drafting_pairs import inputs, layers, model

    import converter
    from converter.drafting.keras_flow import keras_flow
    from converter.graph.reading import read_graph

    L = layers()
    x = inputs(4)
    inner = model(x, L.Dense(4, name="deep")(L.ReLU()(L.Dense(4, name="inside")(x))))
    one, two = inputs(4, name="one"), inputs(4, name="two")
    twice = L.Dense(4, name="twice")
    net = model([one, two], L.Dense(2, name="top")(twice(inner(one)) + twice(two)))
    checkpoint = converter.open(net)
    units = [layer.path for layer in checkpoint.manifest.layers if layer.tensors]
    inside = next(unit.rpartition("/")[0] for unit in units if unit.endswith("inside"))
    found = keras_flow(read_graph(checkpoint), units)
    assert found.before == {
        f"{inside}/inside": frozenset({"input 0"}),
        f"{inside}/deep": frozenset({f"{inside}/inside"}),
        "twice": frozenset({f"{inside}/deep", "input 1"}),
        "top": frozenset({"twice"}),
    }
    assert found.results == [frozenset({"top"})]
