"""Files that others published: true pairs validate, and look-alikes are refused for their values.

The files are not part of this repository; the tests run where the folder is there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.tensor_files import SHARED

import converter
from converter.mapping.rules import Mapping, Rule

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared checkpoints are not there"),
]

PNET = [("conv2d", f"conv{i}", f"conv{i}") for i in (1, 2, 3)]
PNET += [("prelu_2d", f"PReLU{i}", f"prelu{i}") for i in (1, 2, 3)]
PNET += [("conv2d", f"conv4-{i}", f"conv4_{i}") for i in (1, 2)]
MESH = [("conv3d", str(19 + 2 * i), f"model.{i}.0") for i in range(8)]
MESH += [("conv3d", "output", "model.8")]
# The order in which facenet's Keras weights were dumped: the box before the score.
DUMPED = ("conv1", "PReLU1", "conv2", "PReLU2", "conv3", "PReLU3", "conv4-2", "conv4-1")


def mapping(name: str, rules: list[tuple[str, str, str]]) -> Mapping:
    rows = (Rule(kind, keras, torch, index=i) for i, (kind, keras, torch) in enumerate(rules))
    return Mapping(name, name, name, tuple(rows))


def pnet_arrays() -> dict[str, np.ndarray]:
    with converter.open(SHARED / "mtcnn-pnet-keras-weights.joblib.lz4") as dumped:
        arrays = [np.array(dumped.read(name)) for name in dumped.manifest.tensors]
    slots = {"c": ("kernel", "bias"), "P": ("alpha",)}
    names = [f"{layer}/{slot}" for layer in DUMPED for slot in slots[layer[0]]]
    return dict(zip(names, arrays, strict=True))


def test_keras_weights_and_their_pytorch_twin(tmp_path: Path) -> None:
    np.savez(tmp_path / "pnet.npz", **pnet_arrays())
    report = converter.validate(
        tmp_path / "pnet.npz", SHARED / "mtcnn-pnet-facenet.pt", mapping=mapping("pnet", PNET)
    )
    assert (report.level, report.verdict, report.compared) == ("values", "pass", 13)


def test_another_training_of_the_same_network_is_refused_for_its_values() -> None:
    report = converter.validate(
        SHARED / "dl4j-mtcnn-12net.h5",
        SHARED / "mtcnn-pnet-facenet.pt",
        mapping=mapping("pnet", PNET),
    )
    assert report.verdict == "fail"
    assert {one.name: one.status for one in report.levels}["structure"] == "pass"
    assert len(report.rows) == report.compared == 13
    assert all("differ in bits" in row.note for row in report.rows)


def test_arrays_without_names_are_no_side_of_a_comparison() -> None:
    with pytest.raises(converter.UsageError, match="its arrays have no names"):
        converter.validate(
            SHARED / "mtcnn-pnet-keras-weights.joblib.lz4", SHARED / "mtcnn-pnet-facenet.pt"
        )


def test_keras_volumes_and_their_graph() -> None:
    report = converter.validate(
        SHARED / "brainchop-model11ae.h5",
        SHARED / "brainchop-model11ae.onnx",
        mapping=mapping("mesh", MESH),
    )
    assert (report.verdict, report.compared) == ("pass", 18)


@pytest.mark.parametrize(
    ("name", "count"),
    [("1layer", 4), ("3layer", 8), ("dense_16x100x100x100x100x100x5", 12)],
)
def test_keras_weights_with_their_architecture_and_their_graph(name: str, count: int) -> None:
    files = SHARED / f"hls4ml-KERAS_{name}.weights.legacy.h5", SHARED / f"hls4ml-KERAS_{name}.onnx"
    report = converter.validate(*files, architecture=SHARED / f"hls4ml-KERAS_{name}.json")
    assert (report.verdict, report.compared) == ("pass", count)


def test_pytorch_and_its_graph() -> None:
    report = converter.validate(
        SHARED / "ultralight-slim-320.pth", SHARED / "ultralight-slim-320.onnx"
    )
    assert (report.verdict, report.compared) == ("pass", 184)


def test_kernels_of_theano_and_of_tensorflow() -> None:
    """What both files have is equal; the filter bank has other names, and one lacks its head."""
    report = converter.validate(
        SHARED / "music_compact_cnn-tf.hdf5", SHARED / "music_compact_cnn-theano.hdf5"
    )
    found = {one.name: one.status for one in report.levels}
    assert (found["structure"], found["values"]) == ("fail", "pass")
    assert {row.name.split("/")[0] for row in report.rows} == {"melgram", "dense"}
    assert all("not in" in row.note for row in report.rows)
    assert report.compared - len(report.rows) == 30


def test_weights_of_another_training_are_refused() -> None:
    report = converter.validate(SHARED / "burn-mnist.pt", SHARED / "burn-mnist.safetensors")
    found = {one.name: one.status for one in report.levels}
    assert (found["structure"], found["values"]) == ("pass", "fail")
    assert all("differ in bits" in row.note for row in report.rows)
    assert report.histogram is not None
    assert sum(report.histogram.first) > 0
