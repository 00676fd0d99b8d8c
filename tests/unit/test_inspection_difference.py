"""Distances against NumPy, in pieces and whole; statuses; exit codes and texts of ``diff``."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.tensor_files import SHARED

from converter import weights
from converter.errors import PlanError, UsageError
from converter.inspection.difference import Distance
from converter.inspection.pieces import pieces

VALUES = st.floats(-100, 100, width=32)


@given(st.data(), hnp.array_shapes(min_dims=0, max_dims=3, max_side=6), st.integers(1, 90))
def test_distances_are_those_of_numpy(data, shape, limit):
    a = data.draw(hnp.arrays(np.float32, shape, elements=VALUES))
    b = data.draw(hnp.arrays(np.float32, shape, elements=VALUES) | st.just(a))
    distance = Distance()
    for piece in pieces(a, limit):
        part = b[piece.indices]
        part = part if part.ndim == 0 else part[piece.start : piece.start + len(piece.array)]
        distance.add(piece, part)
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    assert distance.elements == a.size
    assert distance.changed == np.count_nonzero(a.view(np.uint32) != b.view(np.uint32))
    assert distance.max_absolute == np.abs(x - y).max()
    norm, gap = np.linalg.norm(x), np.linalg.norm(x - y)
    expected = 0.0 if gap == 0 else gap / norm if norm else math.inf
    assert distance.relative_l2 == pytest.approx(expected, rel=1e-9)
    if distance.max_absolute:
        where = distance.where
        assert abs(float(a[where]) - float(b[where])) == distance.max_absolute
    if norm and np.linalg.norm(y):
        cosine = x @ y / norm / np.linalg.norm(y)
        assert distance.cosine == pytest.approx(cosine, abs=1e-9)


def state(**changes):
    random = np.random.default_rng(4)
    found = {
        "a.weight": random.normal(size=(5, 3)).astype(np.float32),
        "b.weight": random.normal(size=(4, 7)).astype(np.float32),
        "c.weight": random.normal(size=(3,)).astype(np.float32),
    }
    found.update({name.replace("_", "."): value for name, value in changes.items()})
    return {name: value for name, value in found.items() if value is not None}


def test_statuses_and_their_order():
    first = state(d_weight=np.ones(2, np.float32))
    second = state(
        a_weight=first["a.weight"] * np.float32(1.5),
        b_weight=first["b.weight"] + np.eye(4, 7, dtype=np.float32) * 10,
        c_weight=np.zeros((4,), np.float32),
        e_weight=np.ones(2, np.float32),
    )
    found = weights.diff(first, second)
    assert [(one.name, one.status, one.note) for one in found.tensors] == [
        ("c.weight", "mismatched", "(3,) and (4,)"),
        ("d.weight", "only_first", ""),
        ("e.weight", "only_second", ""),
        ("b.weight", "changed", ""),
        ("a.weight", "changed", ""),
    ]
    b, a = found.tensors[3:]
    assert (b.changed, b.elements) == (4, 28)
    assert a.relative_l2 == pytest.approx(0.5, rel=1e-6)
    assert a.cosine == pytest.approx(1.0)
    assert not found.is_same


def test_the_same_is_the_same_and_negative_zero_is_not_zero():
    assert weights.diff(state(), state()).is_same
    zeros = np.zeros(3, np.float32)
    found = weights.diff(state(c_weight=zeros), state(c_weight=-zeros))
    assert (found.tensors[0].name, found.tensors[0].changed) == ("c.weight", 3)
    assert found.tensors[0].relative_l2 == 0.0


def test_what_is_not_a_number_on_one_side_is_changed_and_left_out_of_the_distance():
    broken = np.array([np.nan, 2, np.inf], np.float32)
    found = weights.diff(state(c_weight=np.array([1, 2, np.inf], np.float32)),
                         state(c_weight=broken)).tensors[0]  # fmt: skip
    assert (found.status, found.changed, found.relative_l2) == ("changed", 1, 0.0)


def test_another_dtype_is_a_change_of_its_own():
    wide = state(c_weight=np.array([1, 2, 3], np.float64))
    found = weights.diff(state(c_weight=np.array([1, 2, 3], np.float32)), wide).tensors[0]
    assert (found.status, found.changed, found.note) == ("changed", 0, "float32 and float64")


def test_only_and_ignore_choose_what_counts():
    second = state(a_weight=np.zeros((5, 3), np.float32))
    assert not weights.diff(state(), second).is_same
    assert weights.diff(state(), second, ignore="a.*").is_same
    assert weights.diff(state(), second, only="b").is_same
    with pytest.raises(UsageError) as caught:
        weights.diff(state(), second, only="encoder.**")
    assert str(caught.value) == "cannot compare: no tensor is chosen by 'encoder.**'"


def test_the_memory_of_a_tensor_does_not_decide(monkeypatch):
    """Pieces of a few bytes give what the whole gives."""
    from converter.inspection import difference

    a, b = state(), state(b_weight=np.ones((4, 7), np.float32))
    whole = weights.diff(a, b).tensors[0]
    monkeypatch.setattr(difference, "PIECE_BYTES", 12)
    small = weights.diff(a, b).tensors[0]
    assert small.where == whole.where
    assert small.relative_l2 == pytest.approx(whole.relative_l2, rel=1e-12)
    assert small.cosine == pytest.approx(whole.cosine, rel=1e-12)


@pytest.mark.frameworks
class TestBetweenFrameworks:
    """The first is converted in memory, and names are those of the second."""

    def test_a_conversion_is_the_same_model(self, tmp_path):
        from support.keras_files import save_small_network

        import converter

        source = save_small_network(tmp_path / "a.keras")
        target = tmp_path / "a.safetensors"
        converter.convert(source, target)
        assert weights.diff(source, target).is_same
        assert weights.diff(target, source).is_same

    def test_one_changed_value_is_found_in_its_place(self, tmp_path):
        from safetensors.numpy import load_file, save_file
        from support.keras_files import save_small_network

        import converter

        source = save_small_network(tmp_path / "a.keras")
        target = tmp_path / "a.safetensors"
        converter.convert(source, target)
        arrays = load_file(target)
        arrays["stem.weight"][6, 2, 1, 3] += 1
        save_file(arrays, target)
        found = weights.diff(source, target)
        assert [one.name for one in found.tensors if one.status == "changed"] == ["stem.weight"]
        assert found.tensors[0].where == (6, 2, 1, 3)
        assert found.tensors[0].changed == 1

    def test_models_that_do_not_fit_are_refused(self, tmp_path):
        from support.keras_files import save_small_network

        torch = pytest.importorskip("torch")
        source = save_small_network(tmp_path / "a.keras")
        torch.save({"stem.weight": torch.zeros(7, 3, 2, 4)}, tmp_path / "a.pt")
        with pytest.raises(PlanError):
            weights.diff(source, tmp_path / "a.pt")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared checkpoints are not there")
def test_weights_without_classes_take_those_of_their_architecture():
    """Weights of Keras 2 and the graph that another tool exported: are they one model?"""
    stem = SHARED / "hls4ml-KERAS_3layer"
    sides = (f"{stem}.weights.legacy.h5", f"{stem}.onnx")
    with pytest.raises(PlanError, match="4 missing, 4 unexpected"):
        weights.diff(*sides)
    assert weights.diff(*sides, architecture=f"{stem}.json").is_same
    assert weights.diff(*sides[::-1], architecture=f"{stem}.json").is_same


def test_load_fills_a_module_from_a_file_and_leaves_it_alone_when_it_does_not_fit(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(3, 5)
    values = {"weight": torch.ones(5, 3), "bias": torch.arange(5.0)}
    torch.save(values, tmp_path / "a.pt")
    weights.load(module, tmp_path / "a.pt")
    assert torch.equal(module.bias, values["bias"])
    with pytest.raises(PlanError):
        weights.load(module, {"weight": torch.zeros(5, 3)})
    assert module.weight.sum() == 15
    with pytest.raises(UsageError, match="cannot load into a str"):
        weights.load(str(tmp_path / "a.pt"), values)


def test_statistics_from_python_are_by_name():
    found = weights.statistics(state(), only="b.*")
    assert list(found) == ["b.weight"]
    assert found["b.weight"].norm == pytest.approx(np.linalg.norm(state()["b.weight"]), rel=1e-6)


def test_the_command_and_its_exit_codes(tmp_path):
    import subprocess
    import sys

    from converter.cli.schema_weights import Difference

    np.savez(tmp_path / "a.npz", **state())
    np.savez(tmp_path / "b.npz", **state(c_weight=state()["c.weight"] * 2))

    def run(*arguments):
        command = [sys.executable, "-m", "converter", "diff", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    same = run("a.npz", "a.npz")
    assert (same.returncode, same.stderr) == (0, "")
    assert same.stdout == "a.npz -> a.npz: 3 tensors, 3 same\n"
    other = run("a.npz", "b.npz")
    assert (other.returncode, other.stderr) == (1, "")
    assert other.stdout.splitlines()[0] == "a.npz -> b.npz: 3 tensors, 2 same, 1 changed"
    assert other.stdout.splitlines()[3].split()[:3] == ["c.weight", "changed", "1.00e+00"]
    found = msgspec.json.decode(run("a.npz", "b.npz", "--json").stdout, type=Difference)
    assert (found.same, found.changed, found.tensors[0].name) == (2, 1, "c.weight")
    assert run("a.npz", "none.npz").returncode == 2
