"""Quantised Keras layers: their variables by name, and the numbers that their codes mean.

The layer itself is the judge: what is read as numbers computes what the quantised layer computes.
"""

import json
import os
import shutil
import subprocess
import sys

os.environ.setdefault("KERAS_BACKEND", "torch")

from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from keras.quantizers import Int4QuantizationConfig, Int8QuantizationConfig

import converter

pytestmark = pytest.mark.frameworks

INT8 = "int8"
INT4 = "int4"
BLOCKS = "int4 in blocks"
FLOAT8 = "float8"

LAYERS: dict[str, tuple[tuple[int, ...], Callable[[], keras.Layer]]] = {
    "dense": ((6,), lambda: layers.Dense(11, name="d")),
    "dense-without-bias": ((6,), lambda: layers.Dense(11, use_bias=False, name="d")),
    "einsum": (
        (4, 6),
        lambda: layers.EinsumDense(
            "abc,cde->abde", output_shape=(None, 2, 5), bias_axes="de", name="d"
        ),
    ),
    "einsum-to-fewer": (
        (4, 2, 5),
        lambda: layers.EinsumDense("abcd,cde->abe", (None, 7), bias_axes="e", name="d"),
    ),
    "embedding": ((4,), lambda: layers.Embedding(12, 7, name="d")),
    "reversible": ((4,), lambda: layers.ReversibleEmbedding(12, 7, name="d")),
    "reversible-untied": (
        (4,),
        lambda: layers.ReversibleEmbedding(12, 7, tie_weights=False, name="d"),
    ),
}
# Two axes were joined, and neither equation nor outputs say their sizes.
NO_RULE = {("einsum-to-fewer", INT4), ("einsum-to-fewer", BLOCKS)}


def quantised(name: str, scheme: str) -> keras.Model:
    shape, build = LAYERS[name]
    model = keras.Sequential([keras.Input(shape), build()])
    random = np.random.default_rng(5)
    model.set_weights([random.normal(size=one.shape) for one in model.get_weights()])
    if scheme == INT8:  # weights only: activations would be rounded too
        model.layers[-1].quantize(config=Int8QuantizationConfig(activation_quantizer=None))
    elif scheme == FLOAT8:
        model.layers[-1].quantize("float8")
    else:
        size = 3 if scheme == BLOCKS else -1
        model.layers[-1].quantize(config=Int4QuantizationConfig(block_size=size))
    return model


def inputs(name: str) -> np.ndarray:
    shape = LAYERS[name][0]
    random = np.random.default_rng(6)
    if "e" in name and LAYERS[name][0] == (4,):
        return random.integers(0, 12, (3, *shape))
    return random.normal(size=(3, *shape)).astype(np.float32)


CASES = [(name, scheme) for name in LAYERS for scheme in (INT8, INT4, BLOCKS)]


@pytest.mark.parametrize(("name", "scheme"), [*CASES, ("dense", FLOAT8), ("einsum", FLOAT8)])
def test_variables_have_the_names_and_the_order_of_the_layer(
    name: str, scheme: str, tmp_path: Path
) -> None:
    model = quantised(name, scheme)
    model.save(tmp_path / "m.keras")
    with converter.open(tmp_path / "m.keras") as found:
        expected = [weight.path.partition("/")[2] for weight in model.weights]
        assert list(found.manifest.tensors) == expected
        for one, array in zip(found.manifest.tensors, model.get_weights(), strict=True):
            assert found.read(one).tobytes() == array.tobytes(), one


@pytest.mark.parametrize(("name", "scheme"), [case for case in CASES if case not in NO_RULE])
def test_numbers_compute_what_the_quantised_layer_computes(
    name: str, scheme: str, tmp_path: Path
) -> None:
    model = quantised(name, scheme)
    model.save(tmp_path / "m.keras")
    x = inputs(name)
    shape, build = LAYERS[name]
    plain = keras.Sequential([keras.Input(shape), build()])
    with converter.open(tmp_path / "m.keras", dequantize=True) as found:
        assert found.manifest.notices[-1] == (
            "codes of quantised layers are given as the numbers they mean: 'd'."
        )
        names = [weight.path.partition("/")[2] for weight in plain.weights]
        assert list(found.manifest.tensors) == names
        assert {spec.dtype.name for spec in found.manifest} == {"float32"}
        plain.set_weights([found.read(one) for one in names])
    expected = model.predict(x, verbose=0)
    error = np.abs(plain.predict(x, verbose=0) - expected).max()
    assert error <= 3e-5 * np.abs(expected).max()
    if name == "reversible-untied":
        y = np.random.default_rng(7).normal(size=(3, 7)).astype(np.float32)
        expected, got = (
            keras.ops.convert_to_numpy(one.layers[-1](y, reverse=True)) for one in (model, plain)
        )
        assert np.abs(got - expected).max() <= 3e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("name", "scheme"), sorted(NO_RULE))
def test_what_was_flattened_to_unknown_sizes_is_refused(
    name: str, scheme: str, tmp_path: Path
) -> None:
    quantised(name, scheme).save(tmp_path / "m.keras")
    with pytest.raises(converter.UnsupportedFileError) as refused:
        converter.open(tmp_path / "m.keras", dequantize=True)
    assert refused.value.summary == (
        "cannot read 'm.keras' as numbers: no rule is known for 'd', a EinsumDense quantised by "
        "int4"
    )


CALIBRATED: dict[str, tuple[tuple[int, ...], Callable[..., keras.Layer]]] = {
    "dense": ((7,), lambda **options: layers.Dense(11, name="d", **options)),
    "dense-without-bias": (
        (7,),
        lambda **options: layers.Dense(11, use_bias=False, name="d", **options),
    ),
    "einsum": (
        (4, 13),
        lambda **options: layers.EinsumDense(
            "abc,cde->abde", (None, 3, 5), bias_axes="de", name="d", **options
        ),
    ),
}


def calibrated(name: str, mode: str) -> keras.Model:
    """Return a layer as GPTQ or AWQ leave it: random codes, and blocks of three rows."""
    shape, build = CALIBRATED[name]
    layer = build(dtype=f"{mode}_from_float32")
    model = keras.Sequential([keras.Input(shape), layer])
    random = np.random.default_rng(8)
    for variable in layer.variables:
        own = variable.path.rpartition("/")[2]
        if variable.dtype == "uint8":
            top = 16 if mode.partition("/")[2].startswith("4") and "zero" in own else 256
            variable.assign(random.integers(0, top, variable.shape).astype("uint8"))
        elif own == "g_idx":  # rows of a block need not lie side by side
            variable.assign(random.permutation(np.arange(variable.shape[0]) // 3))
        else:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    layer.is_gptq_calibrated = layer.is_awq_calibrated = True
    return model


def saved_whole(model: keras.Model, folder: Path) -> Path:
    """Save a model with every variable that ``variable_serialization_spec`` names, in its order.

    Keras 3.15.1 itself leaves the zero points out.
    """
    model.save(folder / "m.keras")
    shutil.unpack_archive(folder / "m.keras", folder / "m", "zip")
    layer = model.layers[-1]
    names = layer.variable_serialization_spec[layer.quantization_mode]
    variables = [getattr(layer, name) for name in names if getattr(layer, name) is not None]
    with h5py.File(folder / "m" / "model.weights.h5", "r+") as file:
        (place,) = (path for path in ("dense", "einsum_dense") if f"layers/{path}" in file)
        group = file[f"layers/{place}/vars"]
        for key in list(group):
            del group[key]
        for number, variable in enumerate(variables):
            group[str(number)] = keras.ops.convert_to_numpy(variable)
    return folder / "m"


def test_a_file_without_zero_points_says_that_keras_lost_them(tmp_path: Path) -> None:
    calibrated("dense", "awq/4/3").save(tmp_path / "m.keras")
    with converter.open(tmp_path / "m.keras") as found:
        assert list(found.manifest.tensors) == [
            f"d/{name}"
            for name in ("bias", "quantized_kernel", "kernel_scale", "awq_scales", "g_idx")
        ]
    with pytest.raises(converter.UnsupportedFileError) as refused:
        converter.open(tmp_path / "m.keras", dequantize=True)
    assert refused.value.summary == (
        "cannot read 'm.keras' as numbers: it lacks the zero points of 'd', a Dense quantised by "
        "awq"
    )


@pytest.mark.parametrize("mode", ["gptq/4/3", "gptq/8/3", "awq/4/3"])
@pytest.mark.parametrize("name", CALIBRATED)
def test_numbers_of_gptq_and_awq_compute_what_the_layer_computes(
    name: str, mode: str, tmp_path: Path
) -> None:
    model = calibrated(name, mode)
    shape, build = CALIBRATED[name]
    plain = keras.Sequential([keras.Input(shape), build()])
    with converter.open(saved_whole(model, tmp_path), dequantize=True) as found:
        names = [weight.path.partition("/")[2] for weight in plain.weights]
        assert list(found.manifest.tensors) == names
        plain.set_weights([found.read(one) for one in names])
        converter.convert(found, tmp_path / "m.safetensors")
    x = np.random.default_rng(6).normal(size=(3, *shape)).astype(np.float32)
    expected = model.predict(x, verbose=0)
    error = np.abs(plain.predict(x, verbose=0) - expected).max()
    assert error <= 3e-5 * np.abs(expected).max()


@pytest.mark.parametrize("lie", ["index", "scale", "codes", "policy"])
def test_codes_of_gptq_that_do_not_fit_are_an_error(lie: str, tmp_path: Path) -> None:
    saved_whole(calibrated("dense", "gptq/4/3"), tmp_path)
    config = tmp_path / "m" / "config.json"
    with h5py.File(tmp_path / "m" / "model.weights.h5", "r+") as file:
        group = file["layers/dense/vars"]
        if lie == "index":
            group["4"][...] = 3
        elif lie == "policy":
            config.write_text(config.read_text().replace("gptq/4/3", "gptq/8/3"))
        else:
            place = {"scale": "2", "codes": "1"}[lie]
            cut = group[place][:-1]
            del group[place]
            group[place] = cut
    if lie == "index":
        with (
            converter.open(tmp_path / "m", dequantize=True) as found,
            pytest.raises(converter.CorruptFileError, match="names blocks that it lacks"),
        ):
            found.read("d/kernel")
        return
    with pytest.raises(converter.UnsupportedFileError, match="no rule is known for 'd', a Dense"):
        converter.open(tmp_path / "m", dequantize=True)


def test_only_keras_files_can_be_dequantised(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"d/kernel": np.zeros((2, 3))})
    with pytest.raises(converter.UsageError) as error:
        converter.open(tmp_path / "a.npz", dequantize=True)
    assert error.value.summary == (
        "cannot dequantise 'a.npz': it is a NumPy archive, and only Keras 3 files say how their "
        "codes are meant"
    )
    with pytest.raises(converter.UsageError, match="one or the other"):
        converter.open(tmp_path / "a.npz", dequantize=True, select="ema")


def test_codes_whose_blocks_are_damaged_are_an_error(tmp_path: Path) -> None:
    quantised("dense", BLOCKS).save(tmp_path / "m.keras")
    shutil.unpack_archive(tmp_path / "m.keras", tmp_path / "m", "zip")
    weights = tmp_path / "m" / "model.weights.h5"
    for values in ([0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, np.nan], [0, 0, 0, 1, 1, -1]):
        with h5py.File(weights, "r+") as file:
            file["layers/dense/vars/4"][...] = values
        with (
            converter.open(tmp_path / "m", dequantize=True) as found,
            pytest.raises(converter.CorruptFileError, match="names blocks that it lacks"),
        ):
            found.read("d/kernel")
    with h5py.File(weights, "r+") as file:
        del file["layers/dense/vars/2"]
        file["layers/dense/vars/2"] = np.ones((2, 5), np.float32)
    with pytest.raises(converter.UnsupportedFileError, match="no rule is known for 'd'"):
        converter.open(tmp_path / "m", dequantize=True)


def test_float8_numbers_are_the_kernel_itself(tmp_path: Path) -> None:
    model = quantised("dense", FLOAT8)
    model.save(tmp_path / "m.keras")
    with converter.open(tmp_path / "m.keras", dequantize=True) as found:
        assert list(found.manifest.tensors) == ["d/kernel", "d/bias"]
        assert np.array_equal(found.read("d/kernel"), model.get_weights()[0])


def test_conversion_by_kind_refuses_codes_and_names_the_scheme(tmp_path: Path) -> None:
    quantised("dense", INT8).save(tmp_path / "m.keras")
    with pytest.raises(converter.ConverterError) as refused:
        converter.convert(tmp_path / "m.keras", tmp_path / "m.safetensors")
    assert "cannot convert 'd' (Dense): it is quantised by int8, and its numbers are codes" in str(
        refused.value
    )
    assert "--dequantize" in str(refused.value)
    with converter.open(tmp_path / "m.keras", dequantize=True) as found:
        kernel = np.array(found.read("d/kernel"))
        converter.convert(found, tmp_path / "m.safetensors")
    with converter.open(tmp_path / "m.safetensors") as written:
        assert np.array_equal(written.read("d.weight"), kernel.T)


def test_numbers_of_a_network_come_in_the_order_of_the_network(tmp_path: Path) -> None:
    def build(scheme: str | None) -> keras.Model:
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(7, name="a"),
                layers.Dense(8, use_bias=False, name="b"),
                layers.Dense(9, name="c"),
            ]
        )
        for layer in model.layers if scheme is not None else ():
            layer.quantize(scheme)
        return model

    build("int8").save(tmp_path / "m.keras")
    expected = [weight.path.partition("/")[2] for weight in build(None).weights]
    with converter.open(tmp_path / "m.keras", dequantize=True) as found:
        assert list(found.manifest.tensors) == expected


def test_the_commands_dequantise(tmp_path: Path) -> None:
    quantised("einsum", BLOCKS).save(tmp_path / "m.keras")
    target = tmp_path / "m.safetensors"

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "converter", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    codes = json.loads(run("inspect", tmp_path / "m.keras", "--json").stdout)
    numbers = json.loads(run("inspect", tmp_path / "m.keras", "--dequantize", "--json").stdout)
    assert [one["dtype"] for one in codes["tensors"]] != ["float32"] * 2
    assert [(one["dtype"], one["shape"]) for one in numbers["tensors"]] == [
        ("float32", [6, 2, 5]),
        ("float32", [2, 5]),
    ]
    refused = run("plan", tmp_path / "m.keras", "--to", "torch")
    assert refused.returncode == 2
    assert "read its values as float32 with --dequantize" in refused.stderr
    assert run("plan", tmp_path / "m.keras", "--to", "torch", "--dequantize").returncode == 0
    assert run("convert", tmp_path / "m.keras", target, "--dequantize").returncode == 0
    with (
        converter.open(target) as written,
        converter.open(tmp_path / "m.keras", dequantize=True) as source,
    ):
        values = [source.read(name).size for name in source.manifest.tensors]
        assert sorted(written.read(name).size for name in written.manifest.tensors) == sorted(
            values
        )


def test_there_must_be_something_to_make_numbers_of(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3, name="d")])
    model.save(tmp_path / "m.keras")
    with pytest.raises(converter.UsageError, match="no layer is quantised"):
        converter.open(tmp_path / "m.keras", dequantize=True)
    with pytest.raises(converter.UsageError, match="a Keras file is one model"):
        converter.open(tmp_path / "m.keras", select="ema")
