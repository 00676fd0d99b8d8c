"""Models that others published both as ONNX and in their framework's own file hold equal values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from support.tensor_files import SHARED

import converter

onnxruntime = pytest.importorskip("onnxruntime")

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared checkpoints are not there"),
]

HLS4ML = {
    "KERAS_1layer": 4,
    "KERAS_3layer": 8,
    "KERAS_dense_16x100x100x100x100x100x5": 12,
}


def by_kind(path: Path, **options: object) -> dict[str, np.ndarray]:
    """Return a Keras file as the state dict of the same layers in PyTorch."""
    with converter.open(path, **options) as source:
        return converter.plan(source).state_dict("numpy")


def keras_weights(name: str) -> dict[str, np.ndarray]:
    return by_kind(
        SHARED / f"hls4ml-{name}.weights.legacy.h5", architecture=SHARED / f"hls4ml-{name}.json"
    )


@pytest.mark.parametrize("name", HLS4ML)
def test_keras_layers_exported_by_keras2onnx(name):
    expected = keras_weights(name)
    assert len(expected) == HLS4ML[name]
    with converter.open(SHARED / f"hls4ml-{name}.onnx") as found:
        assert set(found.manifest.tensors) == set(expected)
        for key, value in expected.items():
            assert found.read(key).shape == value.shape
            assert found.read(key).tobytes() == value.tobytes(), key


def test_keras_volumes_and_their_twin_from_pytorch():
    expected = by_kind(SHARED / "brainchop-model11ae.h5")
    with converter.open(SHARED / "brainchop-model11ae.onnx") as found:
        assert len(expected) == len(found.manifest) == 18
        # The names differ; both files have their layers in the order of the model.
        for spec, value in zip(found.manifest, expected.values(), strict=True):
            assert spec.shape == value.shape
            assert found.read(spec.name).tobytes() == value.tobytes(), spec.name


def test_pytorch_weights_and_their_export():
    with (
        converter.open(SHARED / "ultralight-slim-320.pth") as first,
        converter.open(SHARED / "ultralight-slim-320.onnx") as second,
    ):
        assert set(first.manifest.tensors) == set(second.manifest.tensors)
        assert len(second.manifest) == 184
        counters = [name for name in second.manifest.tensors if name.endswith("tracked")]
        assert len(counters) == 184 - 159
        for spec in first.manifest:
            assert second.manifest[spec.name] == spec
            assert second.read(spec.name).tobytes() == first.read(spec.name).tobytes()
        assert converter.validate(first, second).passed


def test_other_weights_of_the_same_model_differ(tmp_path):
    """One element, one bit: the smallest lie that a comparison must find."""
    model = onnx.load(SHARED / "ultralight-slim-320.onnx")
    (tensor,) = (one for one in model.graph.initializer if one.name == "base_net.7.3.weight")
    changed = bytearray(tensor.raw_data)
    changed[4321] ^= 1
    tensor.raw_data = bytes(changed)
    path = tmp_path / "changed.onnx"
    onnx.save(model, path)
    report = converter.validate(SHARED / "ultralight-slim-320.pth", path)
    assert not report.passed
    assert [row.name for row in report.rows] == ["base_net.7.3.weight"]


def test_another_training_of_the_same_model_differs_everywhere(tmp_path):
    random = np.random.default_rng(3)
    values = {
        key: random.normal(size=value.shape).astype(value.dtype)
        for key, value in keras_weights("KERAS_3layer").items()
    }
    np.savez(tmp_path / "other.npz", **values)
    report = converter.validate(tmp_path / "other.npz", SHARED / "hls4ml-KERAS_3layer.onnx")
    assert not report.passed
    assert {row.name for row in report.rows} == set(values)


def test_an_old_keras_graph_is_filled_from_keras(tmp_path):
    """ONNX of 2018 gets other weights, through the kinds of layers; onnxruntime runs it."""
    name = "KERAS_3layer"
    like = SHARED / f"hls4ml-{name}.onnx"
    values = keras_weights(name)
    np.savez(tmp_path / "new.npz", **{key: value * 0.5 for key, value in values.items()})
    target = tmp_path / "new.onnx"
    converter.convert(tmp_path / "new.npz", target, like=like)
    given = np.random.default_rng(0).normal(size=(1, 16)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: given})[0]
    x = given
    for layer in ("fc1_relu", "fc2_relu", "fc3_relu", "output_softmax"):
        x = x @ values[f"{layer}.weight"].T * 0.5 + values[f"{layer}.bias"] * 0.5
        x = x if layer == "output_softmax" else np.maximum(x, 0)
    expected = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_keras_file_fills_a_graph_of_the_same_layers(tmp_path):
    name = "KERAS_1layer"
    like = SHARED / f"hls4ml-{name}.onnx"
    weights = SHARED / f"hls4ml-{name}.weights.legacy.h5"
    target = tmp_path / "new.onnx"
    with converter.open(weights, architecture=SHARED / f"hls4ml-{name}.json") as source:
        converter.convert(source, target, like=like)
    before, after = onnx.load(like), onnx.load(target)
    for one, other in zip(before.graph.initializer, after.graph.initializer, strict=True):
        assert one.SerializeToString() == other.SerializeToString()
    assert before.graph == after.graph
