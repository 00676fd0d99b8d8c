"""The ready scripts on real models: what they write is opened by the framework it is for."""

import subprocess
import sys
from pathlib import Path

import demo
import keras
import keras_to_torch
import numpy as np
import pytest
import torch_to_keras
import track_training
from safetensors.numpy import load_file, save_file
from support.keras_files import small_network
from support.keras_models import randomised

from converter.inspection.series import read_record

pytestmark = pytest.mark.frameworks
SCRIPTS = Path(__file__).parents[2] / "scripts"
READY = ("keras_to_torch.py", "torch_to_keras.py", "migrate_folder.py", "track_training.py")


@pytest.mark.parametrize("name", READY)
def test_each_opens_with_what_it_is_for_and_is_in_the_readme(name):
    first, _, rest = (SCRIPTS / name).read_text(encoding="utf-8").partition("\n")
    assert first.startswith('"""')
    assert f"python3 scripts/{name}" in rest.partition('"""')[0]
    assert f"scripts/{name}" in (SCRIPTS.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """Return a folder with a Keras file; commands run in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(SCRIPTS.parent))
    randomised(demo.build_keras()).save("digits.keras")
    return tmp_path


def test_a_keras_model_becomes_a_module_that_computes_the_same(digits, capsys):
    assert keras_to_torch.main(["digits.keras", "out"]) == 0
    said = capsys.readouterr().out
    assert "Digits takes its weights, strictly" in said
    assert "pass: 1 output compared" in said
    program = (
        "import digits, torch\nfrom safetensors.torch import load_file\n"
        "net = digits.Digits().eval()\nnet.load_state_dict(load_file('digits.safetensors'))\n"
        "import numpy as np\nx = torch.from_numpy(np.load('x.npy'))\n"
        "np.save('y.npy', net(x).detach().numpy())\n"
        "import sys; assert 'keras' not in sys.modules and 'converter' not in sys.modules"
    )
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
    np.save("out/x.npy", np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    subprocess.run([sys.executable, "-c", program], cwd="out", check=True)
    expected = keras.models.load_model("digits.keras").predict(images, verbose=0)
    assert np.load("out/y.npy") == pytest.approx(np.asarray(expected), rel=1e-4, abs=1e-5)


def test_a_layer_without_a_translation_ends_with_exit_code_1(digits, capfd):
    layers = [keras.Input((4, 3)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(5)]
    keras.Sequential(layers).save("odd.keras")
    assert keras_to_torch.main(["odd.keras", "out"]) == 1
    assert "not translated" in capfd.readouterr().out


@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_pytorch_weights_come_back_with_every_bit(digits, capsys, ending):
    assert keras_to_torch.main(["digits.keras", "out"]) == 0
    target = f"back{ending}"
    assert torch_to_keras.main(["out/digits.safetensors", target, "--like", "digits.keras"]) == 0
    said = capsys.readouterr().out
    assert "depthwise.weight -> depthwise/kernel  exact\n" in said
    assert said.endswith("12 tensors came back with every bit\n")
    model = torch_to_keras.load(Path(target), "digits.keras")
    expected = keras.models.load_model("digits.keras").get_weights()
    pairs = zip(model.get_weights(), expected, strict=True)
    assert all(one.tobytes() == other.tobytes() for one, other in pairs)


def test_bits_that_get_lost_end_with_exit_code_1(digits, capsys):
    """A file whose values need more than the target can hold."""
    assert keras_to_torch.main(["digits.keras", "out"]) == 0
    state = {name: array.astype(np.float64) for name, array in
             load_file("out/digits.safetensors").items() if array.dtype == np.float32}  # fmt: skip
    state["head.bias"] += 1e-12
    save_file(state, "wide.safetensors")
    code = torch_to_keras.main(["wide.safetensors", "back.weights.h5", "--like", "digits.keras"])
    assert code == 1
    assert "changed: head.bias, relative L2 " in capsys.readouterr().out


def test_weights_of_another_model_are_refused(digits, capsys):
    small_network().save("small.keras")
    save_file({"stem.weight": np.zeros((2, 3), np.float32)}, "other.safetensors")
    code = torch_to_keras.main(["other.safetensors", "b.weights.h5", "--like", "small.keras"])
    assert code == 2
    assert capsys.readouterr().err.startswith("error: cannot plan 'other.safetensors'")
    assert not Path("b.weights.h5").exists()


def test_a_training_is_tracked_plotted_and_a_mistake_noticed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(track_training.environment, "enter", lambda: None)
    monkeypatch.setattr(track_training, "OUTPUT", tmp_path / "out")
    assert track_training.main() == 0
    said = capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "best.html", "best.safetensors", "training.jsonl", "training.png",
    ]  # fmt: skip
    moments = read_record(tmp_path / "out" / "training.jsonl")
    labels = [moment.label for moment in moments]
    assert labels == ["start", *(f"epoch {number}" for number in range(1, 7))]
    shown = read_record(SCRIPTS.parent / "tests" / "fixtures" / "training.jsonl")
    for moment, recorded in zip(moments, shown, strict=True):
        for one, other in zip(moment.points, recorded.points, strict=True):
            assert one.name == other.name
            assert (one.update is None, one.distance is None) == (
                other.update is None,
                other.distance is None,
            )
            numbers = (one.norm, one.update or 0.0, one.distance or 0.0)
            expected = (other.norm, other.update or 0.0, other.distance or 0.0)
            assert numbers == pytest.approx(expected, rel=1e-3)
    best = [line for line in said.splitlines() if "best" in line]
    assert best[0].rpartition(" ")[2] == best[1].rpartition(" ")[2]  # the same in PyTorch
    warned = [line for line in said.splitlines() if line.startswith("warned: ")]
    assert warned[0].startswith("warned: step 5: exploding: '")
