"""``inspect`` on values: its JSON has the numbers of NumPy, its arrays are printed as by NumPy."""

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from converter.cli.schema import Checkpoint

KERNEL = np.random.default_rng(7).normal(size=(5, 3, 4, 2)).astype(np.float32)
KERNEL[[1, 3]] = 0.0
BROKEN = np.array([1.5, np.nan, -2.0, np.inf, 0.25], np.float32)


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file(
        {"conv.weight": KERNEL, "conv.bias": BROKEN, "steps": np.array(7, np.int64)},
        tmp_path / "a.safetensors",
    )
    return "a.safetensors"


def test_the_statistics_of_the_json_are_those_of_numpy(converter, source):
    outcome = converter("inspect", source, "--stats", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = msgspec.json.decode(outcome.out, type=Checkpoint)
    numbers = {one.name: one.statistics for one in found.tensors}
    kernel, wide = numbers["conv.weight"], KERNEL.astype(np.float64)
    assert (kernel.elements, kernel.zeros, kernel.nan, kernel.infinite) == (120, 48, 0, 0)
    assert (kernel.units, kernel.dead, kernel.effective_dtype) == (5, [1, 3], "float32")
    assert (kernel.minimum, kernel.maximum) == (wide.min(), wide.max())
    measured = (kernel.mean, kernel.std, kernel.norm)
    expected = (wide.mean(), wide.std(), np.linalg.norm(wide.ravel()))
    assert measured == pytest.approx(expected, rel=1e-12)
    bias, finite = numbers["conv.bias"], np.array([1.5, -2.0, 0.25])
    assert (bias.nan, bias.infinite, bias.effective_dtype) == (1, 1, "bfloat16")
    assert (bias.mean, bias.std) == pytest.approx((finite.mean(), finite.std()), rel=1e-12)
    assert numbers["steps"].minimum == 7
    assert sorted(found.warnings) == [
        "dead: 2 rows of 5 of 'conv.weight' are all zero (1, 3)",
        "not finite: 'conv.bias' has 1 NaN and 1 infinite of 5 values",
    ]


def test_a_layer_is_printed_as_numpy_prints_it(converter, source):
    outcome = converter("inspect", source, "--layer", "conv.bias")
    assert (outcome.code, outcome.err) == (0, "")
    head, _, rest = outcome.out.partition("\n")
    assert head == "conv.bias  (5,) float32"
    assert rest.strip() == np.array2string(BROKEN, separator=", ")


def test_a_layer_that_is_not_there_is_exit_code_2(converter, source):
    outcome = converter("inspect", source, "--layer", "tail")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: cannot show 'tail': a.safetensors has no such layer or tensor\n"
        "  hint  'converter inspect FILE' lists them; '**' stands for any number of names\n"
    )
