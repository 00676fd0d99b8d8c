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
    state = load_file("net.safetensors")
    WRONG[name](state)
    path = tmp_path / "wrong.safetensors"
    save_file(state, path)
    given = ("validate", "net.keras", path, "--torch", "network.py:Twin", "--json")
    found = converter(*given)
    assert found.code == 1
    report = msgspec.json.decode(found.out, type=schema.Report)
    assert report.verdict == "fail"
    assert next(one.status for one in report.levels if one.name == "outputs") == "fail"
    values = converter("validate", "net.keras", path, "--level", "values")
    assert values.code == 1


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
