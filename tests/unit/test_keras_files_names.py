"""Names and classes in Keras files, from configurations and weight names alone."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from converter.errors import CorruptFileError, UnsupportedFileError, UsageError
from converter.formats.keras_archive import KerasArchive
from converter.formats.keras_config import parse_architecture
from converter.formats.keras_evidence import class_of_variables
from converter.formats.keras_groups import build_groups, split_state
from converter.formats.keras_legacy import KerasLegacy
from converter.formats.keras_weights import KerasWeights
from converter.mapping.catalogue import load_catalogue

RNG = np.random.default_rng(11)


def layer(class_name: str, name: str, /, inbound: Any = None, **config: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"class_name": class_name, "config": {"name": name, **config}}
    if inbound is not None:
        made |= {"name": name, "inbound_nodes": inbound}
    return made


def model(name: str, *layers: dict[str, Any], inbound: Any = None) -> dict[str, Any]:
    return layer("Sequential", name, inbound, layers=list(layers))


def legacy(path: Path, groups: dict[str, list[str]], config: Any = None, **options: Any) -> Path:
    """Write a legacy file; every weight gets values and a shape of its own."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if config is not None else file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        root.attrs["layer_names"] = np.array(list(groups), dtype="S")
        root.attrs["keras_version"] = options.get("version", b"2.15.0")
        root.attrs["backend"] = b"tensorflow"
        for index, (group, weights) in enumerate(groups.items()):
            made = root.create_group(group)
            made.attrs["weight_names"] = np.array(weights, dtype="S")
            for number, weight in enumerate(weights):
                rank = 1 if "bias" in weight else 2
                made[weight] = RNG.normal(size=(index + 2, number + 3)[:rank]).astype("f4")
    return path


NESTED = model(
    "outer",
    layer("Dense", "first"),
    model("inner", layer("Dense", "a"), model("deep", layer("Dense", "b"))),
)
PATHS = ["first/kernel", "first/bias", "inner/a/kernel", "inner/a/bias"]
DEEP = ["inner/deep/b/kernel", "inner/deep/b/bias"]


@pytest.mark.parametrize(
    "inner",
    [
        # tf_keras leaves the names of models out
        ["a/kernel:0", "a/bias:0", "b/kernel:0", "b/bias:0"],
        # Keras 3 writes some
        ["inner/a/kernel", "inner/a/bias", "deep/b/kernel", "deep/b/bias"],
        ["inner/a/kernel", "inner/a/bias", "inner/deep/b/kernel", "inner/deep/b/bias"],
        # a model called a second time in one TensorFlow graph
        ["a_1/kernel:0", "a_1/bias:0", "b_2/kernel:0", "b_2/bias:0"],
        # what was frozen comes last
        ["b/kernel:0", "b/bias:0", "a/kernel:0", "a/bias:0"],
    ],
)
def test_weights_of_nested_models_go_where_their_names_say(
    inner: list[str], tmp_path: Path
) -> None:
    path = legacy(
        tmp_path / "m.h5", {"first": ["first/kernel:0", "first/bias:0"], "inner": inner}, NESTED
    )
    with KerasLegacy(path) as found, h5py.File(path) as file:
        assert list(found.manifest.tensors) == PATHS + DEEP
        assert found.manifest.notices == ()
        for weight in inner:
            own = weight.split(":")[0].rpartition("/")[2]
            name = f"inner/a/{own}" if "a" in weight.split("/")[-2][:1] else f"inner/deep/b/{own}"
            assert np.array_equal(found.read(name), file["model_weights/inner"][weight][()])


def test_a_weight_that_two_layers_could_own_is_not_guessed(tmp_path: Path) -> None:
    config = model(
        "outer",
        model("inner", model("l", layer("Dense", "d")), model("r", layer("Dense", "d"))),
    )
    path = legacy(tmp_path / "m.h5", {"inner": ["d/kernel:0"]}, config)
    with KerasLegacy(path) as found:
        assert list(found.manifest.tensors) == ["inner/d/kernel"]
        assert found.manifest.notices == (
            "weights of 'inner' that fit no one layer in it: 'd/kernel'",
        )


def test_numbered_scopes_are_the_layer(tmp_path: Path) -> None:
    config = model("m", layer("Dense", "dense_1"), layer("Dense", "dense_1_1"))
    groups = {
        "dense_1": ["dense_1_2/kernel:0", "dense_1_2/bias:0"],
        "dense_1_1": ["dense_1_1_1/kernel:0", "dense_1_1_1/bias:0"],
    }
    with KerasLegacy(legacy(tmp_path / "m.h5", groups, config)) as found:
        assert list(found.manifest.tensors) == [
            "dense/kernel", "dense/bias", "dense_1_1/kernel", "dense_1_1/bias",
        ]  # fmt: skip


def test_wrapped_layers_have_catalogue_names(tmp_path: Path) -> None:
    inner = layer("LSTM", "lstm_7", units=3)
    config = model("m", layer("Bidirectional", "both", layer=inner))
    weights = [
        f"both/{way}_lstm_7/lstm_cell_{number}/{own}:0"
        for number, way in enumerate(("forward", "backward"), 22)
        for own in ("kernel", "recurrent_kernel", "bias")
    ]
    for names in (weights, [name.removeprefix("both/") for name in weights]):
        with KerasLegacy(
            legacy(tmp_path / f"{len(names[0])}.h5", {"both": names}, config)
        ) as found:
            assert list(found.manifest.tensors) == [
                f"both/{way}_lstm/lstm_cell/{own}"
                for way in ("forward", "backward")
                for own in ("kernel", "recurrent_kernel", "bias")
            ]


def test_a_custom_layer_keeps_the_names_in_the_file(tmp_path: Path) -> None:
    config = model("m", layer("Mine", "mine_3"), layer("Dense", "d"))
    groups = {"mine_3": ["mine_3/w:0", "mine_3/dense_9/kernel:0"], "d": ["d/kernel:0", "d/bias:0"]}
    with KerasLegacy(legacy(tmp_path / "m.h5", groups, config)) as found:
        assert list(found.manifest.tensors) == ["mine/w", "mine/dense/kernel", "d/kernel", "d/bias"]
        classes = {one.path: one.class_name for one in found.manifest.layers}
        assert classes == {"mine": "Mine", "mine/dense": "Dense", "d": "Dense"}
        assert found.manifest.notices == ("assumed from names and shapes: dense_9 (Dense)",)


def test_top_level_weights_of_a_model(tmp_path: Path) -> None:
    path = legacy(tmp_path / "m.h5", {"d": ["m/d/kernel", "m/d/bias"]})
    with h5py.File(path, "r+") as file:
        top = file.create_group("top_level_model_weights")
        top.attrs["weight_names"] = [b"m/own"]
        top["m/own"] = np.ones(3, "f4")
    with KerasLegacy(path) as found:
        assert set(found.manifest.tensors) == {"own", "d/kernel", "d/bias"}
        assert found.manifest.layers[0].path == ""


def test_names_over_several_attributes(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"d"]
        file.attrs["keras_version"] = b"2.15.0"
        made = file.create_group("d")
        names = [f"d/w{number}" for number in range(20)]
        made.attrs["weight_names0"] = np.array(names[:11], dtype="S")
        made.attrs["weight_names1"] = np.array(names[11:], dtype="S")
        for number, name in enumerate(names):
            made[name] = np.full(number + 1, number, "f4")
    with KerasLegacy(path) as found:
        assert list(found.manifest.tensors) == names


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda f: f["d"].attrs.__setitem__("weight_names", [b"d/gone"]), "it lists the weight"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"gone"]), "it lists the layer 'gone'"),
        (lambda f: f.attrs.__setitem__("layer_names", [b"d", b"d"]), "two layers have one name"),
        (
            lambda f: f["d"].attrs.__setitem__("weight_names", [b"d/kernel", b"d/kernel"]),
            "two weights of 'd' have one name",
        ),
    ],
)
def test_names_that_the_file_does_not_hold_are_refused(
    spoil: Any, why: str, tmp_path: Path
) -> None:
    path = legacy(tmp_path / "m.h5", {"d": ["d/kernel"]})
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(CorruptFileError, match=why):
        KerasLegacy(path)


@pytest.mark.parametrize(
    ("shapes", "class_name"),
    [
        ({"depthwise_kernel": (3, 2, 5, 1)}, "DepthwiseConv2D"),
        ({"depthwise_kernel": (3, 5, 1), "pointwise_kernel": (1, 5, 7)}, "SeparableConv1D"),
        ({"kernel": (5, 12), "recurrent_kernel": (3, 12)}, "LSTM"),
        ({"kernel": (5, 9), "recurrent_kernel": (3, 9), "bias": (2, 9)}, "GRU"),
        ({"kernel": (5, 3), "recurrent_kernel": (3, 3), "bias": (3,)}, "SimpleRNN"),
        ({"c/kernel": (5, 12), "c/recurrent_kernel": (3, 12), "c/bias": (12,)}, "LSTM"),
        ({"kernel": (2, 2, 3, 8), "recurrent_kernel": (2, 2, 2, 8)}, "ConvLSTM2D"),
        ({"beta": (3,), "moving_mean": (3,), "moving_variance": (3,)}, "BatchNormalization"),
        ({"embeddings": (9, 4)}, "Embedding"),
        # no class, or more than one
        ({"kernel": (5, 12), "recurrent_kernel": (3, 12), "bias": (24,)}, None),
        ({"kernel": (5, 12), "bias": (12,)}, None),
        ({"kernel": (3, 3, 5, 12), "bias": (12,)}, None),
        ({"gamma": (3,), "beta": (3,)}, None),
        ({"a/kernel": (5, 12), "b/recurrent_kernel": (3, 12)}, None),
    ],
)
def test_classes_that_variables_alone_show(shapes: Any, class_name: str | None) -> None:
    assert class_of_variables(shapes) == class_name


def test_both_dialects_of_inbound_nodes() -> None:
    old = layer("Add", "sum", [[["a", 0, 0, {}], ["b", 0, 0, {}]]])
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["a", 0, 0]}}
    other = {"class_name": "__keras_tensor__", "config": {"keras_history": ["b", 0, 1]}}
    new = layer("Add", "sum", [{"args": [[tensor, other]], "kwargs": {"mask": None}}])
    named = layer("Add", "sum", [["a", 0, 0, {"other": ["b", 0, 0]}]])
    for item in (old, new, named):
        config = {"name": "m", "layers": [item], "input_layers": [], "output_layers": []}
        text = json.dumps({"class_name": "Functional", "config": config}).encode()
        found = parse_architecture(text, what="config", path=Path("x"))
        assert found.layers[0].inbound == ("a", "b")


def test_sequential_of_keras_1_and_2_is_a_list_with_an_input() -> None:
    layers = [layer("Dense", "a", batch_input_shape=[None, 3]), layer("Dense", "b")]
    text = json.dumps({"class_name": "Sequential", "config": layers}).encode()
    found = parse_architecture(text, what="config", path=Path("x"))
    assert [(one.name, one.class_name, one.inbound) for one in found.layers] == [
        ("a_input", "InputLayer", ()),
        ("a", "Dense", ("a_input",)),
        ("b", "Dense", ("a",)),
    ]


def test_what_is_no_architecture_is_refused() -> None:
    with pytest.raises(UnsupportedFileError, match="the text is not a Keras architecture"):
        parse_architecture(b"[1, 2]", what="the text", path=Path("x"))


def test_state_of_optimizers_metrics_and_generators_is_no_weight() -> None:
    stores = ["optimizer/vars/0", "metrics/mean/vars/1", "layers/dropout/seed_generator/vars/0"]
    kept = ["layers/dense/vars/0", "layers/functional/layers/dense/vars/0"]
    nested = ["layers/functional/optimizer/vars/3"]
    names = {path.rpartition("/")[0]: None for path in [*stores, *kept, *nested]}
    names |= {"vars": None, "layers/functional/vars": None, "layers/dropout/vars": None}
    root = build_groups([*stores, *kept, *nested], names)
    assert split_state(root) == 4
    assert set(root.stores().values()) == set(kept)


def weights(path: Path, stores: dict[str, Any], names: dict[str, str]) -> Path:
    with h5py.File(path, "w") as file:
        for group, name in names.items():
            file.require_group(group).attrs["name"] = name
        for store, array in stores.items():
            file[store] = array
    return path


def test_two_layers_of_one_name_are_told_apart_by_their_place(tmp_path: Path) -> None:
    stores = {f"layers/block/{key}/vars/0": np.full((2, 3), i, "f4") for i, key in enumerate("ab")}
    names = {f"layers/block/{key}/vars": "same" for key in "ab"}
    names |= {"vars": "m", "layers/block/vars": "block"}
    with KerasWeights(weights(tmp_path / "m.weights.h5", stores, names)) as found:
        assert list(found.manifest.tensors) == ["block/a/vars/0", "block/b/vars/0"]


def test_a_class_that_only_shares_a_name_with_keras_is_not_taken_for_it(tmp_path: Path) -> None:
    own = layer("Dense", "d") | {"module": "__main__", "registered_name": "Mine>Dense"}
    (tmp_path / "a.json").write_text(json.dumps(model("m", own)))
    stores = {"layers/dense/vars/0": np.ones((2, 3), "f4"), "layers/dense/vars/1": np.ones(3, "f4")}
    path = weights(tmp_path / "m.weights.h5", stores, {"layers/dense/vars": "d", "vars": "m"})
    with KerasWeights(path, architecture=tmp_path / "a.json") as found:
        assert list(found.manifest.tensors) == ["d/vars/0", "d/vars/1"]


def archive(path: Path, content: bytes, config: str, *, compression: int) -> Path:
    with zipfile.ZipFile(path, "w", compression) as made:
        made.writestr("metadata.json", '{"keras_version": "3.6.0"}')
        made.writestr("config.json", config)
        made.writestr("model.weights.h5", content)
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_stored_and_compressed(compression: int, tmp_path: Path) -> None:
    array = RNG.normal(size=(5, 7)).astype("f4")
    inner = weights(
        tmp_path / "w.h5", {"layers/dense/vars/0": array}, {"layers/dense/vars": "d", "vars": "m"}
    )
    config = json.dumps(model("m", layer("Dense", "d", use_bias=False)))
    path = archive(tmp_path / "m.keras", inner.read_bytes(), config, compression=compression)
    with KerasArchive(path) as found:
        assert found.manifest.metadata == {"keras_version": "3.6.0"}
        assert list(found.manifest.tensors) == ["d/kernel"]
        assert np.array_equal(found.read("d/kernel"), array)
        found.release("d/kernel")
    with KerasWeights(inner, architecture=path) as found:  # an archive says its architecture
        assert list(found.manifest.tensors) == ["d/kernel"]


def test_archive_with_an_odd_config_is_read_without_it(tmp_path: Path) -> None:
    array = RNG.normal(size=(5, 7)).astype("f4")
    inner = weights(
        tmp_path / "w.h5", {"layers/dense/vars/0": array}, {"layers/dense/vars": "d", "vars": "m"}
    ).read_bytes()
    for config in ("{", json.dumps(model("m", layer("Dense", "other"), layer("Dense", "more")))):
        path = archive(tmp_path / "m.keras", inner, config, compression=zipfile.ZIP_STORED)
        with KerasArchive(path) as found:
            assert list(found.manifest.tensors) == ["d/kernel"]
            assert len(found.manifest.notices) == 1
            assert "architecture" in found.manifest.notices[0]


def test_selecting_a_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a Keras file is one model"):
        KerasLegacy(tmp_path / "m.h5", select="x")


def test_a_wrapper_of_a_layer_without_weights_needs_none():
    """Without this, a TimeDistributed(Flatten) cost the file its architecture."""
    catalogue = load_catalogue()
    inside = {"layer": {"class_name": "Flatten", "config": {"name": "flatten"}}}
    assert not catalogue.needs_weights("TimeDistributed", inside)
    twice = {"layer": {"class_name": "TimeDistributed", "config": inside}}
    assert not catalogue.needs_weights("TimeDistributed", twice)
    inside["layer"]["class_name"] = "Dense"
    assert catalogue.needs_weights("TimeDistributed", inside)
    assert catalogue.needs_weights("TimeDistributed", {})
