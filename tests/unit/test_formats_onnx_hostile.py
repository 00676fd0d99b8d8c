"""ONNX files that lie, point elsewhere or never end are one clear error of our own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402 - after the skip
from support.onnx_files import model, save, tensor  # noqa: E402 - as above

from converter.errors import (  # noqa: E402 - as above
    CheckpointError,
    CorruptFileError,
    UnsafeFileError,
    UnsupportedFileError,
)
from converter.formats import onnx_wire  # noqa: E402 - as above
from converter.formats.onnx_layout import message  # noqa: E402 - as above
from converter.formats.onnx_reader import OnnxCheckpoint  # noqa: E402 - as above
from converter.formats.registry import open_checkpoint  # noqa: E402 - as above

OPSET = message(8, b"\x10\x14")
NAME = message(8, b"a.weight")


def raw(*fields: bytes) -> bytes:
    """Return a file whose graph holds one initializer of these fields."""
    return b"\x08\x0a" + message(7, message(5, b"".join(fields))) + OPSET


def refused(path: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        read_everything(path)


def read_everything(path: Any) -> None:
    with OnnxCheckpoint(path) as found:
        for name in found.manifest.tensors:
            found.read(name).tobytes()


FLOAT = b"\x10\x01"
TWO = b"\x08\x02"
CASES = {
    "no graph": (b"\x08\x0a" + OPSET, CorruptFileError, "it has 0 graphs, not one"),
    "two graphs": (raw(NAME) + message(7, b""), CorruptFileError, "it has 2 graphs, not one"),
    "no version": (raw(NAME)[2:], CorruptFileError, "does not say its version of ONNX"),
    "no operators": (
        raw(NAME).removesuffix(OPSET),
        CorruptFileError,
        "does not say its version of operators",
    ),
    "no weights": (b"\x08\x0a" + message(7, b"") + OPSET, CheckpointError, "without weights"),
    "no name": (raw(TWO, FLOAT, message(9, bytes(8))), CorruptFileError, "without a name"),
    "name of bytes": (raw(message(8, b"\xff")), CorruptFileError, "a text is not UTF-8"),
    "long name": (
        raw(message(8, b"a" * (2**16 + 1))),
        UnsafeFileError,
        "it has a name of more than 65,536 bytes",
    ),
    "negative size": (
        raw(b"\x08" + b"\xff" * 9 + b"\x01", FLOAT, NAME, message(9, bytes(8))),
        CorruptFileError,
        "has a negative size",
    ),
    "overflow": (
        raw((b"\x08" + b"\xff" * 4 + b"\x0f") * 4, FLOAT, NAME),
        UnsafeFileError,
        "is larger than any tensor",
    ),
    "overflow beside zero": (
        raw(b"\x08\x00" + (b"\x08" + b"\xff" * 4 + b"\x0f") * 4, FLOAT, NAME),
        UnsafeFileError,
        "is larger than any tensor",
    ),
    "rank 33": (
        raw(b"\x08\x01" * 33, FLOAT, NAME, message(9, bytes(4))),
        UnsafeFileError,
        "has 33 axes",
    ),
    "type 0": (raw(TWO, NAME, message(9, bytes(8))), CorruptFileError, r"is of no type \(0\)"),
    "type 99": (raw(TWO, b"\x10\x63", NAME), CorruptFileError, r"is of no type \(99\)"),
    "values too short": (
        raw(TWO, FLOAT, NAME, message(9, bytes(7))),
        CorruptFileError,
        "does not have as many values as it says",
    ),
    "values too long": (
        raw(TWO, FLOAT, NAME, message(9, bytes(9))),
        CorruptFileError,
        "does not have as many values as it says",
    ),
    "no values": (raw(TWO, FLOAT, NAME), CorruptFileError, "in one field that fits its type"),
    "values twice": (
        raw(TWO, FLOAT, NAME, message(9, bytes(8)), message(9, bytes(8))),
        CorruptFileError,
        "has its values twice",
    ),
    "values in two fields": (
        raw(TWO, FLOAT, NAME, message(9, bytes(8)), message(4, bytes(8))),
        CorruptFileError,
        "in one field that fits its type",
    ),
    "values in the wrong field": (
        raw(TWO, FLOAT, NAME, message(10, bytes(16))),
        CorruptFileError,
        "in one field that fits its type",
    ),
    "int8 of 300": (
        raw(b"\x08\x01\x10\x03", NAME, message(5, b"\xac\x02")),
        CorruptFileError,
        "has a value that is no int8",
    ),
    "bool of 2": (
        raw(b"\x08\x01\x10\x09", NAME, message(9, b"\x02")),
        CorruptFileError,
        "what is no truth value",
    ),
    "segment": (
        raw(TWO, FLOAT, NAME, message(3, b"\x08\x00"), message(9, bytes(8))),
        UnsupportedFileError,
        "is only a segment of a tensor",
    ),
    "int4": (raw(TWO, b"\x10\x16", NAME, message(9, b"\0")), CheckpointError, "without weights"),
    "group": (raw(NAME, b"\x0b\x0c"), CorruptFileError, "of a kind that ONNX does not have"),
    "field 0": (raw(NAME, b"\x02\x00"), CorruptFileError, "longer than what holds it"),
    "endless number": (raw(NAME, b"\x08" + b"\x80" * 12), CorruptFileError, "does not end"),
    "field beyond its message": (
        b"\x08\x0a" + message(7, b"\x2a\x7f") + OPSET,
        CorruptFileError,
        "longer than what holds it",
    ),
    "graph as a number": (b"\x08\x0a\x38\x01" + OPSET, CorruptFileError, "of another kind"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_contradicts_itself_is_refused(tmp_path, name):
    data, error, why = CASES[name]
    path = tmp_path / "a.onnx"
    path.write_bytes(data)
    refused(path, error, why)


def test_a_name_twice_is_refused(tmp_path):
    made = model(initializers=[tensor("a.weight", np.ones(2, np.float32))] * 2)
    refused(save(tmp_path / "a.onnx", made), CorruptFileError, "two of its tensors have one name")


def test_sparse_tensors_are_refused(tmp_path):
    made = model(initializers=[tensor("a.weight", np.ones(2, np.float32))])
    sparse = made.graph.sparse_initializer.add()
    sparse.values.CopyFrom(tensor("b.weight", np.ones(1, np.float32)))
    sparse.indices.CopyFrom(tensor("", np.zeros(1, np.int64)))
    sparse.dims.append(3)
    refused(save(tmp_path / "a.onnx", made), UnsupportedFileError, "it holds sparse tensors")


def test_graphs_in_graphs_end(tmp_path):
    graph = b""
    for _ in range(30):
        graph = message(1, message(4, b"If") + message(5, message(1, b"g") + message(6, graph)))
    path = tmp_path / "a.onnx"
    path.write_bytes(b"\x08\x0a" + message(7, graph) + OPSET)
    refused(path, UnsafeFileError, "it has graphs in graphs, 21 deep")


def test_a_file_above_two_gigabytes_is_refused_unread(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(raw(NAME))
    os.truncate(path, 2**31)
    refused(path, UnsafeFileError, "it is too large for this kind of file")


def test_millions_of_fields_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_wire, "MAX_FIELDS", 20_000)
    path = tmp_path / "a.onnx"
    path.write_bytes(b"\x08\x0a" + message(7, message(1, b"") * 20_000) + OPSET)
    refused(path, UnsafeFileError, "it has more than 20,000 fields")


def test_a_declared_size_costs_no_memory(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(raw(b"\x08" + b"\xff" * 5 + b"\x0f", FLOAT, NAME, message(9, bytes(8))))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, CorruptFileError, "does not have as many values as it says")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def elsewhere(path: Any, entries: list[tuple[str, str]], **options: Any) -> Any:
    """Write a model whose one weight, of 8 bytes, is in another file."""
    made = TensorProto(name="a.weight", dims=[2], data_type=TensorProto.FLOAT)
    made.data_location = options.get("location", TensorProto.EXTERNAL)
    for key, text in entries:
        made.external_data.add(key=key, value=text)
    made.raw_data = options.get("data", b"")
    return save(path, model(initializers=[made]))


class TestOtherFiles:
    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "model"
        (folder / "below").mkdir(parents=True)
        values = np.array([1.5, 2.5], np.float32).tobytes()
        (folder / "w.bin").write_bytes(bytes(4) + values)
        (folder / "below" / "w.bin").write_bytes(values)
        (tmp_path / "secret.bin").write_bytes(values)
        return folder

    @pytest.mark.parametrize(
        "entries",
        [
            [("location", "w.bin"), ("offset", "4")],
            [("location", "w.bin"), ("offset", "4"), ("length", "8")],
            [("location", "below/w.bin")],
            [("location", "./below/w.bin")],
        ],
    )
    def test_those_beside_and_below_are_read(self, folder, entries):
        with open_checkpoint(elsewhere(folder / "m.onnx", entries)) as found:
            assert found.read("a.weight").tolist() == [1.5, 2.5]

    @pytest.mark.parametrize(
        "location",
        [
            "../secret.bin",
            "below/../../secret.bin",
            "/etc/hostname",
            "~/w.bin",
            "file:w.bin",
            "..\\secret.bin",
            "w.bin\0.txt",
            "././w.bin",
            "",
            "a" * 300,
        ],
    )
    def test_names_that_lead_elsewhere_are_refused(self, folder, location):
        path = elsewhere(folder / "m.onnx", [("location", location)])
        refused(path, UnsafeFileError, "it names a file outside its own folder")

    def test_links_are_refused(self, folder):
        (folder / "link.bin").symlink_to(folder.parent / "secret.bin")
        path = elsewhere(folder / "m.onnx", [("location", "link.bin")])
        refused(path, UnsafeFileError, "it is a link")
        (folder / "up").symlink_to(folder.parent)
        path = elsewhere(folder / "m.onnx", [("location", "up/secret.bin")])
        refused(path, UnsafeFileError, "it is a link")

    def test_files_of_several_names_are_refused(self, folder):
        os.link(folder.parent / "secret.bin", folder / "hard.bin")
        path = elsewhere(folder / "m.onnx", [("location", "hard.bin")])
        refused(path, UnsafeFileError, "it is a file of several names")

    def test_pipes_are_refused_and_do_not_block(self, folder):
        os.mkfifo(folder / "pipe.bin")
        path = elsewhere(folder / "m.onnx", [("location", "pipe.bin")])
        refused(path, UnsafeFileError, "it is not a regular file")

    def test_the_model_itself_is_refused(self, folder):
        path = elsewhere(folder / "m.onnx", [("location", "m.onnx")])
        refused(path, UnsafeFileError, "it takes one file for two")

    def test_a_file_that_is_not_there_is_said(self, folder):
        path = elsewhere(folder / "m.onnx", [("location", "lost.bin")])
        with pytest.raises(CheckpointError, match="there is no such file") as error:
            open_checkpoint(path)
        assert error.value.hint == "copy the file of weights together with the model"

    @pytest.mark.parametrize(
        ("entries", "error", "why"),
        [
            ([("offset", "5")], CorruptFileError, "lies beyond the end of its file"),
            ([("offset", "9" * 18)], CorruptFileError, "lies beyond the end of its file"),
            ([("offset", "-4")], CorruptFileError, "says a place that is no number"),
            ([("offset", "0_4")], CorruptFileError, "says a place that is no number"),
            ([("offset", "\uff14")], CorruptFileError, "says a place that is no number"),
            ([("offset", " 4")], CorruptFileError, "says a place that is no number"),
            ([("length", "12")], CorruptFileError, "does not have as many values"),
            ([("length", "4")], CorruptFileError, "does not have as many values"),
            ([("path", "x")], UnsafeFileError, "in an unknown way"),
            ([("location", "w.bin")], UnsafeFileError, "in an unknown way"),
            ([("checksum", "0" * 40)], CorruptFileError, "its SHA-1 is not the one"),
        ],
    )
    def test_entries_that_lie_are_refused(self, folder, entries, error, why):
        path = elsewhere(folder / "m.onnx", [("location", "w.bin"), *entries])
        refused(path, error, why)

    def test_a_checksum_that_fits_is_taken(self, folder):
        digest = hashlib.sha1((folder / "w.bin").read_bytes()).hexdigest()  # noqa: S324 - the format's
        path = elsewhere(folder / "m.onnx", [("location", "w.bin"), ("checksum", digest)])
        with open_checkpoint(path) as found:
            assert found.read("a.weight").tolist() == [0.0, 1.5]

    def test_values_in_both_files_are_refused(self, folder):
        path = elsewhere(folder / "m.onnx", [("location", "w.bin")], data=bytes(8))
        refused(path, CorruptFileError, "has values here and in another file")

    def test_entries_that_do_not_count_open_nothing(self, folder):
        path = elsewhere(
            folder / "m.onnx",
            [("location", "../secret.bin")],
            location=TensorProto.DEFAULT,
            data=np.array([3, 4], np.float32).tobytes(),
        )
        with open_checkpoint(path) as found:
            assert found.files == (path,)
            assert found.read("a.weight").tolist() == [3.0, 4.0]


def small() -> bytes:
    nodes = [
        helper.make_node("Constant", [], ["c"], value=tensor("", np.ones((3, 2), np.float32))),
        helper.make_node("MatMul", ["x", "c"], ["h"], name="/fc/MatMul"),
        helper.make_node("LSTM", ["h", "W", "R", "B"], ["y"], name="/l/LSTM", hidden_size=1),
    ]
    nodes[1].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'fc', 'linear']")
    initializers = [
        tensor("W", np.ones((1, 4, 2), np.float32)),
        tensor("R", np.ones((1, 4, 1), np.float32)),
        tensor("B", np.ones((1, 8), np.float32)),
        helper.make_tensor("n.count", TensorProto.INT64, [2], [3, 300]),
    ]
    return model(nodes, initializers, producer="pytorch").SerializeToString()


VALID = small()


@given(
    st.lists(
        st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=4
    ),
    st.integers(0, len(VALID)),
)
def test_damage_is_an_error_of_our_own_or_nothing(tmp_path_factory, changes, kept):
    data = bytearray(VALID)
    for place, byte in changes:
        data[place] = byte
    path = tmp_path_factory.mktemp("damaged") / "a.onnx"
    path.write_bytes(bytes(data[:kept] if kept % 3 == 0 else data))
    with contextlib.suppress(CheckpointError):
        read_everything(path)
