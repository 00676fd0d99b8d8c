"""Live Keras models: the order of get_weights(), and the names that the model's files have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
from keras import layers

from converter.errors import CheckpointError, ProblemsError
from converter.formats.base import Checkpoint
from converter.formats.registry import open_checkpoint
from converter.live.keras_model import KerasModelCheckpoint
from converter.live.opening import open_live

pytestmark = [
    pytest.mark.frameworks,
    # Keras 3.15 on the torch backend asks NumPy for arrays in a way that NumPy 2 warns about.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),
    # Keras itself warns that legacy HDF5 is legacy.
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5:UserWarning"),
]


def randomise(model: Any, seed: int = 5) -> Any:
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(generator.uniform(0.5, 1.5, variable.shape).astype("float32"))
    return model


def nested() -> Any:
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(7), layers.BatchNormalization()], name="inner"
    )
    inner.layers[0].trainable = False  # freezing moves nothing
    x = image = keras.Input((6,))
    x = layers.Dense(6)(x)
    x = inner(x)
    x = layers.Dense(5, name="head")(x)
    return keras.Model(image, x)


def composite() -> Any:
    x = sequence = keras.Input((7, 5))
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.TimeDistributed(layers.Dense(6))(x)
    x = layers.TimeDistributed(layers.Dense(9, name="proj"))(x)
    x = layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True)(x)
    x = layers.MultiHeadAttention(2, 3, value_dim=4)(x, x)
    x = layers.SpectralNormalization(layers.Dense(8))(x)
    x = layers.GRU(3)(x)
    x = layers.Dense(2)(x)
    return keras.Model(sequence, x)


def shared() -> Any:
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    layer = layers.Dense(4)
    first = layers.Dense(3, name="late")
    x = layers.Add()([first(layer(b)), layers.Dense(3)(layer(layer(a)))])
    return keras.Model([a, b], layers.Concatenate()([x, layers.PReLU()(a)]))


def branches() -> Any:
    image = keras.Input((9, 8, 3))
    one = layers.Conv2D(4, 3, padding="same", use_bias=False)(image)
    one = layers.BatchNormalization(scale=False)(one)
    two = layers.SeparableConv2D(4, 3, padding="same")(image)
    x = layers.Flatten()(one + two)
    x = layers.Embedding(5, 2)(layers.Dense(3, activation="relu")(x))
    return keras.Model(image, layers.LayerNormalization()(x))


def sequential() -> Any:
    return keras.Sequential([keras.Input((5,)), layers.Dense(4), layers.Dense(4), layers.Dense(3)])


MODELS: list[Callable[[], Any]] = [nested, composite, shared, branches, sequential]


@keras.saving.register_keras_serializable("tests")
class Attributes(keras.Model):
    """Attributes, lists, dicts, an alias, one name twice, and a list that sorts after 'layers'."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tail = [layers.Dense(3), layers.Dense(5)]
        self.blocks = {"x": layers.Dense(4), "y": [layers.Dense(6)]}
        self.one = layers.Dense(7, name="same")
        self.two = layers.Dense(8, name="same")
        self.alias = self.one
        self.bias = self.add_weight(shape=(8,), name="bias", initializer="ones")

    def call(self, x: Any) -> Any:
        x = self.two(self.one(x)) + self.bias
        x = self.blocks["y"][0](self.blocks["x"](x))
        return self.tail[1](self.tail[0](x))

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


def attributes() -> Any:
    model = Attributes(name="attributes")
    model(np.ones((2, 9), np.float32))
    return model


def layer_table(checkpoint: Checkpoint) -> list[tuple[str, str | None, dict[str, str]]]:
    return [
        (one.path, one.class_name, dict(one.tensors))
        for one in checkpoint.manifest.layers
        if one.tensors
    ]


@pytest.mark.parametrize("build", [*MODELS, attributes])
def test_order_is_that_of_get_weights(build: Callable[[], Any]) -> None:
    model = randomise(build())
    checkpoint = KerasModelCheckpoint(model)
    assert len(checkpoint.manifest) == len(model.weights)
    for name, expected in zip(checkpoint.manifest.tensors, model.get_weights(), strict=True):
        assert checkpoint.manifest[name].shape == expected.shape
        assert np.array_equal(checkpoint.read(name), expected)


@pytest.mark.parametrize("build", [*MODELS, attributes])
def test_structure_is_what_keras_writes(build: Callable[[], Any], tmp_path: Path) -> None:
    model = build()
    structure = KerasModelCheckpoint(model).structure
    path = tmp_path / "m.weights.h5"
    model.save_weights(path)
    found: dict[str, bool] = {}
    groups: dict[str, str | None] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = True
        elif name.rpartition("/")[2] == "vars":
            groups[name] = item.attrs.get("name")

    with h5py.File(path) as file:
        file.visititems(visit)
    assert sorted([*structure.store.values(), *structure.copies]) == sorted(found)
    assert dict(structure.groups) == groups
    assert structure.keras_version == keras.__version__


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("build", MODELS)
def test_names_are_those_of_the_files(
    build: Callable[[], Any], ending: str, tmp_path: Path
) -> None:
    build()  # numbers of unnamed layers go on from here
    model = randomise(build())
    path = tmp_path / f"m{ending}"
    model.save(path)
    live = KerasModelCheckpoint(model)
    with open_checkpoint(path) as file:
        assert set(file.manifest.tensors) == set(live.manifest.tensors)
        for name in live.manifest.tensors:
            assert np.array_equal(file.read(name), live.read(name)), name
        found, expected = layer_table(file), layer_table(live)
        # Legacy files do not tell what is inside the layers of a model.
        hidden = [row for row in expected if ending == ".h5" and "/" in row[0]]
        assert [row for row in found if row not in expected] == []
        assert [row for row in expected if row not in found and row not in hidden] == []
        if ending == ".keras":
            assert list(file.manifest.tensors) == list(live.manifest.tensors)
            graph = {one.path: one.inbound for one in file.manifest.layers if one.inbound}
            inbound = {one.path: one.inbound for one in live.manifest.layers}
            assert {path: inbound.get(path) for path in graph} == graph


@pytest.mark.parametrize("build", MODELS)
def test_a_model_built_later_has_the_same_manifest(build: Callable[[], Any]) -> None:
    one, two = KerasModelCheckpoint(build()), KerasModelCheckpoint(build())
    assert list(one.manifest.tensors) == list(two.manifest.tensors)
    assert [layer.path for layer in one.manifest.layers] == [
        layer.path for layer in two.manifest.layers
    ]


@pytest.mark.parametrize("build", MODELS)
def test_legacy_structure_is_what_keras_writes(build: Callable[[], Any], tmp_path: Path) -> None:
    model = build()
    structure = KerasModelCheckpoint(model).structure
    path = tmp_path / "m.h5"
    model.save(path)
    with h5py.File(path) as file:
        weights = file["model_weights"]
        written = {
            name: [str(one) for one in weights[name].attrs["weight_names"]]
            for name in [*map(str, weights.attrs["layer_names"]), "top_level_model_weights"]
        }
    expected = {name: [text for _, text in rows] for name, rows in structure.legacy.items()}
    assert expected == written


def test_one_name_twice_and_attributes() -> None:
    checkpoint = KerasModelCheckpoint(attributes())
    names = [name for name in checkpoint.manifest.tensors if name.endswith("kernel")]
    # Both layers are called 'same': their places tell them apart. The attribute 'two' sorts after
    # 'layers', which Keras saves first.
    assert {"alias/kernel", "dense_5/kernel"} <= set(names)
    assert checkpoint.structure.store["dense_5/kernel"] == "layers/dense_5/vars/0"
    assert len(names) == 6
    assert "bias" in checkpoint.manifest
    assert checkpoint.structure.store["alias/kernel"] == "alias/vars/0"


def test_one_name_twice_beside_unnamed_layers() -> None:
    class Listed(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            named = [layers.Dense(3 + index, name="same") for index in range(2)]
            self.blocks = [*named, layers.Dense(5), layers.Dense(6)]

        def call(self, x: Any) -> Any:
            for block in self.blocks:
                x = block(x)
            return x

    model = Listed()
    model(np.ones((2, 9), np.float32))
    checkpoint = KerasModelCheckpoint(model)
    kernels = [name for name in checkpoint.manifest.tensors if name.endswith("kernel")]
    assert kernels == [
        "same_dense/kernel",
        "same_dense_1/kernel",
        "dense/kernel",
        "dense_1/kernel",
    ]


def test_names_in_composites() -> None:
    names = list(KerasModelCheckpoint(composite()).manifest.tensors)
    for expected in (
        "bidirectional/forward_lstm/lstm_cell/kernel",
        "bidirectional/backward_lstm/lstm_cell/bias",
        "time_distributed/dense/kernel",
        "time_distributed_1/proj/bias",
        "rnn/stacked_rnn_cells/gru_cell/kernel",
        "multi_head_attention/attention_output/kernel",
        "spectral_normalization/vector_u",
    ):
        assert expected in names
    # A spectrally normalised layer has its vector between kernel and bias.
    place = names.index("spectral_normalization/vector_u")
    assert names[place - 1] == "spectral_normalization/dense/kernel"
    assert names[place + 1] == "spectral_normalization/dense/bias"


def test_freezing_does_not_reorder() -> None:
    model = composite()
    before = list(KerasModelCheckpoint(model).manifest.tensors)
    for layer in model.layers[::2]:
        layer.trainable = False
    assert list(KerasModelCheckpoint(model).manifest.tensors) == before


def test_a_shared_layer_is_there_once() -> None:
    manifest = KerasModelCheckpoint(shared()).manifest
    dense = next(
        one for one in manifest.layers if one.class_name == "Dense" and one.inbound == ("b", "a")
    )
    assert [name for name in manifest.tensors if name.startswith(f"{dense.path}/")] == [
        f"{dense.path}/kernel",
        f"{dense.path}/bias",
    ]


def test_graph_of_an_operation_that_is_no_layer() -> None:
    manifest = KerasModelCheckpoint(branches()).manifest
    flatten = next(one for one in manifest.layers if one.class_name == "Flatten")
    assert len(flatten.inbound) == 1
    assert flatten.inbound[0].startswith("add")


def test_config_is_plain_data() -> None:
    manifest = KerasModelCheckpoint(branches()).manifest
    conv = next(one for one in manifest.layers if one.class_name == "Conv2D")
    assert conv.config["filters"] == 4
    assert conv.config["use_bias"] is False
    assert conv.config["kernel_initializer"]["class_name"] == "GlorotUniform"


def test_optimizer_state_is_no_weight() -> None:
    model = sequential()
    plain = KerasModelCheckpoint(model).structure
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((4, 5)), np.ones((4, 3)), verbose=0)
    structure = KerasModelCheckpoint(model).structure
    assert dict(structure.store) == dict(plain.store)
    assert dict(structure.groups) == dict(plain.groups)


def test_load_and_set_weights_agree() -> None:
    model = randomise(composite())
    values = [np.asarray(value) + 1 for value in model.get_weights()]
    checkpoint = KerasModelCheckpoint(model)
    checkpoint.load(dict(zip(checkpoint.manifest.tensors, values, strict=True)))
    for value, expected in zip(model.get_weights(), values, strict=True):
        assert np.array_equal(value, expected)


def test_load_tells_all_problems_and_changes_nothing() -> None:
    model = sequential()
    checkpoint = KerasModelCheckpoint(model)
    before = model.get_weights()
    arrays = {name: checkpoint.read(name) + 1 for name in checkpoint.manifest.tensors}
    arrays["dense/kernel"] = arrays["dense/kernel"].T
    del arrays["dense_1/bias"]
    arrays["dense_9/bias"] = np.ones(3, np.float32)
    with pytest.raises(ProblemsError) as raised:
        checkpoint.load(arrays)
    assert str(raised.value) == (
        f"cannot load into '{model.name}'\n"
        "  mismatched  dense/kernel  expected (5, 4), found (4, 5)\n"
        "  missing     dense_1/bias  (4,) float32\n"
        "  unexpected  dense_9/bias  the model has no such tensor"
    )
    for value, expected in zip(model.get_weights(), before, strict=True):
        assert np.array_equal(value, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_dtypes_are_those_of_the_values(dtype: str) -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, dtype=dtype)])
    checkpoint = KerasModelCheckpoint(randomise(model))
    assert {spec.dtype.name for spec in checkpoint.manifest} == {dtype}
    value = checkpoint.read("dense/kernel")
    assert value.dtype == (ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype))
    assert np.array_equal(value, np.asarray(model.get_weights()[0]))


def test_reading_does_not_share_memory() -> None:
    model = sequential()
    checkpoint = KerasModelCheckpoint(model)
    value = checkpoint.read("dense/kernel")
    value[:] = 7
    assert not np.array_equal(checkpoint.read("dense/kernel"), value)


def test_a_single_layer_has_a_path() -> None:
    layer = layers.LSTM(3, name="memory")
    layer.build((None, 4, 5))
    manifest = KerasModelCheckpoint(layer).manifest
    assert list(manifest.tensors) == [
        "memory/lstm_cell/kernel",
        "memory/lstm_cell/recurrent_kernel",
        "memory/lstm_cell/bias",
    ]
    assert manifest.layers[0].class_name == "LSTM"


def test_a_stranger_of_a_known_name_keeps_its_own_names() -> None:
    class Dense(layers.Layer):
        def build(self, shape: Any) -> None:
            self.gain = self.add_weight(shape=(shape[-1],), name="gain")

        def call(self, x: Any) -> Any:
            return x * self.gain

    model = keras.Sequential([keras.Input((3,)), Dense(name="scale")])
    checkpoint = KerasModelCheckpoint(model)
    assert list(checkpoint.manifest.tensors) == ["scale/gain"]
    assert dict(checkpoint.manifest.layers[-1].tensors) == {"gain": "scale/gain"}


def test_what_is_no_built_keras_model_is_refused() -> None:
    with pytest.raises(CheckpointError, match="it is not built, so it has no weights yet"):
        KerasModelCheckpoint(keras.Sequential([layers.Dense(3)], name="early"))
    with pytest.raises(CheckpointError, match="it is not a Keras 3 model or layer"):
        KerasModelCheckpoint(object())


def test_opening_dispatches_by_class() -> None:
    model = sequential()
    opened = open_live(model)
    assert isinstance(opened, KerasModelCheckpoint)
    assert open_live(opened) is opened
    assert open_live("model.keras") is None
    listed = open_live(model.get_weights(), like=model)
    assert listed is not None
    assert list(listed.manifest.tensors) == list(opened.manifest.tensors)
    assert listed.structure is opened.structure or listed.structure == open_live(model).structure
