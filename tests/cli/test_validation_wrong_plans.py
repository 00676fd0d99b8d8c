"""A wrong plan never exits 0: names, shapes and dtypes are right in all of these."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.validation_pair import NETWORK, keras_network, keras_recurrent

from converter.cli import schema

pytestmark = pytest.mark.frameworks

Arrays = dict[str, np.ndarray]
SHAPES = {
    "conv.weight": (6, 3, 3, 5),
    "conv.bias": (6,),
    "bn.weight": (6,),
    "bn.bias": (6,),
    "bn.running_mean": (6,),
    "bn.running_var": (6,),
    "other.weight": (6, 6, 1, 1),
    "other.bias": (6,),
    "hidden.weight": (9, 150),
    "hidden.bias": (9,),
    "square.weight": (9, 9),
    "square.bias": (9,),
    "second.weight": (9, 9),
    "second.bias": (9,),
    "head.weight": (4, 9),
    "head.bias": (4,),
}


def exchanged(one: str, two: str) -> Callable[[Arrays], None]:
    def change(state: Arrays) -> None:
        state[one], state[two] = state[two], state[one]

    return change


def by(name: str, function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], None]:
    def change(state: Arrays) -> None:
        state[name] = np.ascontiguousarray(function(state[name]))

    return change


def one_row_late(array: np.ndarray) -> np.ndarray:
    return np.roll(array, 1, axis=0)


def rows_of_keras(array: np.ndarray) -> np.ndarray:
    return array.reshape(9, 6, 5, 5).transpose(0, 2, 3, 1).reshape(9, 150)


def wrong_plans() -> Iterator[tuple[str, Callable[[Arrays], None]]]:
    for one, two in combinations(SHAPES, 2):
        if SHAPES[one] == SHAPES[two]:
            yield f"{one} for {two}", exchanged(one, two)
    for name in ("square.weight", "second.weight", "other.weight"):
        yield f"{name} untransposed", by(name, lambda a: np.swapaxes(a, 0, 1))
    for name in SHAPES:
        yield f"{name} one row late", by(name, one_row_late)
    yield "theano kernels", by("conv.weight", lambda a: a[..., ::-1, ::-1])
    yield "channels in reverse", by("conv.weight", lambda a: a[:, ::-1])
    yield "flatten order", by("hidden.weight", rows_of_keras)
    yield "deviation for variance", by("bn.running_var", np.sqrt)
    yield "another epsilon", by("bn.running_var", lambda a: a + np.float32(1e-3 - 1e-5))


WRONG = dict(wrong_plans())


@pytest.fixture(scope="module")
def right(tmp_path_factory) -> Path:
    import converter as package

    folder = tmp_path_factory.mktemp("wrong plans")
    keras_network().save(folder / "net.keras")
    package.convert(folder / "net.keras", folder / "net.safetensors")
    keras_recurrent().save(folder / "recurrent.keras")
    package.convert(folder / "recurrent.keras", folder / "recurrent.safetensors")
    (folder / "network.py").write_text(NETWORK)
    return folder


@pytest.fixture(autouse=True)
def _there(right, monkeypatch) -> None:
    monkeypatch.chdir(right)


def test_the_right_plan_exits_0(converter):
    found = converter("validate", "net.keras", "net.safetensors", "--torch", "network.py:Twin")
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith("pass: ")
    found = converter(
        "validate", "recurrent.keras", "recurrent.safetensors", "--torch", "network.py:Recurrent"
    )
    assert found.code == 0


def test_there_are_many_wrong_plans():
    assert len(WRONG) > 40


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_plan_exits_1(converter, tmp_path, name):
    path = spoilt(name, tmp_path)
    check_wrong(converter, path)
    values = converter("validate", "net.keras", path, "--level", "values")
    assert values.code == 1


def spoilt(name: str, folder: Path) -> Path:
    state = load_file("net.safetensors")
    WRONG[name](state)
    save_file(state, folder / "wrong.safetensors")
    return folder / "wrong.safetensors"


def check_wrong(converter, path: Path, *more: str) -> schema.Report:
    found = converter("validate", "net.keras", path, "--torch", "network.py:Twin", "--json", *more)
    assert found.code == 1
    report = msgspec.json.decode(found.out, type=schema.Report)
    assert report.verdict == "fail"
    assert next(one.status for one in report.levels if one.name == "outputs") == "fail"
    return report


@pytest.mark.long
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_plan_exits_1_with_keras_in_another_process(converter, tmp_path, name):
    given = spoilt(name, tmp_path)
    report = check_wrong(converter, given, "--keras-backend", "torch", "--no-controls")
    assert report.findings, report
    assert not [told for one in report.findings for told in one.untried]


@pytest.mark.parametrize("blocks", [(1, 0, 2), (2, 1, 0), (0, 2, 1)], ids=str)
def test_gates_in_another_order_exit_1(converter, tmp_path, blocks):
    state = load_file("recurrent.safetensors")
    for name in [one for one in state if one.startswith("gru.")]:
        parts = np.split(state[name], 3)
        state[name] = np.concatenate([parts[one] for one in blocks])
    path = tmp_path / "wrong.safetensors"
    save_file(state, path)
    found = converter("validate", "recurrent.keras", path, "--torch", "network.py:Recurrent")
    assert found.code == 1


RULES = {
    "conv": "conv2d",
    "bn": "batch_norm",
    "other": "conv2d",
    "square": "dense",
    "second": "dense",
    "head": "dense",
}


def mapping_text(pairs: dict[str, str]) -> str:
    rules = [
        f'["{kind}", "{layer}", "{pairs.get(layer, layer)}"],' for layer, kind in RULES.items()
    ]
    rules.append('["dense_after_flatten", "hidden", "hidden", { sizes = { c = 6 } }],')
    lines = ["schema = 1", 'name = "own"', 'keras = "a"', 'torch = "b"', "rules = [", *rules, "]"]
    return "\n".join(lines) + "\n"


def test_a_mapping_with_two_layers_exchanged_exits_1(converter, tmp_path):
    """Converted and compared by the same wrong mapping: values agree, outputs do not."""
    wrong = tmp_path / "own.toml"
    wrong.write_text(mapping_text({"square": "second", "second": "square"}))
    target = tmp_path / "wrong.safetensors"
    done = converter("convert", "net.keras", target, "--mapping", wrong)
    assert done.code == 0, done.err
    given = ("validate", "net.keras", target, "--mapping", wrong, "--torch", "network.py:Twin")
    assert converter(*given).code == 1
    assert converter(*given, "--level", "outputs-random").code == 1
    # Against what the right plan wrote, values show it as well.
    by_kind = ("validate", "net.keras", target, "--level", "values")
    assert converter(*by_kind).code == 1


TWO_NORMS = """
from torch import nn


class TwoNorms(nn.Sequential):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.first = nn.BatchNorm2d(4, eps=1e-3)
        self.relu = nn.ReLU()
        self.second = nn.BatchNorm2d(4, eps=1e-3)
"""
CROSSED = """
schema = 1
name = "crossed"
keras = "a"
torch = "b"
rules = [
  ["conv2d", "conv", "conv"],
  ["batch_norm", "first", "second"],
  ["batch_norm", "second", "first"],
]
"""


def test_a_wrong_plan_that_fresh_weights_hide_exits_1(converter, tmp_path):
    """All four tensors of both normalisations are ones and zeros: outputs agree, and prove nothing.

    So the random weights are run as well, and they fail.
    """
    import keras

    layers = keras.layers
    norms = [layers.BatchNormalization(name="first"), layers.ReLU()]
    norms.append(layers.BatchNormalization(name="second"))
    keras.Sequential([keras.Input((6, 5, 3)), layers.Conv2D(4, 1, name="conv"), *norms]).save(
        tmp_path / "fresh.keras"
    )
    (tmp_path / "crossed.toml").write_text(CROSSED)
    (tmp_path / "norms.py").write_text(TWO_NORMS)
    files = tmp_path / "fresh.keras", tmp_path / "fresh.safetensors"
    mapping = ("--mapping", tmp_path / "crossed.toml")
    assert converter("convert", *files, *mapping).code == 0
    built = ("--torch", f"{tmp_path}/norms.py:TwoNorms")
    found = converter("validate", *files, *mapping, *built)
    assert found.code == 1
    levels = [line.split()[:2] for line in found.out.splitlines()[1:6]]
    assert levels == [
        ["mapping", "pass"],
        ["structure", "pass"],
        ["values", "pass"],
        ["outputs-random", "fail"],
        ["outputs", "warn"],
    ]
    # The right plan, and the same file, which holds the right values all the same.
    found = converter("validate", *files, *built)
    assert (found.code, found.out.partition(":")[0]) == (0, "warn")


def test_a_difference_in_doubt_whose_cause_is_named_exits_1(converter, tmp_path):
    """Large variances hide an epsilon: 100 noise floors only, between pass and fail."""
    import keras

    model = keras_network()
    model.get_layer("bn").moving_variance.assign(np.full(6, 60.0, np.float32))
    model.save(tmp_path / "large.keras")
    keras.backend.clear_session()
    files = tmp_path / "large.keras", tmp_path / "large.safetensors"
    assert converter("convert", *files).code == 0
    (tmp_path / "wrong.py").write_text(NETWORK.replace("eps=1e-3", "eps=1e-5"))
    given = ("validate", *files, "--torch", f"{tmp_path}/wrong.py:Twin")
    found = converter(*given)
    assert found.code == 1
    (row,) = (line for line in found.out.splitlines() if line.startswith("  fail  "))
    assert row.endswith("  the cause of it is known")
    assert "cause  bn / bn  epsilon" in found.out
    assert converter(*given, "--no-explain").code == 0


def test_structure_that_does_not_fit_exits_1_and_says_what(converter, tmp_path):
    state = load_file("net.safetensors")
    state["head.weight"] = state["head.weight"].T.copy()
    del state["second.bias"]
    path = tmp_path / "wrong.safetensors"
    save_file(state, path)
    found = converter("validate", "net.keras", path)
    assert found.code == 1
    assert "  structure       fail" in found.out
    assert "fail  second/bias  unexpected: wrong.safetensors has no place for it" in found.out
    assert "head.weight" in found.out


def test_a_page_says_what_the_terminal_says(converter, tmp_path):
    page = tmp_path / "report.html"
    found = converter("validate", "net.keras", "net.safetensors", "--report", page)
    assert found.code == 0
    assert found.err == f"wrote {page}\n"
    text = page.read_text(encoding="utf-8")
    assert text.count("<html") == 1
    assert os.fspath(tmp_path) in text  # the command to make it again
    assert "http" not in text.replace("http-equiv", "")
