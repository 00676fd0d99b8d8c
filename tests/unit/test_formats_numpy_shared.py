"""A real pair: the MTCNN P-Net as a get_weights() list of Keras and as a file of PyTorch.

The files are not part of this repository; the tests run where the folder is there.
"""

import pickle

import numpy as np
import pytest
from support.tensor_files import SHARED

import converter
from converter.errors import ProblemsError

pytest.importorskip("keras")
pytest.importorskip("lz4.frame")
from support.keras_models import mtcnn_pnet as pnet

LIST = SHARED / "mtcnn-pnet-keras-weights.joblib.lz4"
TORCH = SHARED / "mtcnn-pnet-facenet.pt"
OTHER = SHARED / "dl4j-mtcnn-12net.h5"
pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.skipif(not SHARED.exists(), reason="the shared checkpoints are not here"),
]


def test_the_list_is_the_file_of_pytorch_bit_for_bit(tmp_path):
    pnet().save(tmp_path / "pnet.keras")
    ways = ({"like": tmp_path / "pnet.keras"}, {"architecture": tmp_path / "pnet.keras"})
    for options in ways:
        with converter.open(LIST, **options) as source, converter.open(TORCH) as expected:
            found = converter.plan(source, to="torch").arrays()
            assert set(found) == set(expected.manifest.tensors)
            assert len(found) == 13
            for name, array in found.items():
                assert array.dtype == expected.read(name).dtype
                assert array.tobytes() == expected.read(name).tobytes(), name


def test_it_becomes_the_model_and_the_list_again(tmp_path):
    model = pnet()
    model.save(tmp_path / "pnet.keras")
    converter.convert(LIST, tmp_path / "pnet.weights.h5", like=tmp_path / "pnet.keras")
    model.load_weights(tmp_path / "pnet.weights.h5")
    with converter.open(LIST) as source:
        expected = [source.read(name) for name in source.manifest.tensors]
    (tmp_path / "again.pkl").write_bytes(pickle.dumps(model.get_weights()))
    with converter.open(tmp_path / "again.pkl", like=model) as again:
        found = [again.read(name) for name in again.manifest.tensors]
    assert len(found) == 13
    for one, other in zip(found, expected, strict=True):
        assert one.tobytes() == other.tobytes()


def test_the_pair_is_validated_as_equal(tmp_path):
    pnet().save(tmp_path / "pnet.keras")
    source = converter.open(LIST, like=tmp_path / "pnet.keras")
    report = converter.validate(source, TORCH)
    assert report.compared == 13
    assert report.level == "values"
    assert not report.rows, "only what differs has a row"


def test_weights_of_another_training_are_said_to_differ(tmp_path):
    source = converter.open(LIST, like=pnet("PReLU", ("conv4-2", "conv4-1")))
    report = converter.validate(source, OTHER)
    assert [row.verdict for row in report.rows] == ["fail"] * 13


def test_a_model_whose_heads_are_in_another_order_is_refused():
    with pytest.raises(ProblemsError) as error:
        converter.open(LIST, like=OTHER)
    assert [problem.kind for problem in error.value.problems] == ["mismatched"] * 4
    assert "expected (1, 1, 32, 2), found (1, 1, 32, 4)" in str(error.value)


def test_the_values_are_those_that_joblib_loads():
    joblib = pytest.importorskip("joblib")
    with converter.open(LIST) as source:
        for name, expected in zip(source.manifest.tensors, joblib.load(LIST), strict=True):
            assert np.array_equal(source.read(name), expected)
