"""Values through a plan: bits where the law is exact, representatives where it is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import converter
from converter.live.torch_module import StateDictCheckpoint
from converter.mapping.rules import Mapping, Rule
from converter.validation.plan_values import compare_by_plan

Arrays = dict[str, np.ndarray]


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def compared(keras: Arrays, torch: Arrays, *rules: tuple[str, str, str]) -> converter.Report:
    rows = tuple(Rule(*rule, index=index) for index, rule in enumerate(rules))
    mapping = Mapping("own", "a", "b", rows)
    one = StateDictCheckpoint(keras, family="keras", label="keras")
    two = StateDictCheckpoint(torch, family="torch", label="torch")
    plan = converter.plan(one, mapping=mapping, like=two)
    return compare_by_plan(plan.plan, one, two)


def lstm() -> tuple[Arrays, Arrays]:
    kernel, recurrent, bias = random(3, 20), random(5, 20, seed=1), random(20, seed=2)
    keras = {"rnn/kernel": kernel, "rnn/recurrent_kernel": recurrent, "rnn/bias": bias}
    torch = {
        "rnn.weight_ih_l0": np.ascontiguousarray(kernel.T),
        "rnn.weight_hh_l0": np.ascontiguousarray(recurrent.T),
        "rnn.bias_ih_l0": bias,
        "rnn.bias_hh_l0": np.zeros(20, np.float32),
    }
    return keras, torch


def test_equal_values_leave_no_row() -> None:
    keras, torch = lstm()
    report = compared(keras, torch, ("lstm", "rnn", "rnn"))
    assert (report.verdict, report.rows, report.compared) == ("pass", (), 4)


def test_another_split_of_the_same_sum_is_equal() -> None:
    """PyTorch trains two biases, Keras has one: their sum is what counts."""
    keras, torch = lstm()
    part = random(20, seed=5)
    torch["rnn.bias_ih_l0"], torch["rnn.bias_hh_l0"] = keras["rnn/bias"] - part, part
    assert compared(keras, torch, ("lstm", "rnn", "rnn")).verdict == "pass"
    torch["rnn.bias_hh_l0"] = part + np.float32(1e-3)
    report = compared(keras, torch, ("lstm", "rnn", "rnn"))
    assert report.verdict == "fail"
    assert report.rows[0].note == "differs by more than its law (canonical) allows"


def test_one_bit_of_an_exact_tensor_is_a_failure() -> None:
    keras, torch = lstm()
    torch["rnn.weight_ih_l0"].view(np.uint32)[7, 2] ^= 1
    report = compared(keras, torch, ("lstm", "rnn", "rnn"))
    (row,) = report.rows
    assert (row.name, row.other) == ("rnn/kernel", "rnn.weight_ih_l0")
    assert (row.where, row.note) == ((7, 2), "1 of 60 elements differ in bits")


def test_a_narrower_type_may_differ_by_its_rounding_and_no_more() -> None:
    kernel = random(4, 7)
    keras = {"d/kernel": kernel}
    half = np.ascontiguousarray(kernel.T).astype(np.float16)
    assert compared(keras, {"d.weight": half}, ("dense", "d", "d")).verdict == "pass"
    half[3, 1] += np.float16(0.05)
    report = compared(keras, {"d.weight": half}, ("dense", "d", "d"))
    assert report.verdict == "fail"
    assert report.rows[0].where == (3, 1)


def test_what_is_left_out_is_checked_to_be_what_allows_it() -> None:
    """A gamma that PyTorch lacks must be ones: a step without target is compared too."""
    gamma = np.ones(5, np.float32)
    keras = {"n/gamma": gamma, "n/beta": random(5), "n/moving_mean": random(5, seed=1),
             "n/moving_variance": np.abs(random(5, seed=2)) + 1}  # fmt: skip
    torch = {"n.bias": keras["n/beta"], "n.running_mean": keras["n/moving_mean"],
             "n.running_var": keras["n/moving_variance"]}  # fmt: skip
    assert compared(keras, torch, ("batch_norm", "n", "n")).verdict == "pass"
    gamma[3] = 1.5
    report = compared(keras, torch, ("batch_norm", "n", "n"))
    assert report.verdict == "fail"
    assert "must be 1 everywhere: 1 of 5 values differ" in report.rows[0].note


def test_blocks_are_compared_to_the_end() -> None:
    kernel = random(2100, 2100)  # 17.6 MB: more than one block
    weight = np.ascontiguousarray(kernel.T)
    assert compared({"d/kernel": kernel}, {"d.weight": weight}, ("dense", "d", "d")).passed
    weight[-1, -1] += 1
    (row,) = compared({"d/kernel": kernel}, {"d.weight": weight}, ("dense", "d", "d")).rows
    assert (row.where, row.note) == ((2099, 2099), "1 of 4,410,000 elements differ in bits")


def test_no_framework_is_loaded_for_values(tmp_path: Path) -> None:
    kernel = random(4, 7)
    np.savez(tmp_path / "a.npz", **{"d/kernel": kernel})
    save_file({"d.weight": np.ascontiguousarray(kernel.T)}, tmp_path / "b.safetensors")
    rules = '["dense", "d", "d"]'
    text = f'schema = 1\nname = "own"\nkeras = "a"\ntorch = "b"\nrules = [{rules}]\n'
    (tmp_path / "own.toml").write_text(text)
    code = (
        "import sys, converter\n"
        "report = converter.validate('a.npz', 'b.safetensors', mapping='own.toml')\n"
        "heavy = {'torch', 'keras', 'tensorflow', 'jax', 'onnx', 'jinja2'} & set(sys.modules)\n"
        "print(report.verdict, report.level, report.compared, sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "pass values 1 []\n", done.stderr


@pytest.mark.parametrize("names", [("d/kernel", "d.weight")])
def test_shapes_of_a_failed_tensor_are_those_of_the_target(names: tuple[str, str]) -> None:
    kernel = random(4, 7)
    report = compared({names[0]: kernel}, {names[1]: random(7, 4, seed=9)}, ("dense", "d", "d"))
    assert report.rows[0].shape == (7, 4)
    assert report.histogram is not None
    assert sum(report.histogram.first) == sum(report.histogram.second) == 28
