"""Models built from a text: what is named is run, nothing is fetched, nothing is allocated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import pytest
import torch

from converter.errors import CheckpointError, UsageError
from converter.live.factory import build
from converter.live.keras_model import KerasModelCheckpoint
from converter.live.torch_module import TorchModuleCheckpoint

pytestmark = pytest.mark.frameworks

NET = """
from dataclasses import dataclass

import torch
from neighbour import WIDTH


@dataclass
class Settings:
    depth: int = 2


class Net(torch.nn.Module):
    def __init__(self, out: int = 3) -> None:
        super().__init__()
        self.head = torch.nn.Linear(WIDTH, out)


class Makers:
    tiny = staticmethod(lambda: Net(2))


def broken():
    raise RuntimeError("no such size\\nsecond line")


def number():
    return 4


ready = Net(5)


def looks_at_values():
    net = Net(5)
    net.head.bias.tolist()
    return net
"""


@pytest.fixture
def net(tmp_path: Path) -> str:
    folder = tmp_path / "my models"
    folder.mkdir()
    (folder / "neighbour.py").write_text("WIDTH = 7\n")
    (folder / "net.py").write_text(NET)
    sys.modules.pop("neighbour", None)
    return str(folder / "net.py")


def test_keras_applications_on_the_meta_device() -> None:
    if keras.backend.backend() != "torch":
        pytest.skip("the meta device is one of the torch backend")
    model = build("keras.applications:MobileNet", family="keras", meta=True)
    assert {str(one.value.device) for one in model.weights} == {"meta"}
    checkpoint = KerasModelCheckpoint(model)
    plain = KerasModelCheckpoint(build("keras.applications:MobileNet", family="keras"))
    assert [(one.name, one.shape, one.dtype) for one in checkpoint.manifest] == [
        (one.name, one.shape, one.dtype) for one in plain.manifest
    ]
    assert dict(checkpoint.structure.store) == dict(plain.structure.store)
    with pytest.raises(CheckpointError, match="the model is on the 'meta' device"):
        checkpoint.read("conv1/kernel")


def test_what_the_meta_device_cannot_do_is_built_plainly_where_that_is_allowed(net: str) -> None:
    """Where a foreign file says the sizes, memory for its values must not be taken."""
    text = f"{net}:looks_at_values"
    assert build(text, family="torch", meta=True).head.bias.device.type == "cpu"
    with pytest.raises(UsageError) as error:
        build(text, family="torch", meta=True, or_plainly=False)
    assert error.value.summary.startswith(f"cannot build '{text}': building it raised ")


def test_meta_build_takes_no_memory() -> None:
    """VGG16 holds 553 MB; its structure must come without them."""
    code = (
        "import resource\n"
        "import keras, torch\n"
        "from converter.live.factory import build\n"
        "from converter.live.keras_model import KerasModelCheckpoint\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak()\n"
        "m = KerasModelCheckpoint(build('keras.applications:VGG16', family='keras', meta=True))\n"
        "assert m.structure.config and len(m.manifest) == 32\n"
        "print(round(peak() - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 100


def test_a_file_with_a_space_in_its_path_and_a_neighbour(net: str) -> None:
    module = build(f"{net}:Net", {"out": 4}, family="torch")
    assert module.head.weight.shape == (4, 7)
    assert build(f"{net}:Makers.tiny").head.out_features == 2
    assert build(f"{net}:ready").head.out_features == 5
    assert str(Path(net).parent) not in sys.path


def test_torch_modules_on_the_meta_device(net: str) -> None:
    module = build(f"{net}:Net", family="torch", meta=True)
    assert module.head.weight.device.type == "meta"
    assert TorchModuleCheckpoint(module).manifest["head.weight"].shape == (3, 7)


def test_what_cannot_be_built_on_meta_is_built_plainly(net: str) -> None:
    path = Path(net)
    path.write_text(
        "import torch\n"
        "def make():\n"
        "    module = torch.nn.Linear(2, 2)\n"
        "    float(module.weight.sum())\n"
        "    return module\n"
    )
    assert build(f"{net}:make", meta=True).weight.device.type == "cpu"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.keras", "cannot build 'model.keras': it does not name a factory"),
        ("no.such:thing", "cannot build 'no.such:thing': no module is named 'no'"),
        ("torch.nn:Liinear", "cannot build 'torch.nn:Liinear': there is no 'Liinear' in it"),
        ("math:pi", "cannot build 'math:pi': it is a float, not a function"),
        ("nowhere/net.py:Net", "cannot build 'nowhere/net.py:Net': there is no file"),
    ],
)
def test_texts_that_name_nothing(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        build(text)
    assert raised.value.summary.startswith(message)


def test_factories_that_fail(net: str) -> None:
    with pytest.raises(UsageError) as raised:
        build(f"{net}:broken")
    assert str(raised.value) == (
        f"cannot build '{net}:broken': building it raised RuntimeError\n  message  no such size"
    )
    with pytest.raises(UsageError, match="it gave a int, which is neither a Keras model nor"):
        build(f"{net}:number")
    with pytest.raises(UsageError, match="it gave a PyTorch module, and a Keras model is needed"):
        build(f"{net}:Net", family="keras")
    Path(net).write_text("def f(:\n")
    with pytest.raises(UsageError, match="importing it raised SyntaxError"):
        build(f"{net}:f")


def test_pretrained_weights_are_not_fetched(net: str) -> None:
    Path(net).write_text(
        "import torch\n"
        "def make(weights='imagenet', width=3):\n"
        "    assert weights is None or weights == 'mine', weights\n"
        "    return torch.nn.Linear(2, width)\n"
    )
    assert build(f"{net}:make", {"width": 5}).out_features == 5
    assert build(f"{net}:make", {"weights": "mine"}).out_features == 3
    with pytest.raises(UsageError, match="building it raised AssertionError"):
        build(f"{net}:make", {"weights": "imagenet"})


def test_default_device_is_as_before() -> None:
    build("torch.nn:Linear", {"in_features": 2, "out_features": 3}, meta=True)
    assert torch.empty(1).device.type == "cpu"
