"""What the catalogue says of Keras classes is what the installed Keras does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
from keras import layers
from keras.src.utils.naming import reset_uids
from support.layer_class_cases import AMBIGUOUS, CASES, UNTOLD
from support.layer_kinds import described, randomise, to_numpy

from converter.mapping.catalogue import load_catalogue
from converter.tensors.spec import LayerSpec

pytestmark = [
    pytest.mark.frameworks,
    # Keras says on every save that HDF5 is a legacy format.
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]


def build(case: str) -> tuple[Any, keras.Model]:
    """Return the layer of a case and a model around it, random weights, fresh numbers."""
    _, make, shape, call = CASES[case]
    layer = make()
    x = keras.Input(shape)
    model = keras.Model(x, (call or (lambda one, value: one(value)))(layer, x))
    randomise(layer, np.random.default_rng(0))
    return layer, model


@dataclass(frozen=True)
class Saved:
    """What Keras wrote for one layer.

    Attributes:
        class_name: Class of the layer.
        config: Its config as a file has it.
        weights: ``layer.weights``: path below the layer, values.
        store: Datasets of the weights file below the layer's group.
        names: Names of layers there, by group.
        legacy: Weight name below the layer to values, in the order of the legacy file.
    """

    class_name: str
    config: dict[str, Any]
    weights: list[tuple[str, Any]]
    store: dict[str, Any]
    names: dict[str, str]
    legacy: dict[str, Any]


@cache
def saved(case: str) -> Saved:
    """Build the layer of a case and save it in both formats."""
    reset_uids()
    layer, model = build(case)
    with TemporaryDirectory() as folder:
        store, names = stored(model, Path(folder) / "model.weights.h5")
        model.save(Path(folder) / "model.h5")
        with h5py.File(Path(folder) / "model.h5") as file:
            group = file["model_weights"][layer.name]
            written = [str(name) for name in group.attrs["weight_names"]]
            legacy = {name.removeprefix(f"{layer.name}/"): group[name][()] for name in written}
    paths = [variable.path.removeprefix(f"{layer.name}/") for variable in layer.weights]
    values = [to_numpy(variable) for variable in layer.weights]
    config = keras.saving.serialize_keras_object(layer)["config"]
    weights = list(zip(paths, values, strict=True))
    return Saved(type(layer).__name__, config, weights, store, names, legacy)


def stored(model: keras.Model, path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the datasets and the names of layers that Keras writes below the only layer."""
    model.save_weights(path)
    arrays: dict[str, Any] = {}
    names: dict[str, str] = {}

    def visit(name: str, item: Any) -> None:
        below = name.partition("/")[2].partition("/")[2]
        if isinstance(item, h5py.Dataset):
            arrays[below] = item[()]
        elif below.endswith("/vars") and "name" in item.attrs:
            names[below.removesuffix("/vars")] = item.attrs["name"]

    with h5py.File(path) as file:
        file.visititems(visit)
    return arrays, names


@pytest.mark.parametrize("case", CASES)
def test_variables_are_where_keras_saves_them_in_the_order_of_get_weights(case):
    one = saved(case)
    catalogue = load_catalogue()
    found = catalogue.variables(one.class_name, one.config, one.store)
    assert found is not None
    paths = ["gamma" if path == "variable" else path for path, _ in one.weights]
    assert [variable.path for variable in found] == paths
    for variable, (_, values) in zip(found, one.weights, strict=True):
        for place in (variable.store, *variable.also):
            np.testing.assert_array_equal(one.store[place], values)
    places = {place for variable in found for place in (variable.store, *variable.also)}
    assert places == one.store.keys()
    alone = catalogue.variables(one.class_name, {}, one.store, one.names)
    assert alone == (None if case in AMBIGUOUS else found)
    assert catalogue.variables(one.class_name, one.config, [*one.store, "vars/9"]) is None


@pytest.mark.parametrize("case", CASES)
def test_variables_are_found_by_their_names_in_a_legacy_file(case):
    one = saved(case)
    catalogue = load_catalogue()
    expected = catalogue.variables(one.class_name, one.config, one.store)
    found = catalogue.named_variables(one.class_name, one.config, list(one.legacy))
    assert found is not None
    assert expected is not None
    assert set(found.values()) == set(expected)
    for name, variable in found.items():
        np.testing.assert_array_equal(one.legacy[name], one.store[variable.store])
    alone = catalogue.named_variables(one.class_name, {}, list(one.legacy))
    assert alone == (None if case in UNTOLD else found)


@pytest.mark.parametrize("case", CASES)
def test_the_kind_is_the_one_expected(case):
    one = saved(case)
    catalogue = load_catalogue()
    found = catalogue.variables(one.class_name, one.config, one.store)
    assert found is not None
    tensors = {variable.slot: f"layer/{variable.path}" for variable in found}
    kind = catalogue.kind_of(LayerSpec("layer", one.class_name, tensors, one.config))
    assert (kind.name if kind is not None else "") == CASES[case][0]


@pytest.mark.parametrize(
    "case",
    ["Bidirectional", "Bidirectional, named", "RNN, several cells", "TimeDistributed Bidirectional",
     "SpectralNormalization", "TimeDistributed", "Bidirectional, two layers"],
)  # fmt: skip
def test_a_layer_built_second_in_a_process_has_the_names_of_the_first(case):
    reset_uids()
    first, second = (described(build(case)[0])[0] for _ in range(2))
    below = [
        {slot: name.removeprefix(f"{spec.path}/") for slot, name in spec.tensors.items()}
        for spec in (first, second)
    ]
    assert second.path != first.path
    assert below[0] == below[1]


def test_quantized_and_adapted_layers_are_not_taken_for_plain_ones():
    catalogue = load_catalogue()
    layer = layers.Dense(4, use_bias=False)
    layer(np.zeros((3, 8), "float32"))
    layer.quantize("int8")
    config = keras.saving.serialize_keras_object(layer)["config"]
    found = catalogue.variables("Dense", config, ["vars/0", "vars/1"])
    assert [one.path for one in found] == ["kernel", "kernel_scale"]
    assert catalogue.variables("Dense", config, ["vars/0"]) is None
    names = [variable.name for variable in layer.weights]
    assert catalogue.named_variables("Dense", {}, names) is None
    layer = layers.Dense(4)
    layer(np.zeros((3, 8), "float32"))
    layer.enable_lora(2)
    names = [variable.path.partition("/")[2] for variable in layer.weights]
    assert catalogue.named_variables("Dense", {}, names) is None


def test_a_torch_module_wrapper_keeps_the_names_of_its_module(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    model = keras.Sequential([layers.TorchModuleWrapper(module)])
    model(np.ones((3, 4), "float32"))
    arrays, _ = stored(model, tmp_path / "model.weights.h5")
    found = load_catalogue().variables("TorchModuleWrapper", {}, list(arrays))
    assert found is not None
    state = module.state_dict()
    assert {one.slot for one in found} == state.keys()
    for one in found:
        np.testing.assert_array_equal(arrays[one.store], to_numpy(state[one.slot]))


def test_every_layer_of_keras_with_weights_is_known():
    """A new Keras layer with variables must be looked at before it converts by position."""
    catalogue = load_catalogue()
    known = set(catalogue.classes)
    unweighted = {"Layer", "JaxLayer", "FlaxLayer", "TFSMLayer", "InputLayer"}
    missing = set()
    for name in dir(layers):
        cls = getattr(layers, name)
        if not isinstance(cls, type) or not issubclass(cls, keras.Layer):
            continue
        sets_weights = any(
            "add_weight" in vars(base).get(method, lambda: 0).__code__.co_names
            for base in cls.__mro__[: cls.__mro__.index(keras.Layer)]
            for method in ("build", "_build", "finalize_state")
            if hasattr(vars(base).get(method, None), "__code__")
        )
        if sets_weights and cls.__name__ not in known | unweighted:
            missing.add(cls.__name__)
    assert missing == set()
