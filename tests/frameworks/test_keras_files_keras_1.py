"""Keras 1 files: what their arrays computed then, Keras 3 computes with what is read from them.

Keras 1 is not there to ask, so each formula of it is written down here once more, in the words of
its own source (keras 1.2.2 ``layers/recurrent.py``, ``backend/theano_backend.py``).
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from support.keras_1_files import GRU, LSTM, gates, sequential, values, write_keras_1
from support.keras_1_formulas import close, correlated, loaded, sigmoid

import converter

pytestmark = pytest.mark.frameworks

FOLDER = Path(__file__).parents[2] / ".." / "shared" / "checkpoints"


def lstm(arrays: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    def gate(one: str, h: np.ndarray, step: np.ndarray) -> np.ndarray:
        w, u, b = (arrays[f"{name}_{letter}_{one}"] for letter in "WUb")
        return step @ w + h @ u + b

    h = c = np.zeros((len(x), arrays[f"{name}_U_i"].shape[0]), np.float32)
    for step in x.swapaxes(0, 1):
        c, o = (
            sigmoid(gate("f", h, step)) * c
            + sigmoid(gate("i", h, step)) * np.tanh(gate("c", h, step)),
            sigmoid(gate("o", h, step)),
        )
        h = o * np.tanh(c)
    return h


def gru(arrays: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    parts = {one: [arrays[f"{name}_{letter}_{one}"] for letter in "WUb"] for one in "zrh"}
    h = np.zeros((len(x), arrays[f"{name}_U_z"].shape[0]), np.float32)
    for step in x.swapaxes(0, 1):
        z, r = (sigmoid(step @ parts[one][0] + parts[one][2] + h @ parts[one][1]) for one in "zr")
        fresh = np.tanh(step @ parts["h"][0] + parts["h"][2] + (r * h) @ parts["h"][1])
        h = z * h + (1 - z) * fresh
    return h


@pytest.mark.parametrize("with_config", [True, False])
def test_an_lstm_of_twelve_arrays(tmp_path: Path, with_config: bool) -> None:
    arrays = gates("lstm_1", LSTM, 3, 5)
    config = sequential(
        ("LSTM", {"name": "lstm_1", "output_dim": 5, "batch_input_shape": [None, 4, 3]})
    )
    path = write_keras_1(
        tmp_path / "a.h5", {"lstm_1": arrays}, config=config if with_config else None
    )
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.LSTM(5, name="lstm")])
    x = values(3, 4, 3)
    assert close(loaded(model, path).predict(x, verbose=0), lstm(arrays, "lstm_1", x))


def test_a_gru_of_nine_arrays_resets_before(tmp_path: Path) -> None:
    arrays = gates("gru_1", GRU, 3, 5)
    path = write_keras_1(tmp_path / "a.h5", {"gru_1": arrays})
    model = keras.Sequential(
        [keras.Input((4, 3)), keras.layers.GRU(5, name="gru", reset_after=False)]
    )
    x = values(3, 4, 3)
    assert close(loaded(model, path).predict(x, verbose=0), gru(arrays, "gru_1", x))


def test_both_directions_of_a_wrapped_lstm(tmp_path: Path) -> None:
    arrays = gates("forward_lstm_1", LSTM, 3, 5) | {
        name: array + 1 for name, array in gates("backward_lstm_1", LSTM, 3, 5).items()
    }
    inner = {"class_name": "LSTM", "config": {"name": "lstm_1", "output_dim": 5}}
    config = sequential(("Bidirectional", {"name": "both", "layer": inner, "merge_mode": "concat"}))
    path = write_keras_1(tmp_path / "a.h5", {"both": arrays}, config=config)
    layer = keras.layers.Bidirectional(keras.layers.LSTM(5, name="lstm"), name="both")
    x = values(3, 4, 3)
    found = loaded(keras.Sequential([keras.Input((4, 3)), layer]), path).predict(x, verbose=0)
    there, back = lstm(arrays, "forward_lstm_1", x), lstm(arrays, "backward_lstm_1", x[:, ::-1])
    assert close(found, np.concatenate([there, back], axis=-1))


KERNEL, BIAS = values(5, 3, 2, 4), values(5)  # filters, inputs, height, width
NORMAL = {
    "gamma": values(5, seed=1),
    "beta": values(5, seed=2),
    "running_mean": values(5, seed=3),
    "running_std": values(5, seed=4) ** 2 + 0.5,
}
ROWS, OFFSET = values(5 * 6 * 3, 7), values(7)
IMAGES = values(3, 3, 7, 6)


def write_image_network(path: Path, stem: str, order: str, backend: str, *, whole: bool) -> Path:
    shape = [None, 3, 7, 6] if order == "th" else [None, 7, 6, 3]
    config = sequential(
        ("Convolution2D", {"name": stem, "nb_filter": 5, "nb_row": 2, "nb_col": 4,
                           "border_mode": "valid", "subsample": [1, 1], "dim_ordering": order,
                           "bias": True, "batch_input_shape": shape}),
        ("BatchNormalization", {"name": "batchnormalization_1", "mode": 0, "epsilon": 0.001,
                                "axis": 1 if order == "th" else -1}),
        ("Flatten", {"name": "flatten_1"}),
        ("Dense", {"name": "dense_1", "output_dim": 7, "bias": True}),
    )  # fmt: skip
    stored = KERNEL if order == "th" else KERNEL.transpose(2, 3, 1, 0)
    layers = {
        stem: {f"{stem}_W": stored, f"{stem}_b": BIAS},
        "batchnormalization_1": {f"batchnormalization_1_{k}": v for k, v in NORMAL.items()},
        "flatten_1": {},
        "dense_1": {"dense_1_W": ROWS, "dense_1_b": OFFSET},
    }
    suffix = ":0" if backend == "tensorflow" else ""
    return write_keras_1(path, layers, config=config if whole else None, suffix=suffix)


def run_image_network(order: str, backend: str) -> np.ndarray:
    used = KERNEL[:, :, ::-1, ::-1] if backend == "theano" else KERNEL
    scale = NORMAL["gamma"] / np.sqrt(NORMAL["running_std"] + 0.001)
    image = correlated(IMAGES, used).transpose(0, 2, 3, 1) + BIAS
    image = (image - NORMAL["running_mean"]) * scale + NORMAL["beta"]
    flat = image.transpose(0, 3, 1, 2) if order == "th" else image
    return flat.reshape(3, -1) @ ROWS + OFFSET


def image_network(stem: str) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((7, 6, 3)),
            keras.layers.Conv2D(5, (2, 4), name=stem),
            keras.layers.BatchNormalization(name="batch_normalization"),
            keras.layers.Flatten(),
            keras.layers.Dense(7, name="dense"),
        ]
    )


@pytest.mark.parametrize("order", ["th", "tf"])
@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
def test_an_image_network_of_either_backend_and_order(
    tmp_path: Path, order: str, backend: str
) -> None:
    path = write_image_network(tmp_path / "a.h5", "stem", order, backend, whole=True)
    expected = run_image_network(order, backend)
    model = loaded(image_network("stem"), path)
    assert close(model.predict(IMAGES.transpose(0, 2, 3, 1), verbose=0), expected)
    net = torch.nn.Sequential()  # and by kind the rows are those of PyTorch's Flatten
    net.add_module("stem", torch.nn.Conv2d(3, 5, (2, 4)))
    net.add_module("batch_normalization", torch.nn.BatchNorm2d(5, eps=0.001))
    net.add_module("flatten", torch.nn.Flatten())
    net.add_module("dense", torch.nn.Linear(90, 7))
    net.load_state_dict(converter.plan(path).state_dict())
    with torch.no_grad():
        assert close(net.eval()(torch.from_numpy(IMAGES)).numpy(), expected)


@pytest.mark.parametrize("order", ["th", "tf"])
@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
def test_without_an_architecture_rows_behind_a_flatten_are_kept(
    tmp_path: Path, order: str, backend: str
) -> None:
    path = write_image_network(tmp_path / "a.h5", "convolution2d_1", order, backend, whole=False)
    model = loaded(image_network("conv2d"), path)
    head = model.get_layer("dense")
    assert np.array_equal(head.kernel.numpy(), ROWS)
    if order == "th":
        head.set_weights([ROWS.reshape(5, 18, 7).swapaxes(0, 1).reshape(-1, 7), OFFSET])
    found = model.predict(IMAGES.transpose(0, 2, 3, 1), verbose=0)
    assert close(found, run_image_network(order, backend))
    whole = write_image_network(tmp_path / "b.h5", "convolution2d_1", order, backend, whole=True)
    model = loaded(image_network("conv2d"), path, architecture=whole)
    found = model.predict(IMAGES.transpose(0, 2, 3, 1), verbose=0)
    assert close(found, run_image_network(order, backend))


def test_a_convolution_over_time_of_either_age(tmp_path: Path) -> None:
    kernel, bias = values(5, 3, 4), values(5)
    x = values(3, 8, 3)
    expected = correlated(x.transpose(0, 2, 1)[:, :, None], kernel[:, :, None])[:, :, 0]
    expected = (expected + bias[:, None]).transpose(0, 2, 1)
    for age, stored in {
        "1.2": kernel.transpose(2, 1, 0)[:, None],
        "1.1": kernel[..., None],
    }.items():
        path = write_keras_1(
            tmp_path / f"{age}.h5",
            {"convolution1d_1": {"convolution1d_1_W": stored, "convolution1d_1_b": bias}},
        )
        model = keras.Sequential([keras.Input((8, 3)), keras.layers.Conv1D(5, 4, name="conv1d")])
        assert close(loaded(model, path).predict(x, verbose=0), expected), age


@pytest.mark.parametrize("order", ["th", "tf"])
def test_a_transposed_convolution(tmp_path: Path, order: str) -> None:
    """The gradient of a correlation with regard to its input, as TensorFlow computes it."""
    kernel, bias = values(5, 3, 2, 4), values(5)  # filters, inputs, height, width
    x = values(3, 3, 4, 3)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (3, 3)))
    expected = correlated(padded, kernel[:, :, ::-1, ::-1]) + bias[:, None, None]
    config = sequential(
        ("Deconvolution2D", {"name": "up", "nb_filter": 5, "nb_row": 2, "nb_col": 4,
                             "dim_ordering": order, "bias": True})
    )  # fmt: skip
    stored = kernel if order == "th" else kernel.transpose(2, 3, 1, 0)
    path = write_keras_1(tmp_path / "a.h5", {"up": {"up_W": stored, "up_b": bias}}, config=config)
    model = keras.Sequential(
        [keras.Input((4, 3, 3)), keras.layers.Conv2DTranspose(5, (2, 4), name="up")]
    )
    found = loaded(model, path).predict(x.transpose(0, 2, 3, 1), verbose=0)
    assert close(found.transpose(0, 3, 1, 2), expected)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the shared checkpoints are not there")
def test_two_files_of_one_model_are_equal_whichever_backend_wrote_them() -> None:
    first, second = (
        converter.open(FOLDER / f"music_compact_cnn-{one}.hdf5") for one in ("tf", "theano")
    )
    with first, second:
        names = list(first.manifest.tensors)
        others = [name for name in second.manifest.tensors if not name.startswith("dense/")]
        assert len(names) == len(others) == 33
        assert [one for one in names if "Variable" not in one] == others[3:]
        for name, other in zip(names, others, strict=True):
            assert first.read(name).tobytes() == second.read(other).tobytes(), name


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the shared checkpoints are not there")
def test_the_wrong_choice_of_kernels_makes_them_differ() -> None:
    theano = FOLDER / "music_compact_cnn-theano.hdf5"
    with converter.open(theano) as first, converter.open(theano, select="tf_kernels") as second:
        name = "ConvBNEluDr/conv2d/kernel"
        assert np.array_equal(first.read(name), second.read(name)[::-1, ::-1])
        assert not np.array_equal(first.read(name), second.read(name))


def test_a_keras_1_file_is_written_anew_as_keras_3_loads_it(tmp_path: Path) -> None:
    arrays = gates("lstm_1", LSTM, 3, 5)
    config = sequential(
        ("LSTM", {"name": "lstm_1", "output_dim": 5, "batch_input_shape": [None, 4, 3]})
    )
    path = write_keras_1(tmp_path / "old.h5", {"lstm_1": arrays}, config=config)
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.LSTM(5, name="lstm")])
    x = values(3, 4, 3)
    for name in ("new.weights.h5", "new.h5"):
        converter.convert(path, tmp_path / name, to="keras", like=path)
        model.set_weights([weight * 0 for weight in model.get_weights()])
        model.load_weights(tmp_path / name)
        assert close(model.predict(x, verbose=0), lstm(arrays, "lstm_1", x)), name
