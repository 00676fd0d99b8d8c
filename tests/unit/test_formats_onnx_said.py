"""ONNX files: what is said about them, and what is refused when one is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402 - after the skip
from support.onnx_files import (  # noqa: E402 - as above
    floats,
    model,
    one_node,
    save,
    tensor,
    values_of,
)

import converter  # noqa: E402 - as above
from converter.errors import PlanError, UsageError, WriteError  # noqa: E402 - as above
from converter.formats.onnx_reader import OnnxCheckpoint  # noqa: E402 - as above
from converter.formats.registry import create_writer, open_checkpoint  # noqa: E402 - as above
from converter.tensors.manifest import Manifest  # noqa: E402 - as above


def read(path: Any) -> dict[str, np.ndarray]:
    with open_checkpoint(path) as found:
        return {name: np.array(found.read(name)) for name in found.manifest.tensors}


def test_folding_that_names_say_is_recognised(tmp_path):
    name = "m/c/Conv2D;m/bn/FusedBatchNormV3"
    arrays = {"w1": floats(4, 3, 1, 1), name: floats(4)}
    path = one_node(tmp_path, "Conv", arrays, name="m/c/Conv2D", producer="tf2onnx")
    with OnnxCheckpoint(path) as found:
        assert found.manifest.notices[0].startswith("BatchNormalization was folded into")


def test_folding_that_the_exporter_notes_is_recognised(tmp_path):
    """With a bias of its own the convolution keeps both names, and only the note says it."""
    arrays = {"c.weight": floats(4, 3, 1, 1), "c.bias": floats(4)}
    node = helper.make_node("Conv", ["x", *arrays], ["y"], name="node_conv")
    node.metadata_props.add(
        key="pkg.onnxscript.rewriter.rule_name", value="Other, FuseBatchNormIntoConv"
    )
    initializers = [tensor(key, value) for key, value in arrays.items()]
    path = save(tmp_path / "a.onnx", model([node], initializers, producer="pytorch"))
    with OnnxCheckpoint(path) as found:
        assert found.found.folded == ["c"]
        assert found.manifest.notices[0].startswith("BatchNormalization was folded into 'c'")


def test_a_further_name_that_an_identity_gives_is_a_tie(tmp_path):
    """PyTorch's older exporter merges equal arrays and keeps the second name in this way."""
    nodes = [
        helper.make_node("Identity", ["one.gain"], ["two.gain"]),
        helper.make_node("Mul", ["x", "one.gain"], ["h"], name="/one/Mul"),
        helper.make_node("Mul", ["h", "two.gain"], ["y"], name="/two/Mul"),
    ]
    made = model(nodes, [tensor("one.gain", floats(3))], producer="pytorch")
    with OnnxCheckpoint(save(tmp_path / "a.onnx", made)) as found:
        assert found.manifest.ties == {"two.gain": "one.gain"}
        assert np.array_equal(found.read("two.gain"), found.read("one.gain"))


def test_a_writer_that_lacks_a_value_is_refused(tmp_path):
    initializers = [tensor("a.weight", floats(2)), tensor("b.weight", floats(2))]
    path = save(tmp_path / "a.onnx", model(initializers=initializers))
    with OnnxCheckpoint(path) as like, pytest.raises(WriteError) as error:
        create_writer(
            "onnx", tmp_path, "b.onnx", Manifest.of([like.manifest["a.weight"]]), like=like
        )
    assert error.value.facts == (("missing", "'b.weight'"),)
    assert not (tmp_path / "b.onnx").exists()


def test_types_that_are_not_converted_are_left_out_and_said(tmp_path):
    texts = helper.make_tensor("labels.names", TensorProto.STRING, [2], [b"cat", b"dog"])
    made = model(initializers=[texts, tensor("a.weight", floats(2))])
    with OnnxCheckpoint(save(tmp_path / "a.onnx", made)) as found:
        assert list(found.manifest.tensors) == ["a.weight"]
        assert found.manifest.notices == (
            "1 tensor is left out, of types that are not converted: 'labels.names'.",
        )


def test_metadata_says_who_wrote_the_file(tmp_path):
    made = model(initializers=[tensor("a.weight", floats(2))], producer="pytorch")
    made.producer_version = "2.13"
    helper.set_model_props(made, {"author": "somebody"})
    with OnnxCheckpoint(save(tmp_path / "a.onnx", made)) as found:
        assert found.manifest.metadata == {
            "author": "somebody",
            "producer": "pytorch 2.13",
            "opset": "20",
        }


def test_the_record_of_a_conversion_replaces_the_one_before(tmp_path):
    made = model(initializers=[tensor("a.weight", floats(2))])
    helper.set_model_props(made, {"author": "somebody"})
    path = save(tmp_path / "a.onnx", made)
    np.savez(tmp_path / "new.npz", **{"a.weight": floats(2)})
    for name, like in (("b.onnx", "a.onnx"), ("c.onnx", "b.onnx")):
        converter.convert(tmp_path / "new.npz", tmp_path / name, like=tmp_path / like)
        props = [one.key for one in onnx.load(tmp_path / name).metadata_props]
        assert len(props) == 2
        assert props[0] == "author"
        assert props[1].startswith("weightferry")
        onnx.checker.check_model(onnx.load(tmp_path / name))
    with open_checkpoint(path) as found:
        assert "author" in found.manifest.metadata


def test_weights_alone_make_no_onnx_file(tmp_path):
    np.savez(tmp_path / "new.npz", **{"a.weight": floats(2)})
    with pytest.raises(UsageError, match="weights do not say which graph they are for") as error:
        converter.convert(tmp_path / "new.npz", tmp_path / "b.onnx", to="torch")
    assert "--like model.onnx" in (error.value.hint or "")


def test_another_type_or_shape_than_the_graph_has_is_refused(tmp_path):
    path = save(tmp_path / "a.onnx", model(initializers=[tensor("a.weight", floats(2, 3))]))
    np.savez(tmp_path / "new.npz", **{"a.weight": floats(3, 2)})
    with pytest.raises(PlanError, match=r"has shape \(3, 2\), a\.onnx needs \(2, 3\)"):
        converter.convert(tmp_path / "new.npz", tmp_path / "b.onnx", like=path)
    np.savez(tmp_path / "new.npz", **{"a.weight": floats(2, 3)})
    with pytest.raises(WriteError, match=r"the graph has 'a\.weight'  \(2, 3\) float32"):
        converter.convert(tmp_path / "new.npz", tmp_path / "b.onnx", like=path, dtype="float16")
    assert not (tmp_path / "b.onnx").exists()


def test_blocks_of_a_transposed_matrix_may_begin_anywhere(tmp_path):
    value = floats(7, 5)
    path = one_node(tmp_path, "MatMul", {"val_1": value}, name="/fc/MatMul")
    with OnnxCheckpoint(path) as like:
        writer = create_writer("onnx", tmp_path, "b.onnx", like.manifest, like=like)
    new = floats(5, 7)
    for start in range(0, 35, 4):
        writer.write("fc.weight", start, new.reshape(-1)[start : start + 4])
    writer.finish({})
    assert np.array_equal(values_of(tmp_path / "b.onnx")["val_1"], new.T)


def test_neither_reading_nor_writing_imports_onnx(tmp_path):
    import subprocess
    import sys

    path = save(tmp_path / "a.onnx", model(initializers=[tensor("a.weight", floats(2))]))
    np.savez(tmp_path / "new.npz", **{"a.weight": floats(2)})
    program = (
        "import sys; sys.modules['onnx'] = None; import converter; "
        f"converter.convert({str(tmp_path / 'new.npz')!r}, {str(tmp_path / 'b.onnx')!r}, "
        f"like={str(path)!r})"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (tmp_path / "b.onnx").exists()
