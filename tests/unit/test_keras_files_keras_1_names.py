"""Keras 1 files: names, classes that are gone, nested models, and what is said about guesses."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from support.keras_1_files import sequential, values, write_keras_1

import converter
from converter.errors import UsageError
from converter.formats.keras_legacy import KerasLegacy

KERNEL = {"convolution2d_1_W": values(5, 3, 2, 2), "convolution2d_1_b": values(5)}


def names(path: Path, **options: object) -> list[str]:
    with converter.open(path, **options) as found:
        return list(found.manifest.tensors)


def notices(path: Path, **options: object) -> tuple[str, ...]:
    with converter.open(path, **options) as found:
        return found.manifest.notices


def test_guesses_are_said_with_the_option_that_decides(tmp_path: Path) -> None:
    path = write_keras_1(tmp_path / "a.h5", {"convolution2d_1": KERNEL})
    assert notices(path) == (
        "Keras 1 wrote it: weights have the names and layouts of Keras 3, and layers without a "
        "name of their own too ('conv2d_1' for 'convolution2d_1').",
        "names of weights with ':0' are of TensorFlow: convolution kernels are not turned. If "
        "they are Theano's, choose so: --select th_kernels.",
        "kernels are taken to lie as (out, in, height, width), as the sizes of 1 of 1 kernels and "
        "biases suggest. Give the architecture (--architecture model.json) to be certain, or "
        "choose otherwise: --select tf_dim_ordering.",
        "assumed from names and shapes: conv2d_1 (Conv2D)",
    )
    chosen = "th_dim_ordering_tf_kernels"
    said = notices(path, select=chosen)
    assert said == (notices(path)[0], notices(path)[3])


def test_a_kernel_of_equal_sizes_follows_its_backend_and_says_so(tmp_path: Path) -> None:
    layers = {"convolution2d_1": {"convolution2d_1_W": values(3, 3, 3, 3)}}
    for suffix, order in (("", "(out, in, height, width)"), (":0", "(height, width, in, out)")):
        path = write_keras_1(tmp_path / f"a{len(suffix)}.h5", layers, suffix=suffix)
        said = f"kernels are taken to lie as {order}, which nothing in the file shows."
        assert any(one.startswith(said) for one in notices(path))


@pytest.mark.parametrize("text", ["", "_", "theano", "th_kernels_tf_dim_ordering", "model"])
def test_a_choice_that_means_nothing_is_refused(tmp_path: Path, text: str) -> None:
    path = write_keras_1(tmp_path / "a.h5", {"convolution2d_1": KERNEL})
    with pytest.raises(UsageError, match="a Keras file is one model") as error:
        converter.open(path, select=text)
    assert "th_dim_ordering or tf_dim_ordering, th_kernels or tf_kernels" in str(error.value.hint)


def test_a_choice_for_a_file_of_keras_2_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"d"]
        file.attrs["keras_version"] = b"2.4.0"
        file.create_group("d").attrs["weight_names"] = [b"d/kernel:0"]
        file["d"].create_dataset("d/kernel:0", data=values(2, 3))
    with pytest.raises(UsageError, match="a Keras file is one model"):
        KerasLegacy(path, select="th_kernels")
    assert names(path) == ["d/kernel"]


def test_layers_that_are_gone_keep_their_arrays_and_are_named(tmp_path: Path) -> None:
    arrays = {f"way_{name}": values(4, 4, seed=at) for at, name in enumerate(["W", "W_carry"])}
    arrays |= {f"way_{name}": values(4, seed=at) for at, name in enumerate(["b", "b_carry"])}
    config = sequential(("Highway", {"name": "way", "bias": True}))
    path = write_keras_1(tmp_path / "a.h5", {"way": arrays}, config=config)
    assert names(path) == ["way/W", "way/W_carry", "way/b", "way/b_carry"]
    assert "kept as Keras 1 named and laid them out: 'way' (Highway)." in notices(path)
    with converter.open(path) as found:
        assert np.array_equal(found.read("way/W_carry"), arrays["way_W_carry"])
        assert found.manifest.layers[-1].class_name == "Highway"
    target = tmp_path / "a.safetensors"
    converter.convert(path, target)
    assert names(target) == ["way.W", "way.W_carry", "way.b", "way.b_carry"]


def test_a_model_that_comes_first_is_dissolved_and_merges_have_their_class(tmp_path: Path) -> None:
    inner = sequential(("Dense", {"name": "dense_1", "output_dim": 3}))
    inner = {"class_name": "Sequential", "config": inner["config"]}
    config = {"class_name": "Sequential", "config": [
        inner,
        {"class_name": "Merge", "config": {"name": "merge_1", "mode": "sum"}},
        {"class_name": "Dense", "config": {"name": "dense_2", "output_dim": 2}},
    ]}  # fmt: skip
    layers = {
        "dense_1": {"dense_1_W": values(4, 3), "dense_1_b": values(3)},
        "merge_1": {},
        "dense_2": {"dense_2_W": values(3, 2), "dense_2_b": values(2)},
    }
    path = write_keras_1(tmp_path / "a.h5", layers, config=config)
    assert names(path) == ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    with converter.open(path) as found:
        assert [one.class_name for one in found.manifest.layers] == ["Dense", "Add", "Dense"]


def test_wrapped_and_nested_layers_and_names_that_tensorflow_numbered(tmp_path: Path) -> None:
    wrapped = {"class_name": "Dense", "config": {"name": "dense_1", "output_dim": 3}}
    nested = {"class_name": "Model", "config": {
        "name": "encoder", "layers": [
            {"class_name": "InputLayer", "name": "input_1", "inbound_nodes": [],
             "config": {"name": "input_1", "batch_input_shape": [None, 5, 3]}},
            {"class_name": "TimeDistributedDense", "name": "each", "config": {"name": "each"},
             "inbound_nodes": [[["input_1", 0, 0]]]},
        ],
        "input_layers": [["input_1", 0, 0]], "output_layers": [["each", 0, 0]]}}  # fmt: skip
    config = sequential(("TimeDistributed", {"name": "timedistributed_1", "layer": wrapped}))
    config["config"].append(nested)
    layers = {
        "timedistributed_1": {"dense_1_W_1": values(4, 3), "dense_1_b_1": values(3)},
        "encoder": {"each_W": values(3, 2), "each_b": values(2)},
    }
    path = write_keras_1(tmp_path / "a.h5", layers, config=config)
    assert names(path) == [
        "time_distributed/dense/kernel",
        "time_distributed/dense/bias",
        "encoder/each/kernel",
        "encoder/each/bias",
    ]
    with converter.open(path) as found:
        classes = {layer.path: layer.class_name for layer in found.manifest.layers}
    assert classes["time_distributed"] == "TimeDistributed"
    assert classes["encoder/each"] == "Dense"


def test_arrays_that_do_not_fit_together_are_kept_apart(tmp_path: Path) -> None:
    arrays = {f"lstm_1_{w}_{g}": values(3, 5) for w in "WU" for g in "ico"}
    arrays |= {f"lstm_1_{w}_f": values(4, 5) for w in "WU"}
    path = write_keras_1(tmp_path / "a.h5", {"lstm_1": arrays})
    assert len(names(path)) == 8
    assert notices(path)[-1].startswith("kept as Keras 1 named and laid them out: 'lstm_1' (LSTM)")


def test_the_version_is_in_the_metadata(tmp_path: Path) -> None:
    bare = write_keras_1(tmp_path / "a.h5", {"convolution2d_1": KERNEL})
    whole = write_keras_1(tmp_path / "b.h5", {"dense_1": {"dense_1_W": values(3, 2)}},
                          config=sequential(("Dense", {"name": "dense_1"})))  # fmt: skip
    for path, version in ((bare, "1"), (whole, "1.2.2")):
        with converter.open(path) as found:
            assert found.manifest.metadata["keras_version"] == version
