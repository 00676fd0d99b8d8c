"""Real third-party files: h5py finds the same values, and recorded outputs are reproduced.

That every one opens and converts is in test_shared_outcomes.py.

The files are not part of this repository; the tests run where the folder is there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from support.shared_files import FOLDER, keras_files
from torch import nn

import converter

# Their arrays are joined, turned and reordered: see test_keras_files_keras_1.py and _cudnn.py.
REORDERED = frozenset(
    {
        "textgenrnn-default.weights.legacy.hdf5",
        "dl4j-batch_to_conv2d_tensorflow_1.h5",
        "dl4j-bidirectional_lstm_no_return_sequences_theano_1.h5",
        "dl4j-embedding_lstm_tensorflow_1.h5",
        "music_compact_cnn-tf.hdf5",
        "music_compact_cnn-theano.hdf5",
        "ncf-ml1m-gmf.weights.legacy.h5",
    }
)


def legacy_files() -> list[Path]:
    return [path for path in keras_files() if path.name not in REORDERED and h5py.is_hdf5(path)]


def weights_by_name(path: Path) -> dict[str, np.ndarray]:
    """Read a legacy file as h5py sees it: every dataset that a layer's weight_names list."""
    with h5py.File(path) as file:
        root = file.get("model_weights", file)
        found = {}
        for layer in root.attrs["layer_names"]:
            group = root[layer]
            for name in group.attrs["weight_names"]:
                found[f"{layer}:{name}"] = group[name][()]
        return found


pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the shared checkpoints are not there"),
]


@pytest.mark.parametrize("path", legacy_files(), ids=lambda path: path.name)
def test_values_are_those_that_h5py_reads_by_name(path: Path) -> None:
    expected = sorted(array.tobytes() for array in weights_by_name(path).values())
    with converter.open(path) as source:
        found = sorted(source.read(name).tobytes() for name in source.manifest.tensors)
    assert found == expected


def conv(**options: object) -> Callable[[], nn.Module]:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv0 = nn.Conv1d(3, 4, **options)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv0(x)

    return Net


class EluNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(16, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.elu(self.dense(x), alpha=0.699999988079071)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.simple_rnn = nn.RNN(1, 50, batch_first=True)
        self.dense = nn.Linear(50, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.simple_rnn(x)[0][:, -1])


def last_axis(run: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda x: run(x.movedim(-1, 1)).movedim(1, -1)


RECORDED = {
    "ELU_0": (EluNet, lambda net: net),
    "simple_rnn_tf_keras_2": (Recurrent, lambda net: net),
    "conv1d_k3_s1_d2_cf_valid": (
        conv(kernel_size=3, dilation=2),
        lambda net: lambda x: torch.sigmoid(net(x)),
    ),
    "causal_conv1d_k2_s2_d1_cl": (
        conv(kernel_size=2, stride=2),
        lambda net: last_axis(lambda x: torch.tanh(net(nn.functional.pad(x, (1, 0))))),
    ),
    "conv1d_k3_s2_d1_cl_same": (
        conv(kernel_size=3, stride=2),
        lambda net: last_axis(lambda x: torch.sigmoid(net(nn.functional.pad(x, (0, 1))))),
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_outputs_that_keras_recorded_are_reproduced(name: str) -> None:
    """The numbers are in the files: Keras 2.1 and 2.3 computed them, years ago."""
    build, run = RECORDED[name]
    net = build().eval()
    model = FOLDER / f"dl4j-{name}_model.h5"
    net.load_state_dict(converter.plan(model).state_dict())
    with h5py.File(FOLDER / f"dl4j-{name}_inputs_and_outputs.h5") as file:
        given, expected = (
            next(iter(file[part].values()))[()] for part in ("inputs", "predictions")
        )
    with torch.no_grad():
        found = run(net)(torch.from_numpy(given)).numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 3e-6 * np.abs(expected).max()
