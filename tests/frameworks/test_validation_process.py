"""The Keras side in a process of its own: the same answers, other backends, clear endings."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from support.validation_pair import NETWORK, keras_network, randomise

import converter
from converter.errors import UsageError
from converter.validation.keras_process import ChildKeras, Opening, Process
from converter.validation.keras_side import LiveKeras

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("process")
    keras_network().save(folder / "net.keras")
    converter.convert(folder / "net.keras", folder / "net.safetensors")
    (folder / "network.py").write_text(NETWORK)
    return folder


@pytest.mark.long
def test_a_child_answers_as_the_live_model_does(saved: Path) -> None:
    model = keras_network()
    live = LiveKeras(model)
    child = ChildKeras(Process("torch"), Opening("net", saved / "net.keras"))
    try:
        assert replace(child.facts, name="") == replace(live.facts, name="")
        assert [(one.name, one.shape) for one in child.manifest] == [
            (one.name, one.shape) for one in live.manifest
        ]
        given = {"image": np.random.default_rng(0).random((3, 12, 15, 3), dtype=np.float32)}
        before = child.run(given)
        for layer in ("bn", "hidden"):
            assert np.allclose(child.entering(layer, given), live.entering(layer, given), atol=1e-6)
        with pytest.raises(UsageError, match="up to 'stem': it has no such layer in its graph"):
            child.entering("stem", given)
        asked = ["epsilon", "strides", "activation", "none"]
        parts = child.parts(asked)
        assert parts["bn"] == {"epsilon": 1e-3}
        assert parts["other"]["strides"] == (1, 1)
        assert parts["other"]["activation"].startswith("<function relu")
        assert {name: list(has) for name, has in parts.items()} == {
            name: list(has) for name, has in live.parts(asked).items()
        }
        assert list(before) == list(live.run(given))
        doubled = {name: array * 2 for name, array in live.arrays().items()}
        child.load(doubled)
        live.load(doubled)
        after = child.run(given)
        for name, array in live.run(given).items():
            assert not np.array_equal(before[name], after[name])
            assert np.allclose(after[name], array, rtol=1e-5)
        with pytest.raises(UsageError, match="cannot run the Keras model"):
            child.run({"image": np.zeros((1, 2, 2, 3), np.float32)})
        assert list(child.run(given)) == list(before)  # it lives on
    finally:
        child.close()


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "jax"])
def test_outputs_on_each_backend_that_is_installed(saved: Path, backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    report = converter.validate(
        saved / "net.keras",
        saved / "net.safetensors",
        torch=f"{saved / 'network.py'}:Twin",
        levels=["outputs-random", "outputs"],
        keras_backend=backend,
    )
    assert report.verdict == "pass", report.lines()
    assert report.settings["backend"] == backend
    assert {one.name: one.status for one in report.levels}["outputs-random"] == "pass"


def test_a_backend_or_an_interpreter_that_is_not_there_is_told(saved: Path) -> None:
    files = saved / "net.keras", saved / "net.safetensors"
    built = {"torch": f"{saved / 'network.py'}:Twin"}
    if importlib.util.find_spec("jax") is None:
        with pytest.raises(UsageError, match="cannot run Keras on 'jax': jax is not installed"):
            converter.validate(*files, **built, keras_backend="jax")
    with pytest.raises(UsageError, match="there is no interpreter 'no/python'"):
        converter.validate(*files, **built, keras_python="no/python")
    with pytest.raises(UsageError, match="cannot run Keras on 'mxnet'"):
        converter.validate(*files, **built, keras_backend="mxnet")


def test_a_child_that_dies_says_what_it_said(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('there is no Keras in here')\n")
    script.chmod(0o755)
    with pytest.raises(UsageError) as raised:
        ChildKeras(Process("torch", str(script)), Opening("net.keras", tmp_path / "net.keras"))
    assert str(raised.value) == (
        "cannot run net.keras: the process of the Keras side ended\n"
        "  said  there is no Keras in here"
    )


def test_a_live_model_stays_in_its_process(saved: Path) -> None:
    with pytest.raises(UsageError, match="cannot run a live Keras model on another backend"):
        converter.validate(
            keras_network(),
            saved / "net.safetensors",
            torch=f"{saved / 'network.py'}:Twin",
            keras_backend="torch",
        )


POOL = """
import torch
from torch import nn


class Pool(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)

    def forward(self, x):
        x = self.conv(x)
        pad = lambda one: nn.functional.pad(one, (0, 1, 0, 1))
        total = nn.functional.avg_pool2d(pad(x), 3, 2)
        return total / nn.functional.avg_pool2d(pad(torch.ones_like(x)), 3, 2)
"""
TENSORFLOW = os.environ.get("WEIGHTFERRY_TENSORFLOW_PYTHON")


def pooling(folder: Path) -> tuple[Path, Path, str]:
    layers = keras.layers
    image = keras.Input((8, 8, 2))
    pool = layers.AveragePooling2D(3, 2, padding="same", name="pool")
    model = randomise(keras.Model(image, pool(layers.Conv2D(3, 1, name="conv")(image))))
    model.save(folder / "pool.keras")
    converter.convert(folder / "pool.keras", folder / "pool.safetensors")
    (folder / "pool.py").write_text(POOL)
    return folder / "pool.keras", folder / "pool.safetensors", f"{folder / 'pool.py'}:Pool"


@pytest.mark.skipif(TENSORFLOW is None, reason="WEIGHTFERRY_TENSORFLOW_PYTHON names no interpreter")
def test_tensorflow_in_another_environment_is_right_where_keras_on_torch_is_not(tmp_path) -> None:
    first, second, factory = pooling(tmp_path)
    wrong = converter.validate(first, second, torch=factory)
    assert wrong.verdict == "fail"
    assert "averages over copies of the border" in wrong.notices[0]
    right = converter.validate(
        first, second, torch=factory, keras_backend="tensorflow", keras_python=TENSORFLOW
    )
    assert right.verdict == "pass", right.lines()
    assert right.settings["backend"] == "tensorflow"


@pytest.mark.long
def test_layers_and_causes_are_found_in_a_model_of_another_process(saved: Path) -> None:
    """Two modules, a setting of one and weights of the other, and a function between two."""
    wrong = NETWORK.replace("eps=1e-3", "eps=1e-5")
    wrong = wrong.replace("torch.relu(self.other(x))", "torch.sigmoid(self.other(x))")
    (saved / "wrong.py").write_text(wrong)
    given = {"torch": f"{saved}/wrong.py:Twin", "levels": ["outputs"]}
    files = (saved / "net.keras", saved / "net.safetensors")
    live = converter.validate(*files, **given)
    child = converter.validate(*files, **given, keras_backend="torch")
    expected = [("bn", "epsilon"), ("other (activation)", "activation")]
    assert [(one.layer, one.cause) for one in live.findings] == expected
    assert [(one.layer, one.cause) for one in child.findings] == expected
    assert [one.untried for one in child.findings] == [(), ()]
    assert [(one.layer, one.error) for one in child.trace] == [
        (one.layer, pytest.approx(one.error, rel=1e-3, abs=1e-6)) for one in live.trace
    ]
