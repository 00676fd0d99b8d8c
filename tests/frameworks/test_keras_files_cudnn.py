"""CuDNN layers of Keras 2 files compute what PyTorch, which calls the same CuDNN, computes.

``nn.LSTM`` and ``nn.GRU`` take CuDNN's own matrices. Keras 2 kept these numbers, in their order,
under the shape of its other layers (tf_keras 2.21 ``rnn/legacy_cells``, ``_canonical_to_params``).
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import torch
from support.keras_1_files import values

import converter

pytestmark = pytest.mark.frameworks

INPUTS, UNITS, STEPS = 3, 5, 4
FOLDER = Path(__file__).parents[2] / ".." / "shared" / "checkpoints"
TEXTGENRNN = FOLDER / "textgenrnn-default.weights.legacy.hdf5"


def arrays(gates: int, seed: int = 0) -> dict[str, np.ndarray]:
    return {
        "kernel": values(INPUTS, gates * UNITS, seed=seed + 1),
        "recurrent_kernel": values(UNITS, gates * UNITS, seed=seed + 2),
        "bias": values(2 * gates * UNITS, seed=seed + 3),
    }


def write(path: Path, layer: str, weights: dict[str, np.ndarray], config: object = None) -> Path:
    with h5py.File(path, "w") as file:
        root = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
            root = file.create_group("model_weights")
        root.attrs["keras_version"], root.attrs["backend"] = b"2.2.4", b"tensorflow"
        root.attrs["layer_names"] = [layer.encode()]
        group = root.create_group(layer)
        group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in weights]
        for name, array in weights.items():
            group[f"{layer}/{name}:0"] = array
    return path


def model_config(class_name: str, layer: str) -> dict:
    inner = {"name": layer, "units": UNITS, "batch_input_shape": [None, STEPS, INPUTS],
             "return_sequences": False}  # fmt: skip
    return {
        "class_name": "Sequential",
        "config": {"name": "m", "layers": [{"class_name": class_name, "config": inner}]},
    }


def cudnn(gates: int, weights: dict[str, np.ndarray]) -> torch.nn.Module:
    """Return the module that has the numbers of each gate as CuDNN reads them: row by row."""
    order = [0, 1, 2, 3] if gates == 4 else [1, 0, 2]  # Keras has z r h, CuDNN has r z h
    inputs, units = len(weights["kernel"]), len(weights["recurrent_kernel"])
    net = (torch.nn.LSTM if gates == 4 else torch.nn.GRU)(inputs, units, batch_first=True)
    state = {}
    for name, key in (("kernel", "weight_ih_l0"), ("recurrent_kernel", "weight_hh_l0")):
        parts = np.split(weights[name], gates, axis=1)
        rows = [parts[at].ravel().reshape(units, -1) for at in order]
        state[key] = torch.from_numpy(np.concatenate(rows))
    halves = weights["bias"].reshape(2, gates, units)[:, order]
    state["bias_ih_l0"], state["bias_hh_l0"] = map(torch.from_numpy, halves.reshape(2, -1).copy())
    net.load_state_dict(state)
    return net


def last(net: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return net(torch.from_numpy(x))[0][:, -1].numpy()


@pytest.mark.parametrize(("class_name", "gates"), [("CuDNNLSTM", 4), ("CuDNNGRU", 3)])
@pytest.mark.parametrize("with_config", [True, False])
def test_keras_3_computes_the_same(
    class_name: str, gates: int, with_config: bool, tmp_path: Path
) -> None:
    weights = arrays(gates)
    config = model_config(class_name, "seq") if with_config else None
    path = write(tmp_path / "a.h5", "seq", weights, config)
    x = values(3, STEPS, INPUTS)
    expected = last(cudnn(gates, weights), x)
    layer = keras.layers.LSTM if gates == 4 else keras.layers.GRU
    model = keras.Sequential([keras.Input((STEPS, INPUTS)), layer(UNITS, name="seq")])
    with converter.open(path) as found:
        names = [weight.path.partition("/")[2] for weight in model.weights]
        assert set(names) == set(found.manifest.tensors)
        model.set_weights([found.read(name) for name in names])
        assert found.manifest.notices[0] == (
            "CuDNN layers have the names and layouts of LSTM and GRU: 'seq'."
        )
    assert np.abs(model.predict(x, verbose=0) - expected).max() < 1e-6


@pytest.mark.parametrize(("class_name", "gates"), [("CuDNNLSTM", 4), ("CuDNNGRU", 3)])
def test_by_kind_they_are_modules_of_pytorch(class_name: str, gates: int, tmp_path: Path) -> None:
    weights = arrays(gates)
    path = write(tmp_path / "a.h5", "seq", weights, model_config(class_name, "seq"))
    state = converter.plan(path).state_dict()
    net = cudnn(gates, weights)
    x = values(3, STEPS, INPUTS)
    expected = last(net, x)
    net.load_state_dict({key.removeprefix("seq."): value for key, value in state.items()})
    assert np.abs(last(net, x) - expected).max() < 1e-6


def test_both_directions(tmp_path: Path) -> None:
    there, back = arrays(4), arrays(4, seed=7)
    weights = {f"forward_cu_dnnlstm/{name}": one for name, one in there.items()}
    weights |= {f"backward_cu_dnnlstm/{name}": one for name, one in back.items()}
    inner = {"class_name": "CuDNNLSTM", "config": {"name": "cu_dnnlstm", "units": UNITS}}
    config = model_config("Bidirectional", "both")
    config["config"]["layers"][0]["config"] |= {"layer": inner, "merge_mode": "concat"}
    path = write(tmp_path / "a.h5", "both", weights, config)
    layer = keras.layers.Bidirectional(keras.layers.LSTM(UNITS))
    model = keras.Sequential([keras.Input((STEPS, INPUTS)), layer])
    with converter.open(path) as found:
        assert [one.class_name for one in found.manifest.layers][1] == "Bidirectional"
        model.set_weights([found.read(name) for name in found.manifest.tensors])
    x = values(3, STEPS, INPUTS)
    expected = [last(cudnn(4, there), x), last(cudnn(4, back), x[:, ::-1].copy())]
    found_output = model.predict(x, verbose=0)
    assert np.abs(found_output - np.concatenate(expected, axis=-1)).max() < 1e-6


@pytest.mark.skipif(not TEXTGENRNN.is_file(), reason="the shared checkpoints are not there")
def test_a_file_of_a_stranger_that_says_only_by_its_shapes_that_cudnn_wrote_it() -> None:
    with h5py.File(TEXTGENRNN) as file:
        weights = {name: file[f"rnn_1/rnn_1/{name}:0"][()] for name in arrays(4)}
    x = values(3, STEPS, 100)
    net = cudnn(4, weights)
    expected = last(net, x)
    state = converter.plan(TEXTGENRNN).state_dict()
    mine = {key.removeprefix("rnn_1."): one for key, one in state.items() if "rnn_1." in key}
    net.load_state_dict(mine)
    assert np.abs(last(net, x) - expected).max() < 1e-6


def test_a_gru_of_keras_is_not_taken_for_one_of_cudnn(tmp_path: Path) -> None:
    weights = arrays(3) | {"bias": values(2, 3 * UNITS)}
    path = write(tmp_path / "a.h5", "seq", weights)
    with converter.open(path) as found:
        assert found.read("seq/gru_cell/kernel").tobytes() == weights["kernel"].tobytes()
        assert not any("CuDNN" in notice for notice in found.manifest.notices)


def test_locally_connected_layers_are_kept_as_they_are(tmp_path: Path) -> None:
    weights = {"kernel": values(6, 4, 5), "bias": values(6, 5)}
    path = write(tmp_path / "a.h5", "seq", weights, model_config("LocallyConnected1D", "seq"))
    plan = converter.plan(path)
    state = plan.state_dict()
    assert {key: value.numpy().tobytes() for key, value in state.items()} == {
        f"seq.{name}": one.tobytes() for name, one in weights.items()
    }
    assert any("PyTorch has no locally connected layer" in one for one in plan.plan.assumptions)
