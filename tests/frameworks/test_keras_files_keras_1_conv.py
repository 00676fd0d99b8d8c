"""ConvLSTM2D and SeparableConvolution2D of Keras 1, in both orders of dimensions.

Formulas: keras 1.2.2 ``layers/convolutional_recurrent.py``, ``ConvLSTM2D.step``;
``layers/convolutional.py``, ``SeparableConvolution2D``; TensorFlow's ``separable_conv2d``.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

from pathlib import Path

import keras
import numpy as np
import pytest
from support.keras_1_files import LSTM, sequential, values, write_keras_1
from support.keras_1_formulas import close, correlated, loaded, sigmoid

pytestmark = pytest.mark.frameworks

FILTERS, INPUTS, ROWS, COLUMNS = 5, 3, 3, 1
AS_TENSORFLOW = (2, 3, 1, 0)  # (filters, inputs, rows, columns) to (rows, columns, inputs, filters)


def same(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    rows, columns = ((size - 1) // 2 for size in kernel.shape[2:])
    return correlated(np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns))), kernel)


def conv_lstm(arrays: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Return the last state; ``x`` is (n, time, channels, height, width), kernels those of th."""
    h = c = np.zeros((len(x), FILTERS, *x.shape[3:]), np.float32)
    for step in x.swapaxes(0, 1):
        total = {
            gate: same(step, arrays[f"W_{gate}"])
            + same(h, arrays[f"U_{gate}"])
            + arrays[f"b_{gate}"][:, None, None]
            for gate in "ifco"
        }
        c = sigmoid(total["f"]) * c + sigmoid(total["i"]) * np.tanh(total["c"])
        h = sigmoid(total["o"]) * np.tanh(c)
    return h


@pytest.mark.parametrize("order", ["th", "tf"])
@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
@pytest.mark.parametrize("with_config", [True, False])
def test_a_convolutional_lstm_of_twelve_arrays(
    tmp_path: Path, order: str, backend: str, with_config: bool
) -> None:
    shapes = {"W": (FILTERS, INPUTS, ROWS, COLUMNS), "U": (FILTERS, FILTERS, ROWS, COLUMNS)}
    arrays = {name: values(*shapes.get(name[0], (FILTERS,)), seed=7 + at)
              for at, name in enumerate(LSTM)}  # fmt: skip
    stored = {
        f"convlstm2d_1_{name}": array.transpose(AS_TENSORFLOW)
        if order == "tf" and array.ndim == 4
        else array
        for name, array in arrays.items()
    }
    config = sequential(
        ("ConvLSTM2D", {"name": "convlstm2d_1", "nb_filter": FILTERS, "nb_row": ROWS,
                        "nb_col": COLUMNS, "border_mode": "same", "dim_ordering": order})
    )  # fmt: skip
    path = write_keras_1(
        tmp_path / "a.h5",
        {"convlstm2d_1": stored},
        config=config if with_config else None,
        suffix=":0" if backend == "tensorflow" else "",
    )
    layer = keras.layers.ConvLSTM2D(
        FILTERS, (ROWS, COLUMNS), padding="same", recurrent_activation="sigmoid", name="conv_lstm2d"
    )
    model = keras.Sequential([keras.Input((4, 6, 7, INPUTS)), layer])
    x = values(3, 4, INPUTS, 6, 7)
    if backend == "theano":  # it turned every kernel as it computed
        arrays = {n: a[:, :, ::-1, ::-1] if a.ndim == 4 else a for n, a in arrays.items()}
    found = loaded(model, path).predict(x.transpose(0, 1, 3, 4, 2), verbose=0)
    assert close(found.transpose(0, 3, 1, 2), conv_lstm(arrays, x))


@pytest.mark.parametrize("order", ["th", "tf"])
@pytest.mark.parametrize("with_config", [True, False])
def test_a_separable_convolution(tmp_path: Path, order: str, with_config: bool) -> None:
    multiplier, rows, columns = 2, 2, 4
    depthwise = values(multiplier, INPUTS, rows, columns)
    pointwise, bias = values(FILTERS, multiplier * INPUTS, 1, 1), values(FILTERS)
    is_tf = order == "tf"
    stored = {
        "separableconvolution2d_1_depthwise_kernel": depthwise.transpose(AS_TENSORFLOW)
        if is_tf
        else depthwise,
        "separableconvolution2d_1_pointwise_kernel": pointwise.transpose(AS_TENSORFLOW)
        if is_tf
        else pointwise,
        "separableconvolution2d_1_b": bias,
    }
    config = sequential(
        ("SeparableConvolution2D",
         {"name": "separableconvolution2d_1", "nb_filter": FILTERS, "nb_row": rows,
          "nb_col": columns, "depth_multiplier": multiplier, "dim_ordering": order, "bias": True})
    )  # fmt: skip
    path = write_keras_1(
        tmp_path / "a.h5",
        {"separableconvolution2d_1": stored},
        config=config if with_config else None,
    )
    x = values(3, INPUTS, 6, 7)
    # Outputs of one input lie side by side: channel c * multiplier + m.
    parts = [
        correlated(x[:, channel : channel + 1], depthwise[:, channel : channel + 1])
        for channel in range(INPUTS)
    ]
    expected = correlated(np.concatenate(parts, axis=1), pointwise) + bias[:, None, None]
    layer = keras.layers.SeparableConv2D(
        FILTERS, (rows, columns), depth_multiplier=multiplier, name="separable_conv2d"
    )
    model = keras.Sequential([keras.Input((6, 7, INPUTS)), layer])
    found = loaded(model, path).predict(x.transpose(0, 2, 3, 1), verbose=0)
    assert close(found.transpose(0, 3, 1, 2), expected)
