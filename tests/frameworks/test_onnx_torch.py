"""What PyTorch exports to ONNX, both ways of its exporters, is read as the state dict it was.

And an exported graph that is filled with other weights computes what the module with them does.
"""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import converter
from converter.errors import PlanError, WriteError
from converter.formats.onnx_reader import OnnxCheckpoint
from converter.formats.registry import create_writer

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
nn = torch.nn

pytestmark = pytest.mark.frameworks

COUNTER = "num_batches_tracked"


class Net(nn.Module):
    """Every layer whose export renames, transposes, merges or folds something."""

    def __init__(self, *, normalised: bool) -> None:
        super().__init__()
        self.emb = nn.Embedding(11, 6)
        self.conv = nn.Conv1d(6, 4, 3, bias=False)
        self.bn = nn.BatchNorm1d(4) if normalised else nn.Identity()
        self.up = nn.ConvTranspose1d(4, 6, 3)
        self.gn = nn.GroupNorm(2, 6)
        self.fc3 = nn.Linear(6, 8)
        self.ln = nn.LayerNorm(8)
        self.mha = nn.MultiheadAttention(8, 2, batch_first=True)
        self.lstm = nn.LSTM(8, 4, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(8, 5, batch_first=True)
        self.act = nn.PReLU(5)
        self.seq = nn.Sequential(nn.Sequential(nn.Linear(5, 9), nn.ReLU()), nn.Linear(9, 7))
        self.by_key = nn.ModuleDict({"k": nn.Linear(7, 6)})
        self.a = nn.Linear(6, 6)
        self.b = nn.Linear(6, 6)
        self.b.weight = self.a.weight
        self.same = nn.ModuleList([nn.LayerNorm(6), nn.LayerNorm(6)])  # equal, as at the start
        self.scale = nn.Parameter(torch.empty(6))

    def forward(self, x: Any) -> Any:
        x = self.emb(x).transpose(1, 2)
        x = self.gn(self.up(self.bn(self.conv(x)))).transpose(1, 2)
        x = self.ln(self.fc3(x))
        x = self.mha(x, x, x, need_weights=False)[0]
        x = self.gru(self.lstm(x)[0])[0]
        x = self.act(x.transpose(1, 2)).transpose(1, 2)
        x = self.by_key["k"](self.seq(x))[:, -1]
        x = self.b(self.same[0](self.a(x)).relu())
        return self.same[1](x) * self.scale


def build(seed: int, *, normalised: bool) -> Any:
    torch.manual_seed(seed)
    net = Net(normalised=normalised).eval()
    with torch.no_grad():
        for name, value in net.named_parameters():
            if not name.startswith("same"):
                value.uniform_(-1, 1)
        for norm in net.same:
            norm.weight.copy_(torch.linspace(0.5, 1.5, 6) + seed)
            norm.bias.copy_(torch.linspace(-1, 1, 6))
        if normalised:
            net.bn.running_mean.uniform_()
            net.bn.running_var.uniform_(0.5, 2)
    return net


def tokens() -> Any:
    return torch.arange(27).reshape(3, 9) % 11


def export(net: Any, path: Path, *, dynamo: bool, optimised: bool) -> Path:
    options = {"optimize": optimised} if dynamo else {"do_constant_folding": optimised}
    with warnings.catch_warnings():
        # Both exporters warn of their own future, and of sizes that were seen in the trace.
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (tokens(),), str(path), dynamo=dynamo, verbose=False, **options)
    return path


EXPORTERS = list(itertools.product((True, False), (True, False)))
IDS = ["dynamo", "dynamo-plain", "script", "script-plain"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: Any) -> dict[tuple[bool, bool, bool], Path]:
    folder = tmp_path_factory.mktemp("exported")
    return {
        (dynamo, optimised, normalised): export(
            build(0, normalised=normalised),
            folder / f"{dynamo}-{optimised}-{normalised}.onnx",
            dynamo=dynamo,
            optimised=optimised,
        )
        for dynamo, optimised in EXPORTERS
        for normalised in (True, False)
    }


def state(net: Any) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in net.state_dict().items() if COUNTER not in name}


@pytest.mark.parametrize(("dynamo", "optimised"), EXPORTERS, ids=IDS)
def test_the_state_dict_is_read_bit_for_bit(exported, dynamo, optimised):
    expected = state(build(0, normalised=False))
    with OnnxCheckpoint(exported[dynamo, optimised, False]) as found:
        assert {*found.manifest.tensors, *found.manifest.ties} == set(expected)
        for name, value in expected.items():
            array = found.read(name)
            assert array.shape == value.shape, name
            assert array.tobytes() == value.tobytes(), name
        assert not found.found.unnamed


@pytest.mark.parametrize("dynamo", [True, False])
def test_an_export_without_rewriting_keeps_the_statistics(exported, dynamo):
    expected = state(build(0, normalised=True))
    with OnnxCheckpoint(exported[dynamo, False, True]) as found:
        assert {*found.manifest.tensors, *found.manifest.ties} == set(expected)
        for name, value in expected.items():
            assert found.read(name).tobytes() == value.tobytes(), name
        assert not any("folded" in notice for notice in found.manifest.notices)


@pytest.mark.parametrize("dynamo", [True, False])
def test_folded_statistics_are_said(exported, dynamo):
    net = build(0, normalised=True)
    with OnnxCheckpoint(exported[dynamo, True, True]) as found:
        assert found.manifest.notices[0] == (
            "BatchNormalization was folded into 'conv' when the file was exported: weight and bias "
            "are products, not those that were trained."
        )
        factor = net.bn.weight / torch.sqrt(net.bn.running_var + net.bn.eps)
        product = (net.conv.weight * factor[:, None, None]).detach().numpy()
        np.testing.assert_allclose(found.read("conv.weight"), product, rtol=1e-6)
        bias = (net.bn.bias - net.bn.running_mean * factor).detach().numpy()
        np.testing.assert_allclose(found.read("conv.bias"), bias, rtol=1e-5, atol=1e-6)
        assert not any(name.startswith("bn.") for name in found.manifest.tensors)
        assert not any(name.startswith("bn.") for name in found.manifest.ties)


@pytest.mark.parametrize(("dynamo", "optimised"), EXPORTERS, ids=IDS)
def test_shared_and_merged_parameters_are_ties(exported, dynamo, optimised):
    with OnnxCheckpoint(exported[dynamo, optimised, False]) as found:
        names = {frozenset(pair) for pair in found.manifest.ties.items()}
        assert frozenset({"a.weight", "b.weight"}) in names
        merged = frozenset({"same.0.weight", "same.1.weight"}) in names
        assert merged == (not dynamo or optimised)  # the plain new export keeps both
        (notice,) = (one for one in found.manifest.notices if "merged" in one)
        assert "'a.weight' is 'b.weight'" in notice or "'b.weight' is 'a.weight'" in notice


def run(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return session.run(None, {given.name: tokens().numpy()})[0]


WRITTEN = [(*exporter, False) for exporter in EXPORTERS] + [
    (True, False, True),
    (False, False, True),
]


@pytest.mark.parametrize(("dynamo", "optimised", "normalised"), WRITTEN)
def test_a_graph_with_other_weights_computes_what_the_module_does(
    exported, tmp_path, dynamo, optimised, normalised
):
    net = build(1, normalised=normalised)
    torch.save(net.state_dict(), tmp_path / "new.pt")
    target = tmp_path / "new.onnx"
    like = exported[dynamo, optimised, normalised]
    before = run(like)
    converter.convert(tmp_path / "new.pt", target, like=like)
    with torch.no_grad():
        expected = net(tokens()).numpy()
    assert np.abs(expected - before).max() > 0.1  # the old weights would not do
    np.testing.assert_allclose(run(target), expected, rtol=1e-4, atol=1e-5)
    with OnnxCheckpoint(target) as found:
        for name, value in state(net).items():
            assert found.read(name).tobytes() == value.tobytes(), name


def test_values_that_were_merged_and_differ_now_are_refused(exported, tmp_path):
    net = build(1, normalised=False)
    with torch.no_grad():
        net.same[1].weight[2] += 1
    torch.save(net.state_dict(), tmp_path / "new.pt")
    with pytest.raises(converter.OperationError, match="two tied tensors have different values"):
        converter.convert(
            tmp_path / "new.pt", tmp_path / "new.onnx", like=exported[True, True, False]
        )
    assert not (tmp_path / "new.onnx").exists()


@pytest.mark.parametrize("dynamo", [True, False])
def test_a_folded_graph_is_not_filled(exported, tmp_path, dynamo):
    path = exported[dynamo, True, True]
    torch.save(build(1, normalised=True).state_dict(), tmp_path / "new.pt")
    with pytest.raises(PlanError, match="BatchNormalization was folded into 'conv'"):
        converter.convert(tmp_path / "new.pt", tmp_path / "new.onnx", like=path)
    with (
        OnnxCheckpoint(path) as like,
        pytest.raises(WriteError, match="BatchNormalization was folded into the weights") as error,
    ):
        create_writer("onnx", tmp_path, "new.onnx", like.manifest, like=like)
    assert ("module", "'conv'") in error.value.facts
    assert "optimize=False" in (error.value.hint or "")
    assert not (tmp_path / "new.onnx").exists()


def test_a_missing_value_is_an_error(exported, tmp_path):
    values = build(1, normalised=False).state_dict()
    del values["lstm.bias_hh_l1_reverse"]
    torch.save(values, tmp_path / "new.pt")
    with pytest.raises(PlanError, match=r"missing  lstm\.bias_hh_l1_reverse"):
        converter.convert(
            tmp_path / "new.pt", tmp_path / "new.onnx", like=exported[False, True, False]
        )


def test_an_exported_graph_replaces_itself(exported, tmp_path):
    like = export(build(0, normalised=False), tmp_path / "m.onnx", dynamo=True, optimised=False)
    assert (tmp_path / "m.onnx.data").stat().st_size > 0
    net = build(2, normalised=False)
    torch.save(net.state_dict(), tmp_path / "new.pt")
    converter.convert(tmp_path / "new.pt", like, like=like, force=True)
    with torch.no_grad():
        np.testing.assert_allclose(run(like), net(tokens()).numpy(), rtol=1e-4, atol=1e-5)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data", "new.pt"]


def test_what_keras_exports_holds_its_values_under_names_of_the_file(tmp_path):
    """Keras' torch backend names nothing; a Dense is (out, in) all the same."""
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((4,), batch_size=3), keras.layers.Dense(7, name="fc")])
    random = np.random.default_rng(5)
    kernel, bias = (random.normal(size=size).astype(np.float32) for size in ((4, 7), (7,)))
    model(np.zeros((3, 4), np.float32))  # Keras exports what was called
    model.set_weights([kernel, bias])
    path = tmp_path / "keras.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's exporter, as above
        model.export(path, format="onnx", verbose=False)
    with OnnxCheckpoint(path) as found:
        values = {spec.shape: found.read(spec.name) for spec in found.manifest}
        assert set(values) == {(7, 4), (7,)}
        assert np.array_equal(values[7, 4], kernel.T)
        assert np.array_equal(values[7,], bias)
        (notice,) = found.manifest.notices
        assert "named by nothing but the file" in notice
