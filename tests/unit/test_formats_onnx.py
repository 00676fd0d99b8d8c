"""ONNX files: names from nodes, layouts from operators, values as the onnx package reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - after the skip
from support.onnx_files import (  # noqa: E402 - as above
    TYPES,
    floats,
    model,
    one_node,
    save,
    tensor,
    values_of,
)

import converter  # noqa: E402 - as above
from converter.formats.onnx_reader import OnnxCheckpoint  # noqa: E402 - as above
from converter.formats.registry import create_writer, open_checkpoint  # noqa: E402 - as above
from converter.tensors.dtype import get_dtype  # noqa: E402 - as above
from converter.tensors.manifest import Manifest  # noqa: E402 - as above
from converter.tensors.spec import TensorSpec  # noqa: E402 - as above


def read(path: Any) -> dict[str, np.ndarray]:
    with open_checkpoint(path) as found:
        return {name: np.array(found.read(name)) for name in found.manifest.tensors}


# Values


@pytest.mark.parametrize("name", TYPES)
def test_values_in_their_typed_field_are_read_as_onnx_reads_them(tmp_path, name):
    made = helper.make_tensor("p.weight", TYPES[name], [2, 3], [1, 0, 1, 1, 0, 1])
    assert not made.raw_data
    path = save(tmp_path / "a.onnx", model(initializers=[made]))
    expected = numpy_helper.to_array(made)
    found = read(path)["p.weight"]
    assert found.dtype.name == name
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", TYPES)
def test_values_in_their_typed_field_are_replaced(tmp_path, name):
    made = helper.make_tensor("p.weight", TYPES[name], [2, 3], [1, 0, 1, 1, 0, 1])
    other = tensor("q.weight", floats(3, 5))
    like = save(tmp_path / "a.onnx", model(initializers=[made, other]))
    spec = TensorSpec("p.weight", (2, 3), get_dtype(name))
    manifest = Manifest.of([spec, TensorSpec("q.weight", (3, 5), get_dtype("float32"))])
    new = {
        "p.weight": np.array([[0, 1, 0], [0, 0, 1]]).astype(spec.dtype.numpy),
        "q.weight": floats(3, 5),
    }
    with OnnxCheckpoint(like) as opened:
        writer = create_writer("onnx", tmp_path, "b.onnx", manifest, like=opened)
    for key, value in new.items():
        writer.write(key, 0, value)
    writer.finish({})
    onnx.checker.check_model(onnx.load(tmp_path / "b.onnx"))
    for key, value in values_of(tmp_path / "b.onnx").items():
        assert value.tobytes() == new[key].tobytes()


def test_numbers_with_a_tag_each_are_read(tmp_path):
    """Protobuf allows both forms; old writers used the long one."""
    made = TensorProto(name="p.weight", dims=[3], data_type=TensorProto.FLOAT)
    plain = model(initializers=[made]).SerializeToString()
    body = made.SerializeToString()
    values = np.array([1.5, -2, 0.25], "<f4")
    longer = body + b"".join(b"\x25" + value.tobytes() for value in values)
    graph_length = plain.index(body) - 2  # tag and length of the initializer
    data = plain.replace(bytes([0x2A, len(body)]) + body, bytes([0x2A, len(longer)]) + longer)
    assert graph_length > 0
    start = data.index(b"\x3a") + 1  # the length of the graph
    data = data[:start] + bytes([data[start] + len(longer) - len(body)]) + data[start + 1 :]
    path = tmp_path / "a.onnx"
    path.write_bytes(data)
    assert values_of(path)["p.weight"].tolist() == values.tolist()
    assert read(path)["p.weight"].tolist() == values.tolist()


def test_values_in_another_file_are_mapped_and_replaced(tmp_path):
    arrays = {"a.weight": floats(40, 50), "b.weight": floats(7, 3)}
    made = model(initializers=[tensor(key, value) for key, value in arrays.items()])
    path = tmp_path / "m.onnx"
    onnx.save(made, path, save_as_external_data=True, location="m.bin", size_threshold=1000)
    with OnnxCheckpoint(path) as found:
        assert found.files == (path, tmp_path / "m.bin")
        for key, value in arrays.items():
            assert found.read(key).tobytes() == value.tobytes()
    new = {key: value + 1 for key, value in arrays.items()}
    np.savez(tmp_path / "new.npz", **new)
    target = tmp_path / "other.onnx"
    written = converter.convert(tmp_path / "new.npz", target, like=path)
    assert [file.name for file in written.files] == ["other.onnx.data", "other.onnx"]
    assert {key: value.tobytes() for key, value in values_of(target).items()} == {
        key: value.tobytes() for key, value in new.items()
    }
    assert values_of(path)["a.weight"].tobytes() == arrays["a.weight"].tobytes()


# Names and layouts


@pytest.mark.parametrize(
    ("op", "options", "is_in_out"),
    [
        ("MatMul", {}, True),
        ("Gemm", {}, True),
        ("Gemm", {"transB": 0}, True),
        ("Gemm", {"transB": 1}, False),
    ],
)
def test_a_matrix_is_out_in_whatever_its_node(tmp_path, op, options, is_in_out):
    value = floats(5, 5)  # a shape that says nothing
    path = one_node(
        tmp_path, op, {"onnx::MatMul_7": value}, name=f"/enc/fc/{op}", producer="pytorch", **options
    )
    with OnnxCheckpoint(path) as found:
        array = found.read("enc.fc.weight")
        assert np.array_equal(array, value.T if is_in_out else value)
        assert not array.flags.writeable
        assert np.shares_memory(array, found.read("enc.fc.weight"))


def test_a_parameter_that_pytorch_did_not_rename_is_as_it_was(tmp_path):
    """``x @ self.proj``: (in, out) is the module's own layout (GPT-2's Conv1D)."""
    value = floats(4, 9)
    path = one_node(tmp_path, "MatMul", {"h.proj": value}, name="/h/MatMul", producer="pytorch")
    assert np.array_equal(read(path)["h.proj"], value)
    path = one_node(tmp_path, "MatMul", {"h.proj": value}, name="/h/MatMul", producer="other")
    assert np.array_equal(read(path)["h.proj"], value.T)


def test_a_transpose_on_the_way_is_seen(tmp_path):
    value = floats(4, 9)
    nodes = [
        helper.make_node("Transpose", ["W3"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"], name="top/fc/MatMul"),
    ]
    path = save(tmp_path / "a.onnx", model(nodes, [tensor("W3", value)]))
    assert np.array_equal(read(path)["top.fc.weight"], value)


def test_notes_of_the_exporter_come_before_names_of_nodes(tmp_path):
    node = helper.make_node("MatMul", ["x", "val_3"], ["y"], name="/wrong/MatMul")
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'enc', 'enc.fc', 'l']")
    path = save(tmp_path / "a.onnx", model([node], [tensor("val_3", floats(2, 3))]))
    assert list(read(path)) == ["enc.fc.weight"]


def test_two_tensors_of_one_module_keep_their_own_names(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "val_1"], ["h"], name="/fc/MatMul"),
        helper.make_node("MatMul", ["h", "val_2"], ["y"], name="/fc/MatMul_1"),
    ]
    arrays = {"val_1": floats(3, 4), "val_2": floats(4, 3)}
    made = model(nodes, [tensor(key, value) for key, value in arrays.items()], producer="pytorch")
    with OnnxCheckpoint(save(tmp_path / "a.onnx", made)) as found:
        assert list(found.manifest.tensors) == ["val_1", "val_2"]
        assert found.manifest.notices == (
            "2 tensors are named by nothing but the file: 'val_1', 'val_2'.",
        )


def test_a_weight_is_named_after_the_bias_that_is_added(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "val_1"], ["h"], name="/attn/MatMul"),
        helper.make_node("Add", ["attn.in_proj_bias", "h"], ["y"], name="/attn/Add"),
    ]
    arrays = {"val_1": floats(4, 12), "attn.in_proj_bias": floats(12)}
    made = model(nodes, [tensor(key, value) for key, value in arrays.items()], producer="pytorch")
    found = read(save(tmp_path / "a.onnx", made))
    assert np.array_equal(found["attn.in_proj_weight"], arrays["val_1"].T)


def test_paths_of_tensorflow_lose_operations_and_the_model(tmp_path):
    names = [f"functional_1/{part}/ReadVariableOp:0" for part in ("c_1/convolution", "fc/MatMul")]
    nodes = [
        helper.make_node("Conv", ["x", names[0]], ["h"], name="functional_1/c_1/convolution"),
        helper.make_node("MatMul", ["h", names[1]], ["i"], name="functional_1/fc/MatMul"),
        helper.make_node("Add", ["i", "const_fold_opt__9"], ["y"], name="functional_1/fc/Add"),
    ]
    arrays = {names[0]: floats(4, 3, 2, 2), names[1]: floats(6, 5), "const_fold_opt__9": floats(5)}
    made = model(nodes, [tensor(key, value) for key, value in arrays.items()], producer="tf2onnx")
    with OnnxCheckpoint(save(tmp_path / "a.onnx", made)) as found:
        assert {spec.name: spec.shape for spec in found.manifest} == {
            "c_1.weight": (4, 3, 2, 2),
            "fc.weight": (5, 6),
            "fc.bias": (5,),
        }
        assert "The prefix 'functional_1.' (the whole model) was taken off 3 names." in (
            found.manifest.notices
        )


def test_a_constant_that_is_a_weight_is_read_and_others_are_left(tmp_path):
    value = floats(3, 2)
    nodes = [
        helper.make_node("Constant", [], ["c1"], value=tensor("", value)),
        helper.make_node("Constant", [], ["c2"], value=tensor("", np.float32([2, 3, 4]))),
        helper.make_node("MatMul", ["x", "c1"], ["h"], name="/fc/MatMul"),
        helper.make_node("Div", ["h", "c2"], ["y"]),
    ]
    path = save(tmp_path / "a.onnx", model(nodes))
    found = read(path)
    assert list(found) == ["fc.weight"]
    assert np.array_equal(found["fc.weight"], value.T)
    np.savez(tmp_path / "new.npz", **{"fc.weight": value.T + 1})
    converter.convert(tmp_path / "new.npz", tmp_path / "b.onnx", like=path)
    assert np.array_equal(read(tmp_path / "b.onnx")["fc.weight"], value.T + 1)
    after = onnx.load(tmp_path / "b.onnx")
    assert after.graph.node[1] == onnx.load(path).graph.node[1]


def test_weights_in_a_branch_are_read(tmp_path):
    def branch(name: str, value: np.ndarray) -> Any:
        node = helper.make_node("MatMul", ["x", f"{name}.w"], [f"{name}_y"], name=f"/{name}/MatMul")
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        return helper.make_graph([node], name, [], [out], [tensor(f"{name}.w", value)])

    arrays = {"yes.w": floats(2, 3), "no.w": floats(2, 3)}
    node = helper.make_node(
        "If",
        ["condition"],
        ["y"],
        then_branch=branch("yes", arrays["yes.w"]),
        else_branch=branch("no", arrays["no.w"]),
    )
    made = model([node], [tensor("condition", np.array(True))], producer="pytorch")
    path = save(tmp_path / "a.onnx", made)
    found = read(path)
    assert {key: value.tobytes() for key, value in found.items()} == {
        key: value.tobytes() for key, value in arrays.items()
    }
    np.savez(tmp_path / "new.npz", **{key: value * 2 for key, value in found.items()})
    converter.convert(tmp_path / "new.npz", tmp_path / "b.onnx", like=path)
    for key, value in read(tmp_path / "b.onnx").items():
        assert np.array_equal(value, arrays[key] * 2)


# Recurrent layers


def test_a_gru_that_resets_before_is_said(tmp_path):
    arrays = {"W": floats(1, 9, 4), "R": floats(1, 9, 3), "B": floats(1, 18)}
    path = one_node(tmp_path, "GRU", arrays, name="top/gru/GRU", hidden_size=3)
    with OnnxCheckpoint(path) as found:
        assert found.manifest.notices == (
            "The GRU 'top.gru' resets before the matrix product (linear_before_reset=0), which "
            "torch.nn.GRU does not.",
        )
        assert {spec.name: spec.shape for spec in found.manifest} == {
            "top.gru.weight_ih_l0": (9, 4),
            "top.gru.weight_hh_l0": (9, 3),
            "top.gru.bias_ih_l0": (9,),
            "top.gru.bias_hh_l0": (9,),
        }
        z, r, h = np.split(arrays["W"][0], 3)
        assert np.array_equal(found.read("top.gru.weight_ih_l0"), np.concatenate([r, z, h]))


def test_a_recurrent_tensor_of_other_sizes_is_refused(tmp_path):
    arrays = {"W": floats(1, 10, 4), "R": floats(1, 12, 3), "B": floats(1, 24)}
    path = one_node(tmp_path, "LSTM", arrays, name="/rnn/LSTM", hidden_size=3)
    with pytest.raises(converter.CheckpointError, match="does not fit the LSTM node"):
        open_checkpoint(path)
