"""Files that others published: true pairs validate, and look-alikes are refused for their values.

The files are not part of this repository; the tests run where the folder is there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
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


HLS = ("1layer", "3layer", "dense_16x100x100x100x100x100x5")
# What SOURCES.md lists as equal, with the number of tensors compared; two need more than one call.
TRUE = {
    "D3": ("brainchop-model11ae.h5", "brainchop-model11ae.onnx", 18),
    "F3": (f"hls4ml-KERAS_{HLS[1]}.weights.legacy.h5", f"hls4ml-KERAS_{HLS[1]}.onnx", 8),
    "F4": (f"hls4ml-KERAS_{HLS[0]}.weights.legacy.h5", f"hls4ml-KERAS_{HLS[0]}.onnx", 4),
    "F5": (f"hls4ml-KERAS_{HLS[2]}.weights.legacy.h5", f"hls4ml-KERAS_{HLS[2]}.onnx", 12),
    "H2": ("ultralight-slim-320.pth", "ultralight-slim-320.onnx", 184),
}
ELSEWHERE = {
    "E-pnet": "test_keras_weights_and_their_pytorch_twin",
    "J2": "test_kernels_of_theano_and_of_tensorflow",
}
# File to the test that refuses it; the other half of the last is not in the folder.
NEGATIVE = {
    "dl4j-mtcnn-12net.h5": "test_another_training_of_the_same_network_is_refused_for_its_values",
    "burn-mnist.pt": "test_weights_of_another_training_are_refused",
    "silero_vad_16k.safetensors": "test_a_file_is_refused_when_one_of_its_tensors_is_of_another",
}


@pytest.mark.parametrize("name", TRUE)
def test_a_true_pair_validates(name: str) -> None:
    first, second, count = TRUE[name]
    further: dict[str, Any] = {"mapping": mapping("mesh", MESH)} if name == "D3" else {}
    if first.startswith("hls4ml"):
        further = {"architecture": SHARED / first.replace(".weights.legacy.h5", ".json")}
    report = converter.validate(SHARED / first, SHARED / second, **further)
    assert (report.level, report.verdict, report.compared) == ("values", "pass", count)
    assert report.rows == ()


def test_every_pair_of_the_list_is_compared_here() -> None:
    text = (SHARED / "SOURCES.md").read_text(encoding="utf-8")
    listed = text.partition("## Ground-truth pairs")[2].partition("## Where")[0]
    rows = [line.split("|")[1:4] for line in listed.splitlines() if line.startswith("| ")][2:]
    pairs = {one[0].strip(): re.findall("`([^`]+)`", one[2]) for one in rows}
    assert set(pairs) == set(TRUE) | set(ELSEWHERE)
    for name, (first, second, _) in TRUE.items():
        assert {first, second} <= set(pairs[name])
    negative = listed.partition("Negative pairs")[2]
    assert set(re.findall("`([^`]+)`: NOT", negative)) == set(NEGATIVE)
    assert {*ELSEWHERE.values(), *NEGATIVE.values()} <= set(globals())


def test_a_file_is_refused_when_one_of_its_tensors_is_of_another(tmp_path: Path) -> None:
    """The other half of Silero is not here: all but the STFT basis is put in another order."""
    name = SHARED / "silero_vad_16k.safetensors"
    with converter.open(name) as source:
        arrays = {one: np.array(source.read(one)) for one in source.manifest.tensors}
    random = np.random.default_rng(0)
    other = {
        key: random.permutation(array.ravel()).reshape(array.shape)
        for key, array in arrays.items()
        if array.size > 1 and not key.startswith("stft")
    }
    save_file({**arrays, **other}, tmp_path / "other.safetensors")
    report = converter.validate(name, tmp_path / "other.safetensors")
    found = {one.name: one.status for one in report.levels}
    assert (report.verdict, found["structure"], found["values"]) == ("fail", "pass", "fail")
    same = {"stft_conv.weight", "final_conv.bias"}
    assert {row.name for row in report.rows} == set(arrays) - same
    assert all("differ in bits" in row.note for row in report.rows)


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
