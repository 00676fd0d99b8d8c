"""Pickled arrays against NumPy, pickle and joblib themselves; and the names that lists get."""

import collections
import pickle

import joblib
import ml_dtypes
import numpy as np
import pytest

import converter
from converter.errors import (
    CheckpointError,
    MissingDependencyError,
    ProblemsError,
    UnsafeFileError,
    UnsupportedFileError,
    UsageError,
)
from converter.formats import joblib_compression
from converter.formats.registry import open_checkpoint
from converter.tensors.dtype import get_dtype
from converter.tensors.manifest import Manifest
from converter.tensors.spec import TensorSpec


class Subclass(np.ndarray):
    """Whatever else it means than an array is lost on us."""


every_protocol = pytest.mark.parametrize("protocol", range(6))


def arrays():
    """Return every kind of number and layout: orders, axes, byte orders, ranks 0 and empty."""
    random = np.random.default_rng(0)
    base = random.normal(size=(3, 4, 5))
    return [
        base.astype("f4"),
        np.asfortranarray(base),
        base.transpose(1, 0, 2),
        base[:, ::2],
        base.astype(">f4"),
        np.asfortranarray(base.astype(">c16")),
        random.normal(size=(50, 60)),
        np.array(7, "i8"),
        np.float32(3),
        np.zeros((0, 3), "f2"),
        np.array([True, False]),
        random.integers(0, 255, 900).astype("u1"),
        base[0].astype(ml_dtypes.bfloat16),
    ]


def assert_holds(path, names, expected, **options):
    with open_checkpoint(path, **options) as checkpoint:
        assert checkpoint.format == "numpy_pickle"
        assert list(checkpoint.manifest.tensors) == names
        for spec, array in zip(checkpoint.manifest, expected, strict=True):
            found = checkpoint.read(spec.name)
            assert (found.shape, found.dtype) == (array.shape, array.dtype.newbyteorder("="))
            assert (spec.shape, spec.dtype) == (array.shape, get_dtype(found.dtype))
            assert np.array_equal(found, array)
            assert not found.flags.writeable
            checkpoint.release(spec.name)
            assert checkpoint.read(spec.name).tobytes() == found.tobytes()


def positions(count):
    return [str(position) for position in range(count)]


@every_protocol
class TestWhatPickleWrites:
    def test_a_list_is_named_by_position(self, tmp_path, protocol):
        expected = arrays()
        for value in (expected, tuple(expected)):
            (tmp_path / "w.pkl").write_bytes(pickle.dumps(value, protocol))
            assert_holds(tmp_path / "w.pkl", positions(len(expected)), expected)

    def test_a_dict_has_names(self, tmp_path, protocol):
        named = {f"conv{i}.weight": array for i, array in enumerate(arrays())}
        for value in (named, collections.OrderedDict(named)):
            (tmp_path / "w.pkl").write_bytes(pickle.dumps(value, protocol))
            assert_holds(tmp_path / "w.pkl", list(named), list(named.values()))
        with open_checkpoint(tmp_path / "w.pkl") as checkpoint:
            assert checkpoint.manifest.family == "torch"

    def test_the_one_list_in_a_dict_is_taken_and_the_rest_is_said(self, tmp_path, protocol):
        value = {"epoch": 3, "weights": arrays(), "note": "x"}
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(value, protocol))
        assert_holds(tmp_path / "w.pkl", positions(len(arrays())), arrays())
        assert_holds(tmp_path / "w.pkl", positions(len(arrays())), arrays(), select="weights")
        with open_checkpoint(tmp_path / "w.pkl") as checkpoint:
            assert checkpoint.manifest.notices == (
                "The arrays are under 'weights'; left out: 'epoch', 'note'.",
            )

    def test_nested_lists_have_paths_for_names(self, tmp_path, protocol):
        one, two, three = arrays()[:3]
        value = {"conv": [one, two], "dense": {"kernel": three}, "epoch": 3}
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(value, protocol))
        names = ["conv/0", "conv/1", "dense/kernel"]
        assert_holds(tmp_path / "w.pkl", names, [one, two, three])
        with open_checkpoint(tmp_path / "w.pkl") as checkpoint:
            assert checkpoint.manifest.family is None
            assert checkpoint.manifest.notices == ("'epoch' is left out: it is no array (int).",)

    @pytest.mark.parametrize("compress", [0, ("zlib", 3), ("gzip", 9), ("lz4", 3)])
    def test_joblib(self, tmp_path, protocol, compress):
        if compress and compress[0] == "lz4":
            pytest.importorskip("lz4.frame")
        joblib.dump(arrays(), tmp_path / "w.joblib", compress=compress, protocol=protocol)
        assert_holds(tmp_path / "w.joblib", positions(len(arrays())), arrays())


def test_numpy_1_names_the_same_functions_elsewhere(tmp_path):
    data = pickle.dumps(arrays(), 2).replace(b"numpy._core.", b"numpy.core.")
    assert b"_core" not in data
    (tmp_path / "w.pkl").write_bytes(data)
    assert_holds(tmp_path / "w.pkl", positions(len(arrays())), arrays())


# numpy 1.x under Python 2: pickle.dumps([numpy.arange(3, dtype="f4")], protocol); texts are bytes.
PYTHON_2 = {
    0: rb"(lp0"
    b"\n"
    rb"cnumpy.core.multiarray"
    b"\n"
    rb"_reconstruct"
    b"\np1\n(cnumpy\nndarray\n"
    b"p2\n(I0\ntp3\nS'b'\np4\ntp5\nRp6\n(I1\n(I3\ntp7\ncnumpy\ndtype\np8\n(S'f4'\np9\nI0\nI1\ntp10\n"
    b"Rp11\n(I3\nS'<'\np12\nNNNI-1\nI-1\nI0\ntp13\nbI00\n"
    rb"S'\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@'"
    b"\np14\ntp15\nba.",
    2: b"\x80\x02]q\x00cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85"
    b"q\x03"
    b"U\x01bq\x04\x87q\x05Rq\x06(K\x01K\x03\x85q\x07cnumpy\ndtype\nq\x08U\x02f4q\tK\x00K\x01\x87q\n"
    b"Rq\x0b(K\x03U\x01<q\x0cNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\rb\x89U\x0c"
    b"\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@q\x0etq\x0fba.",
}


@pytest.mark.parametrize("protocol", PYTHON_2)
def test_what_python_2_wrote_is_read(tmp_path, protocol):
    expected = [np.arange(3, dtype="f4")]
    assert np.array_equal(pickle.loads(PYTHON_2[protocol], encoding="latin1"), expected)
    (tmp_path / "w.pkl").write_bytes(PYTHON_2[protocol])
    assert_holds(tmp_path / "w.pkl", ["0"], expected)


def test_a_large_array_is_a_map_of_the_file(tmp_path):
    array = np.arange(2_000_000, dtype="f4")
    for write in (
        lambda path: path.write_bytes(pickle.dumps([array], 5)),
        lambda path: joblib.dump([array], path),
    ):
        write(tmp_path / "w.pkl")
        with open_checkpoint(tmp_path / "w.pkl") as checkpoint:
            found = checkpoint.read("0")
            assert np.array_equal(found, array)
            assert found.base is not None
            assert not found.flags.owndata


class TestRefusals:
    def refused(self, tmp_path, value, kind=UnsupportedFileError):
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(value))
        with pytest.raises(kind) as error:
            open_checkpoint(tmp_path / "w.pkl")
        return str(error.value)

    def test_an_array_of_objects(self, tmp_path):
        assert self.refused(tmp_path, [np.array([{}, 1], dtype=object)]) == (
            "cannot read 'w.pkl': an array in it does not hold plain numbers\n"
            "  found  NumPy type 'O8'"
        )

    @pytest.mark.parametrize(
        "array", [np.array(["x"]), np.zeros(2, [("a", "f4")]), np.zeros(2, "V2")]
    )
    def test_an_array_of_no_numbers(self, tmp_path, array):
        assert "does not hold plain numbers" in self.refused(tmp_path, [array])

    @pytest.mark.parametrize(
        "array", [np.ma.masked_array(np.ones(3), [0, 1, 0]), np.ones(3).view(Subclass)]
    )
    def test_a_subclass(self, tmp_path, array):
        assert "no array of NumPy" in self.refused(tmp_path, [np.ones(2), array])

    def test_something_else_in_a_list_would_shift_its_positions(self, tmp_path):
        assert self.refused(tmp_path, [np.ones(2), None]) == (
            "cannot read 'w.pkl': '1' in its list is no array of NumPy\n  found  'NoneType'"
        )

    def test_joblib_objects(self, tmp_path):
        joblib.dump([np.array([None, 1], dtype=object)], tmp_path / "w.pkl")
        with pytest.raises(UnsupportedFileError, match="does not hold plain numbers"):
            open_checkpoint(tmp_path / "w.pkl")

    def test_a_key_that_is_not_there(self, tmp_path):
        (tmp_path / "w.pkl").write_bytes(pickle.dumps({"a": np.ones(2)}))
        with pytest.raises(CheckpointError, match="it has nothing under 'b'") as error:
            open_checkpoint(tmp_path / "w.pkl", select="b")
        assert error.value.facts == (("keys", "'a'"),)

    def test_buffers_outside_of_the_file(self, tmp_path):
        data = pickle.dumps([np.ones(3)], 5, buffer_callback=[].append)
        (tmp_path / "w.pkl").write_bytes(data)
        with pytest.raises(UnsafeFileError, match="outside of it, in buffers"):
            open_checkpoint(tmp_path / "w.pkl")

    @pytest.mark.parametrize("compress", ["bz2", "xz", "lzma"])
    def test_compressions_without_a_bound(self, tmp_path, compress):
        joblib.dump(arrays(), tmp_path / "w.joblib", compress=(compress, 3))
        with pytest.raises(UnsupportedFileError, match="which is not read"):
            open_checkpoint(tmp_path / "w.joblib")

    def test_lz4_that_is_not_installed_is_said(self, tmp_path, monkeypatch):
        (tmp_path / "w.joblib").write_bytes(b"\x04\x22\x4d\x18\x40" + bytes(40))
        monkeypatch.setattr("converter.formats.sniffing.is_installed", lambda name: False)
        monkeypatch.setattr("converter._optional.is_installed", lambda name: False)
        with pytest.raises(MissingDependencyError) as error:
            open_checkpoint(tmp_path / "w.joblib")
        assert str(error.value) == (
            "cannot read 'w.joblib': it is compressed: lz4 is not installed\n"
            '  install  pip install "weightferry[lz4]"'
        )
        assert joblib_compression.compression_of(b"\x04\x22\x4d\x18\x20 no frame") is None


class TestPositions:
    LIKE = Manifest.of(
        [
            TensorSpec("dense/kernel", (3, 5), get_dtype("float32")),
            TensorSpec("dense/bias", (5,), get_dtype("float32")),
        ],
        family="keras",
    )

    def dump(self, tmp_path, value):
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(value))
        return tmp_path / "w.pkl"

    def test_lists_get_the_names_of_a_model(self, tmp_path):
        values = [np.ones((3, 5)), np.arange(5.0)]
        path = self.dump(tmp_path, values)
        np.savez(tmp_path / "w.npz", *values)
        (tmp_path / "w").mkdir()
        for position, value in enumerate(values):
            np.save(tmp_path / "w" / f"{position}.npy", value)
        for source in (path, tmp_path / "w.npz", tmp_path / "w"):
            with converter.open(source, like=self.LIKE) as checkpoint:
                assert list(checkpoint.manifest.tensors) == ["dense/kernel", "dense/bias"]
                assert checkpoint.manifest.family == "keras"
                assert "got those of the model by their positions" in checkpoint.manifest.notices[0]
                assert checkpoint.read("dense/bias").tolist() == [0, 1, 2, 3, 4]

    def test_every_difference_is_listed(self, tmp_path):
        path = self.dump(tmp_path, [np.ones((5, 3), "f4"), np.ones(5), np.ones(2)])
        with pytest.raises(ProblemsError) as error:
            converter.open(path, like=self.LIKE)
        assert str(error.value) == (
            "cannot read 'w.pkl': its 3 arrays are not the 2 weights of the model\n"
            "  mismatched  array 0, 'dense/kernel'  expected (3, 5), found (5, 3)\n"
            "  unexpected  array 2  (2,) float64"
        )
        with pytest.raises(ProblemsError, match=r"missing  dense/bias  \(5,\) float32"):
            converter.open(self.dump(tmp_path, [np.ones((3, 5))]), like=self.LIKE)

    def test_a_list_without_names_is_not_converted(self, tmp_path):
        path = self.dump(tmp_path, [np.ones((3, 5)), np.ones(5)])
        with pytest.raises(UsageError) as error:
            converter.plan(path, to="torch")
        assert str(error.value) == (
            "cannot convert w.pkl: its arrays have no names\n"
            "  hint  say whose get_weights() they are: architecture=model.keras (on the command "
            "line: --architecture)"
        )

    def test_what_has_names_keeps_them(self, tmp_path):
        path = self.dump(tmp_path, {"a": np.ones((3, 5)), "b": np.ones(5)})
        with converter.open(path, like=self.LIKE) as checkpoint:
            assert list(checkpoint.manifest.tensors) == ["a", "b"]

    def test_a_model_of_pytorch_has_no_such_order(self, tmp_path):
        np.savez(tmp_path / "m.npz", **{"conv.weight": np.ones(2)})
        path = self.dump(tmp_path, [np.ones(2)])
        with pytest.raises(UsageError, match="it is no Keras model"):
            converter.open(path, architecture=tmp_path / "m.npz")
